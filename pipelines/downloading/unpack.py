"""Unpacks an archive whose content nobody has looked at: nothing leaves the folder.

Its list is read and checked first; then it is unpacked into a hidden folder, and every
top-level entry is moved to its place at once.
"""

import contextlib
import errno
import gzip
import lzma
import os
import pathlib
import platform
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from crnet_tf.common import archives, files
from crnet_tf.common.disk import check_space
from crnet_tf.common.errors import BlockedError, InputError, UserError
from crnet_tf.common.locks import locked_beside
from crnet_tf.common.progress import Progress, megabytes

# More than this is no data set but a bomb.
MOST_ENTRIES = 500_000
MOST_BYTES = 200_000_000_000
_DAMAGED = (
    tarfile.TarError, *archives.DAMAGED, zlib.error, gzip.BadGzipFile, lzma.LZMAError,
    EOFError, RuntimeError,
)  # fmt: skip
# Windows would take a backslash for a folder, and "C:" for a drive.
_BAD_NAME = re.compile(r"^/|^[A-Za-z]:|\\|\0|(^|/)\.\.(/|$)")


def unpack(archive: str | os.PathLike, folder: str | os.PathLike) -> list[str]:
    """Unpacks a .tar (also .gz, .bz2, .xz) or .zip into `folder`; returns its top-level names.

    What stands at its place with every file of the right size is left alone, so a rerun takes
    up after the last top-level entry that was whole. Links are left out.

    Raises:
        ValueError: it is damaged, or has names, devices or sizes it must not have.
        FileExistsError: other things stand where it would be unpacked; they are never touched.
        OSError: the disk has no room for it.
        RuntimeError: another process is unpacking it; see `check_python`.
    """
    check_python()
    archive, folder = pathlib.Path(archive), pathlib.Path(folder)
    with locked_beside(folder / archive.name, "is unpacking"), _named_when_damaged(archive):
        with _open(archive) as file:
            sizes = _checked(archive, _entries(file))
        tops = list(dict.fromkeys(parts[0] for parts in sizes))
        missing = [top for top in tops if not _is_whole(folder, top, sizes)]
        if missing:
            total = sum(size or 0 for parts, size in sizes.items() if parts[0] in missing)
            check_space(folder, total, f"unpacking {archive.name}")
            _unpack(archive, folder, missing, total)
    return tops


def check_python() -> None:
    """Raises RuntimeError where `tarfile` cannot yet refuse what would leave the folder."""
    if not hasattr(tarfile, "data_filter"):
        raise BlockedError(
            "Unpacking: expected Python 3.11.4 or newer, received "
            f"{platform.python_version()}. Unpack the archive by hand, or take a newer one."
        )


def _open(archive):
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive)
    return tarfile.open(archive, "r:*")


@contextlib.contextmanager
def _named_when_damaged(archive) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except _DAMAGED as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # an offset before the file's beginning
            raise
        raise _damaged(archive, error) from error


def _damaged(archive, error):
    reason = " ".join(str(error).split())
    return InputError(
        f"{archive}: expected a whole archive (tar, tgz or zip) of files and folders, "
        f"received a damaged one or another kind ({reason}). Delete it and download it "
        "again."
    )


def _entries(file):
    """(name, bytes or None of a folder, what to extract) of all but links."""
    if isinstance(file, zipfile.ZipFile):
        for info in file.infolist():  # the reader stops at the size declared here
            yield info.filename, None if info.is_dir() else info.file_size, info
        return
    for member in file:
        if member.isfile() or member.isdir():
            yield member.name, None if member.isdir() else member.size, member
        elif not (member.issym() or member.islnk()):
            raise tarfile.SpecialFileError(member)
    while file.fileobj.read(1 << 20):  # up to gzip's checksum, which tarfile leaves unread
        pass


def _checked(archive, entries):
    """{parts of the name: bytes, or None of a folder} of all entries."""
    sizes, total = {}, 0
    most = min(MOST_BYTES, archives.most_unpacked(archive.stat().st_size))
    for name, size, _ in entries:
        total += size or 0
        if total > most or len(sizes) >= MOST_ENTRIES:
            raise InputError(
                f"{archive}: expected at most {MOST_ENTRIES:,} entries and {megabytes(most)} "
                f"unpacked, received {len(sizes) + 1:,} with {megabytes(total)} so far: an "
                "archive made to fill the disk. Nothing was unpacked; get it from its "
                "publisher."
            )
        if _BAD_NAME.search(name):
            raise InputError(
                f"{archive}: expected names inside the folder, received {name!r}, which leads "
                "out of it. Nothing was unpacked; get it from its publisher."
            )
        if parts := pathlib.PurePosixPath(name).parts:
            sizes[parts] = size
    if both := [parts for parts in sizes if _within_a_file(parts, sizes)]:
        raise InputError(
            f"{archive}: expected files and folders, received {'/'.join(both[0][:-1])!r} as "
            "both. Nothing was unpacked; get it from its publisher."
        )
    if not sizes:
        raise InputError(f"{archive}: expected files, received an empty archive.")
    return sizes


def _within_a_file(parts, sizes):
    above = (parts[:count] for count in range(1, len(parts)))
    return any(sizes.get(folder) is not None for folder in above)


def _is_whole(folder, top, sizes):
    """Whether a top-level entry is unpacked already; raises when something else is there."""
    if not os.path.lexists(folder / top):
        return False
    for parts, size in sizes.items():
        path = folder.joinpath(*parts)
        there = path.is_dir() if size is None else path.is_file()
        if parts[0] == top and not (there and size in (None, path.stat().st_size)):
            raise FileExistsError(
                f"{folder / top}: expected nothing there, or what the archive holds, received "
                f"another folder: {path} is missing or of another size. Move it away and run "
                "again; it is never overwritten."
            )
    return True


def _unpack(archive, folder, tops, total):
    work = folder / f".{archive.name}.extracting"
    shutil.rmtree(work, ignore_errors=True)  # of a killed run
    work.mkdir()
    try:
        with (
            _open(archive) as file,
            Progress(f"unpack {archive.name}", total, text=megabytes) as progress,
        ):
            for name, size, entry in _entries(file):
                if pathlib.PurePosixPath(name).parts[:1] in [(top,) for top in tops]:
                    if isinstance(file, tarfile.TarFile):
                        file.extract(entry, work, filter="data")
                    else:
                        file.extract(entry, work)
                    progress.add(size or 0)
        for top in tops:
            files.move(work / top, folder / top)
    finally:
        shutil.rmtree(work, ignore_errors=True)
