"""What `writer.write_records` does, on many machines: Apache Beam maps the photos.

Photos are read by the same function and a stream is cut where the plain writer cuts it, so
that the folder is the same byte for byte (beyond `shards.MAX_OPEN` classes the plain writer
cuts more often; the records and their order are the same).

Two passes over small things make that possible: the sizes of a class' records, in order, say
where its shards begin; then every shard, at most `shard_mb`, is sorted and written by one
worker. All workers must see `out` under one path.
"""

import bisect
import functools
import json
import os
import pathlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from crnet_tf import photos, records
from pipelines import shards
from pipelines.disk import sha256_of
from pipelines.examples import Item, serialize, shrink
from pipelines.shards import FRAME_BYTES
from pipelines.writer import build, settings_of

BAD = "bad"  # tag of photos that could not be read


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
    short_side: int | None = None,
    shard_mb: int = shards.SHARD_MB,
    options: Sequence[str] = (),
) -> records.Index:
    """Builds a folder of records, as `writer.write_records`, by a Beam pipeline a split.

    Args:
        out: on a file system that all workers share.
        splits: sources of one id each; a repeated id stops the build.
        make_item: picklable.
        options: of the pipeline, such as `--runner=FlinkRunner`.
        dataset, source, filter, class_names, on_error, overwrite, short_side, shard_mb: as
            in `writer.write_records`.

    Raises:
        ValueError: an id stands twice, or no photo holds a listed class.
        FileExistsError: `out` holds other things, or records of other settings.
        RuntimeError: the pipeline failed, or another process is building the folder.
    """
    _check_ids(splits)
    out = pathlib.Path(os.path.realpath(out))
    settings = settings_of(splits, dataset, source, filter, class_names, short_side, shard_mb)
    make = functools.partial(
        _read, make_item=make_item, short_side=short_side, skip=on_error == "skip"
    )
    return build(
        out,
        settings,
        overwrite,
        lambda work: {
            split: _write_split(work / split, sources, make, shard_mb << 20, options)
            for split, sources in splits.items()
        },
    )


def _check_ids(splits):
    seen = set()
    for sources in splits.values():
        for source in sources:
            photo = source[0] if isinstance(source, tuple) else source
            name = photo if isinstance(photo, str) else pathlib.Path(photo).stem
            if name in seen:
                raise ValueError(
                    f"{name}: expected every photo once, under an id of its own, received two "
                    "of this name. Rename or remove one of them."
                )
            seen.add(name)


def _write_split(folder, sources, make, shard_bytes, options):
    """Runs the pipeline of one split; returns its part of index.json."""
    folder.mkdir()
    print(f"{folder.name}: {len(sources):,} photos", flush=True)
    report = folder.with_name(f".{folder.name}.json")
    try:
        with beam.Pipeline(options=PipelineOptions([*options])) as pipeline:
            _connect(pipeline, sources, make, str(folder), shard_bytes, str(report))
    except Exception as error:
        raise RuntimeError(
            f"{folder.name}: expected the pipeline to end well, received {error!s:.2000}. "
            "Correct the cause, or leave out photos that cannot be read with --on_error=skip; "
            "nothing half-written stays."
        ) from error
    found = json.loads(report.read_text())
    report.unlink()
    classes = _by_class(found["shards"])
    _remove_others(folder, classes)
    bad = [message for _, message in sorted(found["bad"])]
    if bad:
        print(f"{folder.name}: skipped {len(bad)} bad photos:", *bad, sep="\n  ")
    if not classes:
        raise ValueError(
            f"split {folder.name!r}: expected photos that hold a listed class, received none "
            f"in {len(sources)} photos ({len(bad)} skipped). Check the label maps and --filter."
        )
    return {"photos": len(sources) - len(bad), "skipped": len(bad), "classes": classes}


def _connect(pipeline, sources, make, folder, shard_bytes, report):
    """sources -> (class, position, record) -> shards -> one report for the caller."""
    made = (
        pipeline
        | "sources" >> beam.Create([*enumerate(sources)], reshuffle=True)
        | "read" >> beam.FlatMap(make).with_outputs(BAD, main="records")
    )
    starts = (
        made.records
        | "size" >> beam.Map(lambda r: (r[0], (r[1], len(r[2]) + FRAME_BYTES)))
        | "sizes of a class" >> beam.GroupByKey()
        | "cut" >> beam.Map(lambda c: (c[0], shard_starts(c[1], shard_bytes)))
    )
    written = (
        made.records
        | "to shard" >> beam.Map(_to_shard, starts=beam.pvalue.AsDict(starts))
        | "shards" >> beam.GroupByKey()
        | "write" >> beam.Map(_write_shard, folder=folder)
        | "all shards" >> beam.combiners.ToList()
    )
    bad = made[BAD] | "all bad" >> beam.combiners.ToList()
    _ = (
        pipeline
        | "once" >> beam.Create([report])
        | "report"
        >> beam.Map(_report, beam.pvalue.AsSingleton(written), beam.pvalue.AsSingleton(bad))
    )


def _read(numbered, make_item, short_side, skip):
    """(position, source) -> (class id, position, record) a listed class."""
    position, source = numbered
    try:
        item = make_item(source)
        item = shrink(item, short_side) if short_side else item
        record = serialize(item)
    except (ValueError, OSError) as error:
        if not skip:
            raise
        yield beam.pvalue.TaggedOutput(BAD, (position, str(error)))
        return
    for class_id in item.classes:
        yield class_id, position, record


def shard_starts(sizes, shard_bytes: int) -> list[int]:
    """First positions of a stream's shards, cut as `shards.ShardWriter` cuts it.

    Args:
        sizes: (position, bytes) of every record, in any order.
        shard_bytes: of the largest file; a longer record has one of its own.
    """
    starts, filled = [], 0
    for position, size in sorted(sizes):
        if not starts or filled + size > shard_bytes:
            starts.append(position)
            filled = 0
        filled += size
    return starts


def _to_shard(entry, starts):
    class_id, position, record = entry
    of_class = starts[class_id]
    number = bisect.bisect_right(of_class, position) - 1
    return (class_id, number, len(of_class)), (position, record)


def _write_shard(shard, folder):
    """Writes one file; a worker that does it again leaves the same bytes."""
    (class_id, number, count), entries = shard
    path = pathlib.Path(folder) / shards.file_name(class_id, number, count)
    attempt = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    entries = sorted(entries)
    try:
        with tf.io.TFRecordWriter(str(attempt)) as file:
            for _, record in entries:
                file.write(record)
        sha256 = sha256_of(attempt)
        os.replace(attempt, path)
    finally:
        attempt.unlink(missing_ok=True)
    return class_id, number, {"name": path.name, "records": len(entries), "sha256": sha256}


def _report(path, written, bad):
    attempt = pathlib.Path(f"{path}.{uuid.uuid4().hex}")
    attempt.write_text(json.dumps({"shards": written, "bad": bad}))
    os.replace(attempt, path)


def _by_class(written):
    """As in index.json: {"7": {"records": n, "files": [{"name", "records", "sha256"}]}}."""
    files = {}
    for class_id, _, file in sorted(written, key=lambda shard: shard[:2]):
        files.setdefault(str(class_id), []).append(file)
    return {
        class_id: {"records": sum(f["records"] for f in of_class), "files": of_class}
        for class_id, of_class in files.items()
    }


def _remove_others(folder, classes):
    """What workers that were killed in the midst of a shard have left."""
    names = {file["name"] for stream in classes.values() for file in stream["files"]}
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
