"""ZIP archives from elsewhere: opened, unless they are made to fill memory or disk."""

import contextlib
import os
import zipfile
from collections.abc import Iterator

from crnet_tf.common.errors import InputError
from crnet_tf.common.progress import megabytes

DAMAGED = zipfile.BadZipFile, UnicodeDecodeError  # what opening a damaged one raises
MOST_RATIO = 100  # unpacked bytes by bytes of the archive
_HARMLESS = 10_000_000  # bytes; so few may be compressed to nothing


def most_unpacked(size: int) -> int:
    """Bytes that an archive of `size` bytes may unpack to; more is no data but a bomb."""
    return max(_HARMLESS, MOST_RATIO * size)


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[zipfile.ZipFile]:
    """An archive to read from.

    Raises:
        InputError: it is none, or see `check`.
    """
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGED as error:
        raise InputError(
            f"{path}: expected a whole ZIP archive, received a damaged one or another kind "
            f"({error}). Copy it again."
        ) from error
    with archive:
        check(archive, path)
        yield archive


def check(archive: zipfile.ZipFile, path: str | os.PathLike) -> None:
    """Raises InputError where the members of an archive would be far larger than it is. (What
    reads them stops at the sizes that are declared.)"""
    unpacked = sum(info.file_size for info in archive.infolist())
    most = most_unpacked(os.path.getsize(path))
    if unpacked > most:
        raise InputError(
            f"{path}: expected at most {megabytes(most)} unpacked, received "
            f"{megabytes(unpacked)}: an archive made to fill memory. Get it again from where "
            "it was made."
        )
