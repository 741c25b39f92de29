"""A folder that is whole or not there: built in a hidden sibling, moved into place at the end.

POSIX only (flock), like TensorFlow's Linux and macOS wheels.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Iterator

from crnet_tf.common.disk import named_when_full
from crnet_tf.common.errors import BlockedError, InputError


def real(out: pathlib.Path) -> pathlib.Path:
    """The folder itself where `out` is a link to it: `replaced` renames folders."""
    return pathlib.Path(os.path.realpath(out)) if out.is_symlink() else out


@contextlib.contextmanager
def locked(out: pathlib.Path) -> Iterator[None]:
    """Holds `.<name>.lock` beside `out`, with this process' id in it.

    The lock ends with its process, however that ends: one left by a killed build is taken
    over. What such a build had moved aside, to put its own in the place, stands there again.

    Raises:
        RuntimeError: another process is building `out`.
        OSError: nothing can be written or locked there.
    """
    path = _sibling(out, "lock")
    file = _acquire(path, out)
    try:
        with named_when_full(out):
            # Unbuffered: what did not fit would be tried again, and raise, when it is closed.
            file.truncate(0)
            os.write(file.fileno(), f"{os.getpid()}\n".encode())
        _restore(_sibling(out, "old"), out)
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def _acquire(path, out):
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+")
        except OSError as error:
            raise OSError(
                f"{out}: expected a place where it can be written, received: {error}. Choose "
                "another --out."
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            file.close()
            raise BlockedError(
                f"{out}: expected to build it alone, but process {owner} is building it now "
                f"(lock {path}). Wait for it, stop it, or choose another --out."
            ) from error
        except OSError as error:
            file.close()
            raise OSError(
                f"{out}: expected a file system with locks, received: {error} ({path}). Choose "
                "another --out, on a disk of this machine."
            ) from error
        # The holder before us may have removed the file between our open() and flock().
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()


@contextlib.contextmanager
def replaced(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives an empty work folder beside `out`; when the block ends well, it becomes `out`.

    What stood at `out` before is removed then, and not earlier: the caller decides whether it
    may be (`locked` must be held). When the block raises, the work folder is removed.

    Raises:
        OSError: the disk is full, or `out` is a mounted disk, which cannot be renamed.
    """
    if os.path.ismount(out):
        raise OSError(
            f"{out}: expected a folder that can be replaced as a whole, received a mounted "
            f"disk. Choose a folder on it: --out={out / 'records'}"
        )
    work, old = _sibling(out, "building"), _sibling(out, "old")
    for leftover in (work, old):  # of a killed build
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        with named_when_full(out):
            work.mkdir()
            yield work
        if out.exists():
            os.rename(out, old)
        os.rename(work, out)
    finally:
        _restore(old, out)
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _restore(old, out):
    """Undoes the first of two renames when the second did not come."""
    if old.exists() and not out.exists():
        os.rename(old, out)


def _sibling(out, kind):
    if not out.name or out.name == "..":
        raise InputError(f"{str(out)!r}: expected a folder with a name. Choose another --out.")
    return out.with_name(f".{out.name}.{kind}")
