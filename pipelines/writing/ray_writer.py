"""`writer.write_streams` by the workers of a Ray cluster, with the same bytes.

Two kinds of work. Photos are read, some at a time, and their records written one behind the
other into a file beside the folder. Once the sizes of a shard's records are known, in order, it
is written: by one worker, from those files. So a record is written twice, and no worker holds
more than those of a few photos. All workers must see the folder under one path.
"""

import array
import functools
import itertools
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

from crnet_tf.common.disk import sha256_of
from crnet_tf.common.errors import InputError
from crnet_tf.common.progress import Progress
from crnet_tf.data.writing import shards
from crnet_tf.data.writing.examples import MakeRecord
from pipelines.workers import pool

CHUNK = 64  # photos that are read at a time


class Chunk(NamedTuple):
    """Photos that are read together, and the file of their records."""

    path: pathlib.Path
    sources: Sequence[Any]


class Read(NamedTuple):
    """What became of a chunk.

    Attributes:
        lengths: of the record of each photo that could be read.
        classes: that each of these is listed under.
        bad: what was wrong with the others.
    """

    lengths: list[int]
    classes: list[list[int]]
    bad: list[str]


class Shard(NamedTuple):
    """A shard to write: where its records lie, three numbers each: chunk, start, length."""

    class_id: int
    number: int
    places: array.array


def write_streams(
    folder: pathlib.Path,
    sources: Sequence[Any],
    make: MakeRecord,
    on_error: str,
    shard_mb: int,
    workers,
) -> tuple[dict, list[str]]:
    """Writes the streams of one split; see `writer.write_streams`.

    Args:
        folder: on a file system that all workers share.
        make: picklable.
        workers: of `pool.workers_at`.

    Raises:
        RuntimeError: workers failed.
    """
    folder = folder.resolve()  # workers are elsewhere
    spool, cuts, bad = folder.with_name(f".{folder.name}.read"), shards.Cuts(shard_mb), []
    spool.mkdir()
    read = functools.partial(_read, make=make, skip=on_error == "skip")
    with Progress(folder.name, len(sources)) as progress:

        def pieces():
            for one in workers.results(read, _chunks(spool, sources), in_order=True):
                progress.add(len(one.lengths) + len(one.bad))
                bad.extend(one.bad)
                yield one

        write = functools.partial(_write, folder=folder, spool=spool)
        sums = dict(workers.results(write, _shards(pieces(), cuts)))
    shutil.rmtree(spool)
    classes = shards.finished(folder, cuts.counts, sums)
    for leftover in folder.glob(".*"):  # of workers that were killed
        leftover.unlink()
    return classes, bad


def _chunks(spool, sources):
    for number, start in enumerate(range(0, len(sources), CHUNK)):
        yield Chunk(_spooled(spool, number), sources[start : start + CHUNK])


def _spooled(spool, number):
    return spool / f"{number:06d}"


def _read(chunk, make, skip):
    """Photos -> their records in a file, and where these lie in it."""
    done = Read([], [], [])
    with pool.whole(chunk.path) as attempt, open(attempt, "wb") as file:
        for source in chunk.sources:
            try:
                classes, record = make(source)
            except (OSError, InputError) as error:
                if not skip:
                    raise
                done.bad.append(str(error))
                continue
            file.write(record)
            done.lengths.append(len(record))
            done.classes.append(classes)
    return done


def _shards(pieces, cuts):
    """The shards of all streams, each as soon as it is known."""
    places = {}  # class id -> of its open shard
    for chunk, one in enumerate(pieces):
        starts = itertools.accumulate(one.lengths, initial=0)
        for start, length, classes in zip(starts, one.lengths, one.classes, strict=False):
            for class_id in classes:
                for ended, number in cuts.add(class_id, length):
                    yield Shard(ended, number, places.pop(ended))
                places.setdefault(class_id, array.array("Q")).extend((chunk, start, length))
    for class_id, own in places.items():
        yield Shard(class_id, cuts.open_shard(class_id), own)


def _write(shard, folder, spool):
    """Writes one shard; returns which one it is, and its SHA-256."""
    path = shards.unfinished(folder, shard.class_id, shard.number)
    with pool.whole(path) as attempt:
        with shards.RecordFile(attempt) as file:
            for record in _records(shard.places, spool):
                file.write(record)
        sha256 = sha256_of(attempt)
    return (shard.class_id, shard.number), sha256


def _records(places, spool):
    threes = zip(places[::3], places[1::3], places[2::3], strict=True)
    for chunk, own in itertools.groupby(threes, key=lambda place: place[0]):
        with open(_spooled(spool, chunk), "rb") as file:
            for _, start, length in own:
                file.seek(start)
                yield file.read(length)
