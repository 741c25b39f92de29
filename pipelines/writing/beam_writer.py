"""`writer.write_streams` on many machines: Apache Beam maps the photos.

Photos are read by the same function and a stream is cut where the plain writer cuts it, so
that the folder is the same byte for byte (beyond `shards.MAX_OPEN` classes the plain writer
cuts more often; the records and their order are the same).

Two passes over small things make that possible: the sizes of a class' records, in order, say
where its shards begin; then every shard, at most `shard_mb`, is sorted and written by one
worker. All workers must see the folder under one path.
"""

import bisect
import functools
import json
import pathlib
import uuid
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from crnet_tf.common import files
from crnet_tf.common.disk import sha256_of
from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.data.writing import shards
from crnet_tf.data.writing.examples import MakeRecord

BAD = "bad"  # tag of photos that could not be read


def write_streams(
    folder: pathlib.Path,
    sources: Sequence[Any],
    make: MakeRecord,
    on_error: str,
    shard_mb: int,
    options: Sequence[str],
) -> tuple[dict, list[str]]:
    """Runs the pipeline of one split; see `writer.write_streams`.

    Args:
        folder: on a file system that all workers share.
        make: picklable.
        options: of the pipeline, such as `--runner=FlinkRunner`.

    Raises:
        RuntimeError: the pipeline failed.
    """
    folder = folder.resolve()  # workers are elsewhere
    print(f"{folder.name}: {len(sources):,} photos", flush=True)
    report = folder.with_name(f".{folder.name}.json")
    read = functools.partial(_read, make=make, skip=on_error == "skip")
    try:
        with beam.Pipeline(options=PipelineOptions([*options])) as pipeline:
            _connect(pipeline, sources, read, str(folder), shard_mb << 20, str(report))
    except Exception as error:
        raise BlockedError(
            f"{folder.name}: expected the pipeline to end well, received {error!s:.2000}. "
            "Correct the cause, or leave out photos that cannot be read with --on_error=skip; "
            "nothing half-written stays."
        ) from error
    found = json.loads(report.read_text())
    report.unlink()
    classes = _by_class(found["shards"])
    _remove_others(folder, classes)
    return classes, [message for _, message in sorted(found["bad"])]


def _connect(pipeline, sources, read, folder, shard_bytes, report):
    """sources -> (class, position, record) -> shards -> one report for the caller."""
    made = (
        pipeline
        | "sources" >> beam.Create([*enumerate(sources)], reshuffle=True)
        | "read" >> beam.FlatMap(read).with_outputs(BAD, main="records")
    )
    starts = (
        made.records
        | "size" >> beam.Map(lambda r: (r[0], (r[1], len(r[2]) + shards.FRAME_BYTES)))
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


def _read(numbered, make, skip):
    """(position, source) -> (class id, position, record) a listed class."""
    position, source = numbered
    try:
        classes, record = make(source)
    except (OSError, InputError) as error:
        if not skip:
            raise
        yield beam.pvalue.TaggedOutput(BAD, (position, str(error)))
        return
    for class_id in classes:
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
    entries = sorted(entries)
    with files.replaced(path, f".{path.name}.{uuid.uuid4().hex}") as attempt:
        with tf.io.TFRecordWriter(str(attempt)) as file:
            for _, record in entries:
                file.write(record)
        sha256 = sha256_of(attempt)
    return class_id, number, {"name": path.name, "records": len(entries), "sha256": sha256}


def _report(path, written, bad):
    path = pathlib.Path(path)
    with files.replaced(path, f"{path.name}.{uuid.uuid4().hex}") as attempt:
        attempt.write_text(json.dumps({"shards": written, "bad": bad}))


def _by_class(written):
    """As in index.json: {"7": {"records": n, "files": [{"name", "records", "sha256"}]}}."""
    listed = {}
    for class_id, _, file in sorted(written, key=lambda shard: shard[:2]):
        listed.setdefault(str(class_id), []).append(file)
    return {
        class_id: {"records": sum(f["records"] for f in of_class), "files": of_class}
        for class_id, of_class in listed.items()
    }


def _remove_others(folder, classes):
    """What workers that were killed in the midst of a shard have left."""
    names = {file["name"] for stream in classes.values() for file in stream["files"]}
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
