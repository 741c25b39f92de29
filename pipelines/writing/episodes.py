"""Episodes of a protocol, drawn and written down; `pipelines.build_episodes` is the command."""

import json
import pathlib

from crnet_tf.common import files
from crnet_tf.common.disk import sha256_of
from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import holds, locked, replaced
from crnet_tf.common.progress import with_progress
from crnet_tf.data import records
from crnet_tf.data.frames import Frame
from crnet_tf.data.writing.shards import RecordFile
from crnet_tf.evaluation import episode_records, manifest, protocols
from crnet_tf.images import photos
from crnet_tf.network.preprocessing import PREPROCESSING

FORMAT_VERSION = 1
INDEX_NAME = "episodes.json"


def build_episodes(
    records_dir: photos.PathLike,
    fold: int,
    out: photos.PathLike,
    protocol: str = "crnet",
    shot: int = 1,
    episodes: int | None = None,
    seeds: tuple[int, ...] | None = None,
    classes: str = "novel",
    tfrecords: bool = False,
    image_size: int | None = None,
    overwrite: bool = False,
) -> dict:
    """Writes the episodes of a protocol, or leaves a folder that holds just these alone.

    Args:
        records_dir: folder with index.json.
        out: folder to make.
        protocol: a key of `protocols.PROTOCOLS`; what is None below is as it says.
        episodes, seeds: how many of each of which seeds.
        classes: "novel" or "base" ones of the fold.
        tfrecords: write the photos and masks too.
        image_size: as squares of so many px, framed as the protocol does; None: as they are.
        overwrite: build again what is there with other settings.

    Returns:
        What `episodes.json` says.

    Raises:
        ValueError: the protocol, fold or shot do not go with the records.
        FileExistsError: `out` holds other episodes, or other things.
        RuntimeError: another process is building it.
        OSError: it cannot be written, as on a full disk.
    """
    if image_size and not tfrecords:
        raise InputError("--image_size: expected --tfrecords with it, received it alone.")
    index = records.load_index(records_dir)
    rules = protocols.protocol(protocol, index.dataset)
    episodes, seeds = episodes or rules.episodes, tuple(seeds or rules.seeds)
    choose = index.test_classes if classes == "novel" else index.validation_classes
    archive = manifest.Archive(index, rules.split, choose(fold))
    drawn = {s: manifest.draw(archive, shot, episodes, s, rules.sampling) for s in seeds}
    content = {
        "protocol": protocol,
        "fold": fold,
        "classes": classes,
        "shot": shot,
        "episodes": episodes,
        "image_size": image_size,
        "tfrecords": tfrecords,
        "deviations": _deviations(rules, classes, index, image_size, episodes, seeds),
    } | _about(index, archive, drawn)
    content = json.loads(json.dumps(content))  # as it is read again: keys are strings
    frame = _frame(rules, image_size) if image_size else None
    return _write(pathlib.Path(out), content, archive, drawn, frame, overwrite)


def _about(index, archive, drawn):
    """What `episodes.json` says of the records and of what was drawn from them."""
    return {
        "format": FORMAT_VERSION,
        "dataset": index.dataset,
        "records_sha256": index.sha256,
        "class_names": {c: index.class_names[c - 1] for c in archive.names},
        "manifests": [
            {"seed": seed, "manifest_sha256": manifest.sha256(entries)}
            for seed, entries in drawn.items()
        ],
    }


def _deviations(rules, classes, index, image_size, episodes, seeds):
    return protocols.deviations(
        rules,
        classes=classes,
        index_filter=index.filter,
        photo_list=rules.photo_list,  # of training, as the next
        novel_images=rules.novel_images,
        input_size=image_size or rules.input_size,
        episodes=episodes,
        seeds=seeds,
        network_size=image_size,
    )


def _frame(rules, image_size):
    mean, _, _ = PREPROCESSING["torch"]
    return Frame(image_size, rules.letterbox, fill=tuple(mean))


def _write(out, content, archive, drawn, frame, overwrite):
    with locked(out) as out:
        there = _episodes_in(out)
        if there and not overwrite:
            _check_equal(there, content, out)
            print(f"{out} holds these episodes: left alone (--overwrite writes them again).")
            return there
        with replaced(out) as work:
            for made, entries in zip(content["manifests"], drawn.values(), strict=True):
                written = _write_seed(work, made["seed"], archive, entries, frame, content)
                made["files"] = {path.name: sha256_of(path) for path in written}
            files.write_text(work / INDEX_NAME, json.dumps(content, indent=1) + "\n")
    return content


def _write_seed(folder, seed, archive, entries, frame, content):
    paths = [folder / f"manifest-seed{seed}.jsonl"]
    manifest.write(paths[0], entries)
    if content["tfrecords"]:
        paths.append(folder / f"episodes-seed{seed}.tfrecord")
        with RecordFile(paths[1]) as file:
            for entry in with_progress(entries, paths[1].stem):
                file.write(episode_records.serialize(archive, entry, frame))
    return paths


def _episodes_in(out):
    """What `episodes.json` of a folder says; None where there is no folder yet."""
    if not holds(out, INDEX_NAME, _is_ours):
        return None
    try:
        return json.loads((out / INDEX_NAME).read_bytes())
    except ValueError as error:
        raise InputError(
            f"{out / INDEX_NAME} is damaged ({error}). Remove the folder, and build it again."
        ) from error


def _is_ours(path):
    ours = (INDEX_NAME, "manifest-seed*.jsonl", "episodes-seed*.tfrecord")
    return len(path.parts) == 1 and any(path.match(pattern) for pattern in ours)


def _check_equal(there, content, out):
    remedy = "--overwrite writes them again; another --out keeps both."
    for key, wanted in content.items():
        received = there.get(key)
        if key == "manifests":
            received = [{k: v for k, v in made.items() if k != "files"} for made in received]
        if received != wanted:
            raise FileExistsError(
                f"{out} holds other episodes: expected {key} {wanted!r}, received "
                f"{received!r}. {remedy}"
            )
    hashes = {name: sha for made in there["manifests"] for name, sha in made["files"].items()}
    for name, sha in hashes.items():
        path = out / name
        if not path.is_file() or sha256_of(path) != sha:
            raise FileExistsError(
                f"{path}: expected the file that {INDEX_NAME} names, received "
                f"{'another one' if path.exists() else 'none'}. {remedy}"
            )
