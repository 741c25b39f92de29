"""Class-sharded TFRecords: what every builder ends in.

    <out>/<split>/class_07-00000-of-00001.tfrecord   every photo whose class 7 is listed
    <out>/index.json                                 counts, sha256, source, filter, names

Built beside `out` and moved into place at the end: by this process and its threads, or by the
workers of a Ray cluster (`ray_writer`). The same input gives the same bytes either way
(with the same Pillow and zlib, which encode the label maps).
"""

import functools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import locked, replaced
from crnet_tf.common.progress import with_progress
from crnet_tf.common.threads import futures_of
from crnet_tf.data import records
from crnet_tf.data.writing.choices import ON_ERROR, SHARD_MB
from crnet_tf.data.writing.examples import Item, MakeRecord, make_record
from crnet_tf.data.writing.finished import (
    check_complete,
    check_names,
    holds_records,
    input_sha256,
)
from crnet_tf.data.writing.shards import ShardWriter
from crnet_tf.images import photos

Classes = Sequence[int]
# See `write_streams` below.
WriteStreams = Callable[..., tuple[dict, list[str]]]


def write_streams(
    folder: pathlib.Path,
    sources: Sequence[Any],
    make: MakeRecord,
    on_error: str,
    shard_mb: int,
) -> tuple[dict, list[str]]:
    """Writes the streams of one split; sources are read by threads, in order.

    Args:
        folder: is there, empty.
        make: reads a source.
        on_error, shard_mb: as in `write_records`.

    Returns:
        The streams, as "classes" of index.json, and what was wrong with each skipped source.
    """
    bad = []
    with ShardWriter(folder, shard_mb) as streams:
        for made in with_progress(futures_of(make, sources), folder.name, len(sources)):
            try:
                classes, record = made.result()
            except (OSError, InputError) as error:
                if on_error == "stop":
                    raise
                bad.append(str(error))
                continue
            for class_id in classes:
                streams.write(class_id, record)
        return streams.finish(), bad


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
    write_streams: WriteStreams = write_streams,
) -> records.Index:
    """Builds a folder of records, or leaves it as it is when it holds just these already.

    Args:
        out: folder to make; its parent is made too.
        splits: {"train": [...], "val": [...]}, what `make_item` is called with, in order:
            a photo's id, its path (whose stem is its id), or a tuple that begins with either.
        make_item: reads one of them; ValueError or OSError marks a bad one. Picklable where
            `write_streams` is Ray's.
        dataset, source, filter, class_names: written to index.json.
        on_error: `stop` at a bad item, or `skip` it: counted in index.json and named.
        overwrite: rebuild a folder of records; other folders are never touched.
        folds: class ids each fold tests on; None where `data.folds` knows the data set.
        validation_folds: class ids each fold selects checkpoints on, if of their own.
        short_side: store photos with the shorter side at most so many px.
        shard_mb: cut a class' stream into files of at most so many MiB.
        write_streams: does the work of a split.

    Raises:
        ValueError: two photos of one id, or none that holds a listed class.
        FileExistsError: `out` holds other things, or records of other settings.
        RuntimeError: another process is building it, or workers failed.
        OSError: it cannot be written.
    """
    _check_options(on_error, short_side, shard_mb)
    check_names(splits)
    settings = {
        "format": records.FORMAT_VERSION,
        "dataset": dataset,
        "source": source,
        "filter": filter,
        "class_names": list(class_names),
        "input_sha256": input_sha256(splits),
        "folds": _lists(folds),
        "validation_folds": _lists(validation_folds),
        "short_side": short_side,
        "shard_mb": None if shard_mb == SHARD_MB else shard_mb,
    }
    make = functools.partial(make_record, make_item=make_item, short_side=short_side)
    write = functools.partial(write_streams, make=make, on_error=on_error, shard_mb=shard_mb)
    return _build(pathlib.Path(out), settings, overwrite, splits, write)


def _build(out, settings, overwrite, splits, write):
    """Writes the splits and the index, or leaves alone what is there."""
    with locked(out) as out:
        if holds_records(out) and not overwrite:
            check_complete(out, settings)
            index = records.load_index(out)
            skipped = sum(split["skipped"] for split in index.splits.values())
            print(f"{out} is complete with these settings: left alone (--overwrite rebuilds).")
            if skipped:
                print(f"{skipped} bad photos were skipped then; --overwrite tries them again.")
            return index
        with replaced(out) as work:
            # A key that is not asked for is left out: what earlier versions wrote stays equal.
            index = {key: value for key, value in settings.items() if value is not None}
            index["splits"] = {
                split: _split(work / split, sources, write) for split, sources in splits.items()
            }
            (work / records.INDEX_NAME).write_text(json.dumps(index, indent=1) + "\n")
    return records.load_index(out)


def _split(folder, sources, write):
    """Writes one split; returns its part of index.json."""
    folder.mkdir()
    classes, bad = write(folder, sources)
    if bad:
        print(f"{folder.name}: skipped {len(bad)} bad photos:", *bad, sep="\n  ")
    if not classes:
        raise InputError(
            f"split {folder.name!r}: expected photos that hold a listed class, received none "
            f"in {len(sources)} photos ({len(bad)} skipped). Check the label maps and "
            "--filter."
        )
    return {"photos": len(sources) - len(bad), "skipped": len(bad), "classes": classes}


def _lists(folds):
    return None if folds is None else [list(classes) for classes in folds]


def _check_options(on_error, short_side, shard_mb):
    if on_error not in ON_ERROR:
        raise InputError(f"on_error: expected one of {ON_ERROR}, received {on_error!r}.")
    for name, value in (("short_side", short_side), ("shard_mb", shard_mb)):
        if value is not None and value < 1:
            raise InputError(f"--{name}: expected at least 1, received {value}.")
