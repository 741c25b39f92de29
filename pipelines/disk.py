"""What is on a disk, and what still fits there."""

import hashlib
import os
import pathlib
import shutil

from pipelines.byte_progress import megabytes

_BLOCK = 1 << 20


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
