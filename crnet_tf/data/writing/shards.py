"""The streams of one split: a class each, cut into shards of bounded size.

    <folder>/class_07-00000-of-00002.tfrecord, class_07-00001-of-00002.tfrecord ...

Where a stream is cut depends on its records alone.
"""

import collections
import contextlib
import itertools
import pathlib

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


class ShardWriter:
    """Writes records to the streams of their classes; as a context, it closes them."""

    def __init__(
        self, folder: pathlib.Path, shard_mb: int = SHARD_MB, max_open: int = MAX_OPEN
    ):
        self.folder, self.shard_bytes, self.max_open = folder, shard_mb << 20, max_open
        self._open = collections.OrderedDict()  # class id -> writer, longest unused first
        self._bytes = collections.Counter()  # of the open shard of a class
        self._counts = {}  # class id -> records of each of its shards
        files.allow_open(max_open + OTHER_FILES)

    def write(self, class_id: int, record: bytes) -> None:
        """Appends a record to the stream of a class.

        Raises:
            OSError: the file cannot be written, as on a full disk.
        """
        size = len(record) + FRAME_BYTES
        if class_id in self._open and self._bytes[class_id] + size > self.shard_bytes:
            self._close(class_id)
        if class_id not in self._open:
            self._begin_shard(class_id)
        self._open.move_to_end(class_id)
        self._open[class_id].write(record)
        self._bytes[class_id] += size
        self._counts[class_id][-1] += 1

    def finish(self) -> dict:
        """Closes the streams, gives the shards their names and returns, as in index.json,
        {"7": {"records": n, "files": [{"name", "records", "sha256"}]}}."""
        self.close()
        paths = {c: self._named(c) for c in sorted(self._counts)}
        sums = futures_of(sha256_of, itertools.chain.from_iterable(paths.values()))
        return {str(c): self._stream(c, paths[c], sums) for c in paths}

    def close(self) -> None:
        """Closes all files."""
        while self._open:
            self._close(next(iter(self._open)))

    def __enter__(self):
        return self

    def __exit__(self, error_type, *_):
        try:
            self.close()
        except OSError:
            if error_type is None:
                raise

    def _begin_shard(self, class_id):
        if len(self._open) == self.max_open:
            self._close(next(iter(self._open)))
        counts = self._counts.setdefault(class_id, [])
        self._open[class_id] = RecordFile(self.folder / _unfinished(class_id, len(counts)))
        counts.append(0)
        self._bytes[class_id] = 0

    def _close(self, class_id):
        self._open.pop(class_id).close()

    def _named(self, class_id):
        """The shards of a class under their names, now that their number is known."""
        count = len(self._counts[class_id])
        return [
            (self.folder / _unfinished(class_id, number)).rename(
                self.folder / file_name(class_id, number, count)
            )
            for number in range(count)
        ]

    def _stream(self, class_id, paths, sums):
        counts = self._counts[class_id]
        listed = [
            {"name": path.name, "records": count, "sha256": next(sums).result()}
            for path, count in zip(paths, counts, strict=True)
        ]
        return {"records": sum(counts), "files": listed}


def file_name(class_id: int, number: int, shards: int) -> str:
    """Name of a shard of a class."""
    return f"{_unfinished(class_id, number)}-of-{shards:05d}.tfrecord"


def _unfinished(class_id, number):
    return f"class_{class_id:02d}-{number:05d}"
