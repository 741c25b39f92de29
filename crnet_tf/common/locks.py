"""One process at a time at a file or folder (POSIX: flock).

A lock ends with the process that holds it, however that ends.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from crnet_tf.common.errors import BlockedError


@contextlib.contextmanager
def locked(path: str | os.PathLike, doing: str) -> Iterator[None]:
    """Keeps other processes that ask for the same out of a file or folder that is there.

    Args:
        path: it; nothing is written to it.
        doing: what another process does with it, for the error: "trains in".

    Raises:
        RuntimeError: another process has it. OSError: it cannot be locked.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        take(descriptor, path, doing)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked_beside(path: pathlib.Path, doing: str = "is building") -> Iterator[None]:
    """The same for what may not be there yet: holds `.<name>.lock` beside `path`.

    The number of this process stands in it. One left by a killed process is taken over.
    """
    beside = path.with_name(f".{path.name}.lock")
    file = _open_and_take(beside, path, doing)
    try:
        # Unbuffered: what did not fit would be tried again, and raise, when it is closed.
        file.truncate(0)
        os.write(file.fileno(), f"{os.getpid()}\n".encode())
        yield
    finally:
        beside.unlink(missing_ok=True)
        file.close()


def _open_and_take(beside, path, doing):
    while True:
        try:
            beside.parent.mkdir(parents=True, exist_ok=True)
            file = open(beside, "a+")
        except OSError as error:
            raise OSError(
                f"{path}: expected a place where it can be written, received: {error}. Choose "
                "another --out."
            ) from error
        try:
            take(file.fileno(), path, doing)
        except BaseException:
            file.close()
            raise
        # The holder before us may have removed the file between our open() and flock().
        if beside.exists() and os.path.samestat(os.fstat(file.fileno()), beside.stat()):
            return file
        file.close()


def take(descriptor: int, path: str | os.PathLike, doing: str, wait: bool = False) -> None:
    """Locks an open file or folder until it is closed, by child processes too that have it.

    Args:
        path: its name, for messages.
        doing: as in `locked`.
        wait: for whoever has it, and say so, rather than raise.

    Raises:
        RuntimeError, OSError: as `locked`.
    """
    import fcntl  # only here: all else runs where it is not there

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        if not wait:
            raise BlockedError(
                f"{path}: expected to work on it alone, received: {_owner(path)} {doing} it "
                "now. Wait for it, stop it, or choose another --out."
            ) from error
        print(f"Waiting for the process that {doing} {path}.", flush=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise OSError(
            f"{path}: expected a file system with locks, received: {error}. Choose another "
            "--out, on a disk of this machine."
        ) from error


def _owner(path):
    """The process, by its number where that was written down."""
    path = pathlib.Path(path)
    try:
        return f"process {int(path.with_name(f'.{path.name}.lock').read_text())}"
    except (OSError, ValueError):
        return "another process"
