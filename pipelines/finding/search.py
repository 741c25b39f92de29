"""All photos searched, piece by piece, into a folder:

    answers-00003-of-00010.jsonl   answers of a piece (`shards.py`)
    index.csv                      photo, presence and area, px, of every photo that was read
    failed.jsonl                   photo and error of the others
    search.json                    what was searched for, and in which photos
    model.crnet                    what was shown of it (`Segmenter.save`)
    metrics.json                   how fast the last run was, and how many photos failed

Pieces that are there are not searched again.
"""

import contextlib
import csv
import functools
import hashlib
import json
import pathlib
import time
from collections.abc import Sequence

from crnet_tf.common import files, folders
from crnet_tf.common.errors import InputError
from crnet_tf.common.progress import Progress
from crnet_tf.fewshot import learnt_files
from crnet_tf.fewshot.learnt_files import Learnt
from pipelines.finding import shards
from pipelines.finding.photos import photos_of
from pipelines.workers.pool import Here

SETTINGS, MODEL = "search.json", "model.crnet"
INDEX, FAILED, METRICS = "index.csv", "failed.jsonl", "metrics.json"
ANSWERS = "answers-*-of-*.jsonl"
SHARD_PHOTOS = 500


def find(
    patterns: Sequence[str],
    learnt: Learnt,
    out: pathlib.Path,
    *,
    engine: str = "keras",
    instances: bool = False,
    shard_photos: int = SHARD_PHOTOS,
    workers=None,
) -> dict:
    """Searches photos for what was learnt, or goes on where an earlier run ended.

    Args:
        patterns: of `photos.photos_of`.
        learnt: what is searched for.
        out: folder to make; all workers see it, and the photos, under the same path.
        engine, instances: as of `shards.Search`.
        shard_photos: photos of a piece.
        workers: of `pool.workers_at`; default: this process.

    Returns:
        What `metrics.json` says.

    Raises:
        FileNotFoundError, InputError: the photos or what was learnt are not as they should be.
        FileExistsError: `out` holds another search, or other things.
        RuntimeError: another process searches into it, or workers failed.
        OSError: it cannot be written.
    """
    model = learnt_files.encoded(learnt)
    count, digest = _told(photos_of(patterns))
    settings = {
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "engine": engine,
        "instances": instances,
        "shard_photos": shard_photos,
        "photos": count,
        "photos_sha256": digest,
    }
    with folders.locked(out) as out:
        _begin(out, settings, model)
        out = out.resolve()  # workers are elsewhere
        search = shards.Search(str(out / MODEL), settings["model_sha256"], engine, instances)
        measured = _searched(out, patterns, search, count, shard_photos, workers or Here())
        failed = _gather(out, count, list(learnt.classes))
        metrics = {"photos": count, "failed": failed} | measured
        files.write_text(out / METRICS, json.dumps(metrics, indent=1) + "\n")
    return metrics


def _told(photos):
    """How many photos there are, and a hash of their names and places."""
    digest, count = hashlib.sha256(), 0
    for count, photo in enumerate(photos, 1):  # noqa: B007
        digest.update(f"{photo!r}\n".encode(errors="surrogateescape"))
    if not count:
        raise InputError("--photos: expected photos, received a list or an archive of none.")
    return count, digest.hexdigest()


def _begin(out, settings, model):
    """The folder of a search, new or taken up again."""
    if folders.holds(out, SETTINGS, _is_ours) and any(out.glob(ANSWERS)):
        there = files.read_json(out / SETTINGS)
        for key, wanted in settings.items():
            if there.get(key) != wanted:
                raise FileExistsError(
                    f"{out} holds another search: expected {key} {wanted!r}, received "
                    f"{there.get(key)!r}. Choose another --out, or remove that folder."
                )
    files.make_folder(out)
    files.write_text(out / SETTINGS, json.dumps(settings, indent=1) + "\n")
    files.write_bytes(out / MODEL, model)


def _is_ours(path):
    known = (SETTINGS, MODEL, INDEX, FAILED, METRICS, ANSWERS)
    beside = (f".{pattern}.*" for pattern in known)  # of a run that was killed
    return len(path.parts) == 1 and any(path.match(one) for one in (*known, *beside))


def _searched(out, patterns, search, count, size, workers):
    """Searches the pieces that are missing; returns what it took."""
    places = shards.places(out, -(-count // size))
    there = [place.exists() for place in places]
    before = sum(min(size, count - n * size) for n, is_there in enumerate(there) if is_there)
    pieces = shards.cut(photos_of(patterns), size, places)
    missing = (one for one, is_there in zip(pieces, there, strict=True) if not is_there)
    started = time.monotonic()
    with Progress("photos", count, before) as progress:
        for photos in workers.results(functools.partial(shards.answer, search=search), missing):
            progress.add(photos)
    seconds = time.monotonic() - started
    return {
        "photos_of_this_run": count - before,
        "seconds_of_this_run": round(seconds, 3),
        "photos_per_second": round((count - before) / seconds, 3),
    }


def _gather(out, count, class_names):
    """Writes the index and the list of photos that failed; returns their number."""
    for leftover in out.glob(f".{ANSWERS}.*"):  # of workers that were killed
        leftover.unlink(missing_ok=True)
    read = failed = 0
    with _written(out / INDEX) as index, _written(out / FAILED) as failures:
        rows = csv.writer(index, lineterminator="\n")
        rows.writerow(_heading(class_names))
        for answer in _answers(out):
            read += 1
            if "error" in answer:
                failed += 1
                failures.write(json.dumps(answer) + "\n")
            else:
                rows.writerow(_row(answer, class_names))
    if read != count:
        raise InputError(
            f"{out}: expected answers of {count:,} photos, received {read:,}. A file of it is "
            f"damaged: remove the {ANSWERS} that is too short, and run it again."
        )
    return failed


def _answers(out):
    for path in sorted(out.glob(ANSWERS)):
        with open(path, "rb") as lines:
            yield from (files.parse_json(line, path) for line in lines)


def _heading(class_names):
    if len(class_names) == 1:
        return ["photo", "presence", "area"]
    kinds = ("presence of", "area of")
    return ["photo", *(f"{kind} {name}" for kind in kinds for name in class_names)]


def _row(answer, class_names):
    areas = [0] * len(class_names)
    for one in answer["objects"]:
        areas[one["category_id"] - 1] += one["area"]
    return [answer["photo"], *answer["presence"].values(), *areas]


@contextlib.contextmanager
def _written(path):
    with (
        files.replaced(path, f".{path.name}.new") as beside,
        open(beside, "w", encoding="utf-8", errors="surrogateescape") as file,
    ):
        yield file
