"""What is on a disk, and what still fits there."""

import contextlib
import errno
import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterator

from crnet_tf.common.progress import megabytes

_BLOCK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def sha256_of(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def check_space(folder: pathlib.Path, needed: int, what: str) -> None:
    """Raises OSError where the disk of `folder` has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"{folder}: expected {megabytes(needed)} free for {what}, received "
            f"{megabytes(free)}. Free some, or choose a folder on another disk."
        )


def no_room(folder: pathlib.Path, reason: str) -> OSError:
    """What is raised where a folder cannot take all that is written."""
    return OSError(
        f"{folder}: expected room to write it, received: {reason}. Free some space, shrink "
        "the photos (--short_side, where the command has it) or choose another --out; nothing "
        "half-written stays."
    )


@contextlib.contextmanager
def named_when_full(folder: pathlib.Path) -> Iterator[None]:
    """A full disk (or quota) met in the block is told with the folder and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise no_room(folder, error.strerror) from error
        raise
