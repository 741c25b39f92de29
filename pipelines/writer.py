"""Class-sharded TFRecords: what every builder ends in.

    <out>/<split>/class_07-00000-of-00001.tfrecord   every photo whose class 7 is listed
    <out>/index.json                                 counts, sha256, source, filter, names

Built beside `out` and moved into place at the end. The same input gives the same bytes
(with the same Pillow, which encodes the label maps).
"""

import dataclasses
import hashlib
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from crnet_tf import folds, photos, records
from pipelines import filters
from pipelines.folder import locked, replaced

ON_ERROR = ("stop", "skip")


@dataclasses.dataclass(frozen=True)
class Item:
    """One photo with its label map, as it goes into the records."""

    filename: str  # source id, without folder or extension
    image: bytes  # encoded photo
    image_format: str  # "jpeg" or "png"
    label: np.ndarray  # uint8 [H,W] class ids, 255 void
    classes: list[int]  # class ids it is listed under


def make_example(
    photo: photos.PathLike, label: photos.PathLike, filter: str, num_classes: int
) -> Item:
    """Reads and checks one (photo, label map) pair; pure, so a Beam pipeline can map it.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: unreadable, sizes differ, or ids outside 0..num_classes and 255.
    """
    ids = photos.read_label(label)
    image, image_format, size = photos.photo_bytes(photo)
    if ids.shape != tuple(size):
        raise ValueError(
            f"{label}: expected a label map of its photo's size, {size[1]}x{size[0]} "
            f"({photo}), received {ids.shape[1]}x{ids.shape[0]}. Export the two at one size; "
            "a photo with an EXIF rotation counts upright."
        )
    present = np.flatnonzero(np.bincount(ids.ravel(), minlength=256))
    strange = [int(i) for i in present if i > num_classes and i != folds.VOID]
    if strange:
        raise ValueError(
            f"{label}: expected class ids 0..{num_classes} and {folds.VOID} (void), received "
            f"also {strange[:8]}. Map them to classes, to 0 or to {folds.VOID}."
        )
    return Item(
        filename=pathlib.Path(photo).stem,
        image=image,
        image_format=image_format,
        label=ids,
        classes=filters.listed_classes(ids, filter),
    )


def write_records(
    out: photos.PathLike,
    splits: Mapping[str, Sequence[Any]],
    make_item: Callable[[Any], Item],
    *,
    dataset: str,
    source: str,
    filter: str,
    class_names: Sequence[str],
    on_error: str = "stop",
    overwrite: bool = False,
) -> records.Index:
    """Builds a folder of records, or leaves it as it is when it holds just these already.

    Args:
        out: folder to make; its parent is made too.
        splits: {"train": [...], "val": [...]}, what `make_item` is called with, in order.
        make_item: reads one of them; ValueError or OSError marks a bad one.
        dataset, source, filter, class_names: written to index.json.
        on_error: `stop` at a bad item, or `skip` it: counted in index.json and named.
        overwrite: rebuild a folder of records; other folders are never touched.

    Raises:
        FileExistsError: `out` holds other things, or records of other settings.
        RuntimeError: another process is building it.
    """
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error: expected one of {ON_ERROR}, received {on_error!r}.")
    out = pathlib.Path(out)
    settings = {
        "format": records.FORMAT_VERSION,
        "dataset": dataset,
        "source": source,
        "filter": filter,
        "class_names": list(class_names),
        "input_sha256": _input_sha256(splits),
    }
    with locked(out):
        if _holds_records(out) and not overwrite:
            _check_complete(out, settings)
            print(f"{out} is complete with these settings: left alone (--overwrite rebuilds).")
            return records.load_index(out)
        with replaced(out) as work:
            index = settings | {"splits": {}}
            for split, sources in splits.items():
                index["splits"][split] = _write_split(
                    work / split, sources, make_item, on_error
                )
            (work / records.INDEX_NAME).write_text(json.dumps(index, indent=1) + "\n")
    return records.load_index(out)


def _write_split(folder, sources, make_item, on_error):
    """Writes the streams of one split; returns its part of index.json."""
    folder.mkdir()
    writers, counts, skipped = {}, {}, []
    try:
        for source in progress(sources, folder.name):
            try:
                item = make_item(source)
            except (ValueError, OSError) as error:
                if on_error == "stop":
                    raise
                skipped.append(str(error))
                continue
            record = _serialize(item)
            for c in item.classes:
                if c not in writers:
                    writers[c] = tf.io.TFRecordWriter(str(folder / _file_name(c)))
                writers[c].write(record)
                counts[c] = counts.get(c, 0) + 1
    finally:
        for writer in writers.values():
            writer.close()
    _report_skipped(skipped, folder.name)
    if not counts:
        raise ValueError(
            f"split {folder.name!r}: expected photos that hold a listed class, received none "
            f"in {len(sources)} photos ({len(skipped)} skipped). Check the label maps and "
            "--filter."
        )
    return {
        "photos": len(sources) - len(skipped),
        "skipped": len(skipped),
        "classes": {str(c): _stream(folder / _file_name(c), counts[c]) for c in sorted(counts)},
    }


def _serialize(item):
    height, width = item.label.shape
    label = photos.encode_png(item.label)
    return records.serialize(item.image, item.image_format, label, item.filename, height, width)


def _file_name(class_id):
    return f"class_{class_id:02d}-00000-of-00001.tfrecord"


def _stream(path, count):
    file = {"name": path.name, "records": count, "sha256": _file_sha256(path)}
    return {"records": count, "files": [file]}


def _file_sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _input_sha256(splits):
    """Of the photos' ids, so that records of a shorter list are not taken for complete."""
    digest = hashlib.sha256()
    for split, sources in splits.items():
        for source in sources:
            photo = source[0] if isinstance(source, tuple) else source
            digest.update(f"{split}/{pathlib.Path(str(photo)).stem}\n".encode())
    return digest.hexdigest()


def _holds_records(out):
    """Whether `out` is a folder of records; raises if it is there and something else."""
    if not out.exists():
        return False
    if not out.is_dir():
        raise FileExistsError(f"{out}: expected a folder to write, received a file.")
    others = [
        str(path.relative_to(out))
        for path in out.rglob("*")
        if path.is_file() and not _is_ours(path.relative_to(out))
    ]
    if others or (any(out.iterdir()) and not (out / records.INDEX_NAME).exists()):
        raise FileExistsError(
            f"{out}: expected a new folder or one of records only, received one that holds "
            f"other things ({', '.join(others[:3]) or 'no ' + records.INDEX_NAME}). They are "
            "never deleted: choose another --out, or empty it yourself."
        )
    return (out / records.INDEX_NAME).exists()


def _is_ours(path):
    in_split = len(path.parts) == 2 and path.match("class_*.tfrecord")
    return in_split or path == pathlib.Path(records.INDEX_NAME)


def _check_complete(out, settings):
    remedy = "--overwrite rebuilds them; another --out keeps both."
    index = records.load_index(out)
    there = json.loads((out / records.INDEX_NAME).read_text())
    for key, wanted in settings.items():
        if there.get(key) != wanted:
            raise FileExistsError(
                f"{out} holds records of other settings: expected {key} {wanted!r}, received "
                f"{there.get(key)!r}. {remedy}"
            )
    for split, content in index.splits.items():
        for stream in content["classes"].values():
            for file in stream["files"]:
                path = out / split / file["name"]
                if not path.exists() or _file_sha256(path) != file["sha256"]:
                    raise FileExistsError(
                        f"{path}: expected the file that index.json names, received "
                        f"{'another one' if path.exists() else 'none'}. {remedy}"
                    )


def _report_skipped(skipped, split):
    if skipped:
        print(f"{split}: skipped {len(skipped)} bad photos:")
        for message in skipped:
            print(f"  {message}")


def progress(items: Sequence[Any], title: str) -> Iterator[Any]:
    """Passes items on; a bar on a terminal, a line every tenth elsewhere. To stderr."""
    start, total, live = time.monotonic(), max(len(items), 1), sys.stderr.isatty()
    for done, item in enumerate(items, 1):
        yield item
        if done == len(items) or (live or done * 10 // total > (done - 1) * 10 // total):
            bar = "=" * (done * 30 // total)
            line = f"{title} [{bar:<30}] {done}/{total} {time.monotonic() - start:.0f} s"
            end = "\n" if done == len(items) or not live else ""
            print(f"\r{line}" if live else line, end=end, file=sys.stderr, flush=True)
