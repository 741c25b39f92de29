"""Features in a folder, one file each, for later runs; the least recently used go first.

Several processes may share a folder: files come by a rename, and one that another process has
just removed is computed again.
"""

import contextlib
import io
import math
import os
import pathlib
import time
from collections.abc import Callable

import ml_dtypes
import numpy as np

from crnet_tf.common import files
from crnet_tf.common.errors import InputError

# Shares of the bound. Two processes that each write `BETWEEN` before they look stay below it.
BETWEEN, MOST, LEFT = 0.1, 0.8, 0.7
LEFTOVER_SECONDS = 3600  # writing a file takes far less


class FeatureFiles:
    """Arrays by key, on disk.

    Args:
        directory: the folder; made when it is first written to.
        max_bytes: bound on all that lies in it.
    """

    def __init__(self, directory: str | os.PathLike, max_bytes: float):
        self.directory, self.max_bytes = pathlib.Path(directory), max_bytes
        self._unseen = math.inf  # bytes written since the folder was looked at

    def get(self, key: str, dtype, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of a key, such as "folder/name"; `compute()` where there is none.

        Raises:
            ValueError: its file is damaged.
        """
        path = self.directory / f"{key}.npy"
        # NumPy's files do not know bfloat16: its bits are kept.
        bits = np.uint16 if dtype == ml_dtypes.bfloat16 else dtype
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            array = compute()
            self._write(path, array.view(bits))
            return array
        with contextlib.suppress(OSError):  # removed meanwhile, or not ours to touch
            os.utime(path)
        try:
            return np.load(io.BytesIO(content), allow_pickle=False).view(dtype)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{path} cannot be read as features ({error}). Remove it."
            ) from error

    def _write(self, path, array):
        buffer = io.BytesIO()
        np.save(buffer, array)
        size = buffer.tell()
        if size > LEFT * self.max_bytes:
            return
        if self._unseen + size > BETWEEN * self.max_bytes:
            self._make_room(size)
            self._unseen = 0
        self._unseen += size
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(path, buffer.getvalue())

    def _make_room(self, size):
        there = sorted(self._files())
        total = size + sum(bytes_ for _, bytes_, _ in there)
        if total <= MOST * self.max_bytes:
            return
        for _, bytes_, path in there:
            if total <= LEFT * self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= bytes_

    def _files(self):
        """(last use, bytes, path) of each file that no process is writing now."""
        for path in self.directory.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                seen = path.stat()
                forgotten = time.time() - seen.st_mtime > LEFTOVER_SECONDS
                unfinished = path.name.startswith(".")
                if path.is_file() and (forgotten or not unfinished):
                    yield seen.st_mtime_ns, seen.st_size, path
