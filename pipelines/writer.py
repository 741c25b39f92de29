"""Class-sharded TFRecords: what every builder ends in.

    <out>/<split>/class_07-00000-of-00001.tfrecord   every photo whose class 7 is listed
    <out>/index.json                                 counts, sha256, source, filter, names

Built beside `out` and moved into place at the end, one photo after the other. The same input
gives the same bytes (with the same Pillow, which encodes the label maps).
"""

import functools
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from crnet_tf import photos, records
from pipelines.examples import Item, make_example, serialize, shrink
from pipelines.finished import check_complete, holds_records, input_sha256
from pipelines.folder import locked, replaced
from pipelines.shards import SHARD_MB, ShardWriter

__all__ = [
    "ON_ERROR",
    "Item",
    "build",
    "define_flags",
    "make_example",
    "progress",
    "settings_of",
    "write_records",
]

ON_ERROR = ("stop", "skip")
Classes = Sequence[int]


def define_flags() -> None:
    """The flags of builders for what `write_records` is told beside the photos."""
    flags.DEFINE_enum("on_error", "stop", ON_ERROR, "Bad photo: stop, or skip and count.")
    flags.DEFINE_integer("short_side", None, "Store photos no larger, px.", 1)
    flags.DEFINE_integer("shard_mb", SHARD_MB, "Largest file, MiB.", 1)
    flags.DEFINE_bool("overwrite", False, "Rebuild records that are there already.")


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
    folds: Sequence[Classes] | None = None,
    validation_folds: Sequence[Classes] | None = None,
    short_side: int | None = None,
    shard_mb: int = SHARD_MB,
) -> records.Index:
    """Builds a folder of records, or leaves it as it is when it holds just these already.

    Args:
        out: folder to make; its parent is made too.
        splits: {"train": [...], "val": [...]}, what `make_item` is called with, in order:
            a photo's path, its id, or a tuple that begins with one of them.
        make_item: reads one of them; ValueError or OSError marks a bad one.
        dataset, source, filter, class_names: written to index.json.
        on_error: `stop` at a bad item, or `skip` it: counted in index.json and named.
        overwrite: rebuild a folder of records; other folders are never touched.
        folds: class ids each fold tests on; None where `crnet_tf.folds` knows the data set.
        validation_folds: class ids each fold selects checkpoints on, if of their own.
        short_side: store photos with the shorter side at most so many px.
        shard_mb: cut a class' stream into files of at most so many MiB.

    Raises:
        FileExistsError: `out` holds other things, or records of other settings.
        RuntimeError: another process is building it.
        OSError: it cannot be written.
    """
    _check_options(on_error, short_side, shard_mb)
    settings = settings_of(
        splits, dataset, source, filter, class_names, short_side, shard_mb
    ) | {"folds": _lists(folds), "validation_folds": _lists(validation_folds)}
    make = functools.partial(_make, make_item=make_item, short_side=short_side)
    names = set()  # of all splits
    return build(
        out,
        settings,
        overwrite,
        lambda work: {
            split: _write_split(work / split, sources, make, on_error, names, shard_mb)
            for split, sources in splits.items()
        },
    )


def settings_of(
    splits, dataset, source, filter, class_names, short_side, shard_mb
) -> dict[str, Any]:
    """What index.json says of a build; None, left out, is what earlier versions did."""
    return {
        "format": records.FORMAT_VERSION,
        "dataset": dataset,
        "source": source,
        "filter": filter,
        "class_names": list(class_names),
        "input_sha256": input_sha256(splits),
        "folds": None,
        "validation_folds": None,
        "short_side": short_side,
        "shard_mb": None if shard_mb == SHARD_MB else shard_mb,
    }


def build(
    out: photos.PathLike,
    settings: Mapping[str, Any],
    overwrite: bool,
    write_splits: Callable[[pathlib.Path], dict],
) -> records.Index:
    """A folder of records, made by `write_splits` or left alone; see `write_records`.

    Args:
        settings: keys of index.json but "splits"; None stands for a key that is left out.
        write_splits: writes the streams into a folder and returns "splits" of index.json.
    """
    out = pathlib.Path(os.path.realpath(out) if os.path.islink(out) else out)
    with locked(out):
        if holds_records(out) and not overwrite:
            check_complete(out, settings)
            print(f"{out} is complete with these settings: left alone (--overwrite rebuilds).")
            return records.load_index(out)
        with replaced(out) as work:
            index = {key: value for key, value in settings.items() if value is not None}
            index["splits"] = write_splits(work)
            (work / records.INDEX_NAME).write_text(json.dumps(index, indent=1) + "\n")
    return records.load_index(out)


def _lists(folds):
    return None if folds is None else [list(classes) for classes in folds]


def _make(source, make_item, short_side):
    item = make_item(source)
    return shrink(item, short_side) if short_side else item


def _check_options(on_error, short_side, shard_mb):
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error: expected one of {ON_ERROR}, received {on_error!r}.")
    for name, value in (("short_side", short_side), ("shard_mb", shard_mb)):
        if value is not None and value < 1:
            raise ValueError(f"--{name}: expected at least 1, received {value}.")


def _write_split(folder, sources, make, on_error, names, shard_mb):
    """Writes the streams of one split; returns its part of index.json.

    `names` collects the photos' ids over all splits.
    """
    folder.mkdir()
    skipped = []
    with ShardWriter(folder, shard_mb) as streams:
        for source in progress(sources, folder.name):
            try:
                item = make(source)
                _check_new(item.filename, names)
                record = serialize(item)
            except (ValueError, OSError) as error:
                if on_error == "stop":
                    raise
                skipped.append(str(error))
                continue
            for class_id in item.classes:
                streams.write(class_id, record)
        classes = streams.finish()
    _report_skipped(skipped, folder.name)
    if not classes:
        raise ValueError(
            f"split {folder.name!r}: expected photos that hold a listed class, received none "
            f"in {len(sources)} photos ({len(skipped)} skipped). Check the label maps and "
            "--filter."
        )
    return {
        "photos": len(sources) - len(skipped),
        "skipped": len(skipped),
        "classes": classes,
    }


def _check_new(filename, names):
    """An episode names its photos by id, and a photo of two splits would be in both."""
    if filename in names:
        raise ValueError(
            f"{filename}: expected every photo once, under an id of its own, received two of "
            "this name. Rename or remove one of them."
        )
    names.add(filename)


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
