"""The streams of one split: a class each, cut into shards of bounded size.

    <folder>/class_07-00000-of-00002.tfrecord, class_07-00001-of-00002.tfrecord ...

Where a stream is cut depends on its records alone.
"""

import collections
import contextlib
import pathlib
from collections.abc import Mapping, Sequence

import tensorflow as tf

from crnet_tf.common import files
from crnet_tf.common.disk import no_room, sha256_of
from crnet_tf.common.threads import futures_of
from crnet_tf.data.writing.choices import SHARD_MB

MAX_OPEN = 512  # files; more classes than that, and the one not written longest is closed
OTHER_FILES = 128  # that a builder may have open besides
FRAME_BYTES = 16  # length and checksums around a record


class RecordFile:
    """A TFRecord file to write; as a context, it is closed.

    What TensorFlow raises on a full or read-only disk is told as OSError with a remedy.
    """

    def __init__(self, path: pathlib.Path):
        self._folder = path.parent
        with self._os_errors():
            self._writer = tf.io.TFRecordWriter(str(path))

    def write(self, record: bytes) -> None:
        """Appends a record."""
        with self._os_errors():
            self._writer.write(record)

    def close(self) -> None:
        """Writes what is still in memory."""
        with self._os_errors():
            self._writer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @contextlib.contextmanager
    def _os_errors(self):
        try:
            yield
        except tf.errors.OpError as error:
            raise no_room(self._folder, error.message) from error


class Cuts:
    """Where streams are cut into shards, by the sizes of their records alone.

    Attributes:
        counts: class id -> records of each of its shards.
    """

    def __init__(self, shard_mb: int = SHARD_MB, max_open: int = MAX_OPEN):
        self.shard_bytes, self.max_open, self.counts = shard_mb << 20, max_open, {}
        self._filled = collections.OrderedDict()  # class id -> bytes, longest unused first

    def add(self, class_id: int, length: int) -> list[tuple[int, int]]:
        """Counts the next record, of so many bytes. `open_shard` of its class is where it
        belongs; returned are class and number of the shards that end before it."""
        size, ended = length + FRAME_BYTES, []
        filled = self._filled.pop(class_id, None)
        if filled is not None and filled + size > self.shard_bytes:
            ended.append((class_id, self.open_shard(class_id)))
            filled = None
        if filled is None:
            if len(self._filled) == self.max_open:
                unused, _ = self._filled.popitem(last=False)
                ended.append((unused, self.open_shard(unused)))
            self.counts.setdefault(class_id, []).append(0)
        self._filled[class_id] = (filled or 0) + size
        self.counts[class_id][-1] += 1
        return ended

    def open_shard(self, class_id: int) -> int:
        """Number of the shard of a class that its last record belongs to."""
        return len(self.counts[class_id]) - 1


class ShardWriter:
    """Writes records to the streams of their classes; as a context, it closes them."""

    def __init__(
        self, folder: pathlib.Path, shard_mb: int = SHARD_MB, max_open: int = MAX_OPEN
    ):
        self.folder, self._cuts = folder, Cuts(shard_mb, max_open)
        self._open = {}  # class id -> file
        files.allow_open(max_open + OTHER_FILES)

    def write(self, class_id: int, record: bytes) -> None:
        """Appends a record to the stream of a class.

        Raises:
            OSError: the file cannot be written, as on a full disk.
        """
        for ended, _ in self._cuts.add(class_id, len(record)):
            self._open.pop(ended).close()
        if class_id not in self._open:
            path = unfinished(self.folder, class_id, self._cuts.open_shard(class_id))
            self._open[class_id] = RecordFile(path)
        self._open[class_id].write(record)

    def finish(self) -> dict:
        """Closes the streams, gives the shards their names and returns, as in index.json,
        {"7": {"records": n, "files": [{"name", "records", "sha256"}]}}."""
        self.close()
        numbered = [(c, n) for c, own in self._cuts.counts.items() for n in range(len(own))]
        sums = futures_of(lambda shard: sha256_of(unfinished(self.folder, *shard)), numbered)
        sums = {shard: done.result() for shard, done in zip(numbered, sums, strict=True)}
        return finished(self.folder, self._cuts.counts, sums)

    def close(self) -> None:
        """Closes all files."""
        while self._open:
            self._open.popitem()[1].close()

    def __enter__(self):
        return self

    def __exit__(self, error_type, *_):
        try:
            self.close()
        except OSError:
            if error_type is None:
                raise


def unfinished(folder: pathlib.Path, class_id: int, number: int) -> pathlib.Path:
    """A shard of a class while nobody knows how many there will be."""
    return folder / f"class_{class_id:02d}-{number:05d}"


def finished(folder: pathlib.Path, counts: Mapping[int, Sequence[int]], sums: Mapping) -> dict:
    """Gives the shards in a folder their names, now that their numbers are known.

    Args:
        counts: of `Cuts`.
        sums: (class id, number) of every shard -> its SHA-256.

    Returns:
        As in index.json, {"7": {"records": n, "files": [{"name", "records", "sha256"}]}}.
    """
    listed = {}
    for class_id in sorted(counts):
        of_class = []
        for number, count in enumerate(counts[class_id]):
            name = file_name(class_id, number, len(counts[class_id]))
            unfinished(folder, class_id, number).rename(folder / name)
            sha256 = sums[class_id, number]
            of_class.append({"name": name, "records": count, "sha256": sha256})
        listed[str(class_id)] = {"records": sum(counts[class_id]), "files": of_class}
    return listed


def file_name(class_id: int, number: int, shards: int) -> str:
    """Name of a shard of a class."""
    return f"class_{class_id:02d}-{number:05d}-of-{shards:05d}.tfrecord"
