"""Unpacks an archive whose content nobody has looked at: nothing leaves the folder.

The whole list of a .tar, .tgz or .zip is read and checked first: names, links, sizes. Only then
is it unpacked, into a hidden folder, and every top-level entry is moved to its place at once.
"""

import dataclasses
import gzip
import lzma
import os
import pathlib
import platform
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator

from crnet_tf.common.disk import check_space
from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.common.locks import locked_beside
from crnet_tf.common.progress import Progress, megabytes

_BLOCK = 1 << 20
_HARMLESS = 10_000_000  # bytes; so few may be compressed to nothing
_DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile,
    EOFError, NotImplementedError,
)  # fmt: skip
# Windows would take a backslash for a folder, and "C:" for a drive.
_BAD_NAME = re.compile(r"^/|^[A-Za-z]:|\\|\0|(^|/)\.\.(/|$)")


@dataclasses.dataclass(frozen=True)
class Limits:
    """More than this is no data set but a bomb."""

    entries: int = 500_000
    bytes: int = 200_000_000_000  # unpacked
    ratio: float = 100.0  # unpacked bytes by bytes of the archive


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A file, folder or link of an archive."""

    name: str
    kind: str  # "file", "folder", "symlink" or "hardlink"
    size: int = 0
    target: str = ""  # of a link

    @property
    def parts(self):
        return tuple(part for part in self.name.split("/") if part not in ("", "."))


def extract(
    archive: str | os.PathLike,
    folder: str | os.PathLike,
    limits: Limits = Limits(),  # noqa: B008  frozen
) -> list[str]:
    """Unpacks a .tar (also .gz, .bz2, .xz) or .zip into `folder`; returns its top-level names.

    What stands at its place with every file of the right size is left alone, so a rerun takes
    up after the last top-level entry that was whole.

    Raises:
        FileNotFoundError: there is no such archive.
        ValueError: it is damaged, or has names, links, devices or sizes it must not have.
        FileExistsError: other things stand where it would be unpacked; they are never touched.
        OSError: the disk has no room for it.
        RuntimeError: another process is unpacking it; see `check_python`.
    """
    check_python()
    archive, folder = pathlib.Path(archive), pathlib.Path(folder)
    if not archive.is_file():
        raise FileNotFoundError(
            f"{archive}: expected an archive, received nothing: no such file. Download it "
            "first: python -m pipelines.download"
        )
    with locked_beside(folder / archive.name, "is unpacking"):
        entries = _checked_list(archive, limits)
        tops = list(dict.fromkeys(entry.parts[0] for entry in entries))
        missing = [top for top in tops if not _is_whole(folder, top, entries)]
        if missing:
            wanted = [entry for entry in entries if entry.parts[0] in missing]
            check_space(folder, sum(e.size for e in wanted), f"unpacking {archive.name}")
            _unpack(archive, folder, wanted, missing)
        return tops


def check_python() -> None:
    """Raises RuntimeError where `tarfile` cannot yet refuse what would leave the folder."""
    if not hasattr(tarfile, "data_filter"):
        raise BlockedError(
            "Unpacking: expected Python 3.10.12, 3.11.4 or newer, received "
            f"{platform.python_version()}. Unpack the archive by hand, or take a newer one."
        )


def _checked_list(archive, limits):
    entries, total, seen = [], 0, {}
    most = min(limits.bytes, max(_HARMLESS, limits.ratio * archive.stat().st_size))
    for entry in _reading(archive, _list):
        total += entry.size
        if total > most or len(entries) >= limits.entries:
            raise InputError(
                f"{archive}: expected at most {limits.entries:,} entries and "
                f"{megabytes(most)} unpacked, received {len(entries) + 1:,} with "
                f"{megabytes(total)} so far: an archive made to fill the disk. Nothing was "
                "unpacked; get it from its publisher."
            )
        _check_name(archive, entry)
        if entry.parts:
            _check_place(archive, entry, seen)
            entries.append(entry)
    if not entries:
        raise InputError(f"{archive}: expected files, received an empty archive.")
    return entries


def _check_name(archive, entry):
    if _BAD_NAME.search(entry.name):
        _refuse(archive, entry, "a name inside the folder", "one that leads out of it")
    if entry.kind not in ("symlink", "hardlink"):
        return
    absolute = entry.target.startswith("/") or "\\" in entry.target or "\0" in entry.target
    if absolute or _link_target(entry) is None:
        _refuse(archive, entry, "a link inside the folder", f"one to {entry.target!r}")


def _link_target(entry):
    """Parts of the path a link leads to, from the archive's root; None when it leaves that.

    It may go up at its start only, where every step is a real folder; further down, `..` would
    start from wherever another link leads.
    """
    path = list(entry.parts[:-1]) if entry.kind == "symlink" else []
    target = [part for part in entry.target.split("/") if part not in ("", ".")]
    while target[:1] == [".."]:
        if not path:
            return None
        target.pop(0)
        path.pop()
    return None if ".." in target else (*path, *target)


def _check_place(archive, entry, seen):
    """Every entry has its own place, below folders only: its name says where it lands."""
    parts = entry.parts
    before = seen.get(parts)
    if before is not None and not before == entry.kind == "folder":
        _refuse(archive, entry, "every name once", "it twice")
    for depth in range(1, len(parts)):
        if seen.setdefault(parts[:depth], "folder") != "folder":
            _refuse(archive, entry, "a name below folders", "one below a file or link")
    if entry.kind == "hardlink" and seen.get(_link_target(entry)) != "file":
        _refuse(archive, entry, "a hard link to a file before it", f"one to {entry.target!r}")
    seen[parts] = entry.kind


def _refuse(archive, entry, expected, received):
    raise InputError(
        f"{archive}: expected {expected}, received {received}: {entry.name!r}. Such an archive "
        "is not unpacked; get it from its publisher."
    )


def _is_whole(folder, top, entries):
    """Whether a top-level entry is unpacked already; raises when something else is there."""
    if not os.path.lexists(folder / top):
        return False
    for entry in entries:
        path = folder.joinpath(*entry.parts)
        if entry.parts[0] == top and not _is_there(entry, path):
            raise FileExistsError(
                f"{folder / top}: expected nothing there, or what the archive holds, received "
                f"another folder: {path} is missing or of another size. Move it away and run "
                "again; it is never overwritten."
            )
    return True


def _is_there(entry, path):
    if not os.path.lexists(path):
        return False
    mode = path.lstat()
    if entry.kind == "file":
        return stat.S_ISREG(mode.st_mode) and mode.st_size == entry.size
    return entry.kind != "folder" or stat.S_ISDIR(mode.st_mode)


def _unpack(archive, folder, wanted, tops):
    work = folder / f".{archive.name}.extracting"
    shutil.rmtree(work, ignore_errors=True)  # of a killed run
    work.mkdir()
    try:
        total = sum(entry.size for entry in wanted)
        with Progress(f"unpack {archive.name}", total, text=megabytes) as progress:
            for size in _reading(archive, _write, wanted, work):
                progress.add(size)
        for top in tops:
            os.rename(work / top, folder / top)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _reading(archive, read, *arguments):
    """Goes through `read`, and says which archive is damaged when it is."""
    try:
        yield from read(archive, *arguments)
    except tarfile.FilterError as error:
        raise InputError(f"{archive}: {error}. Such an archive is not unpacked.") from error
    except _DAMAGED as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{archive}: expected a whole archive (tar, tgz or zip), received a damaged or "
            f"truncated one, or another kind of file ({reason}). Delete it and download it "
            "again."
        ) from error


def _list(archive) -> Iterator[_Entry]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield from map(_zip_entry, file.infolist())
    else:
        with tarfile.open(archive, "r:*") as file:
            yield from map(_tar_entry, file)
            _check_end(file)


def _write(archive, wanted: Iterable[_Entry], work: pathlib.Path) -> Iterator[int]:
    """Writes the entries below `work`; gives the size of each once it is there."""
    by_name = {entry.name: entry for entry in wanted}
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for entry in by_name.values():
                _write_zip_entry(file, entry, work)
                yield entry.size
    else:
        with tarfile.open(archive, "r:*") as file:
            for member in file:
                if member.name in by_name:
                    file.extract(member, work, filter="data")
                    yield by_name[member.name].size


def _tar_entry(member):
    kinds = {
        tarfile.TarInfo.isreg: "file",
        tarfile.TarInfo.isdir: "folder",
        tarfile.TarInfo.issym: "symlink",
        tarfile.TarInfo.islnk: "hardlink",
    }
    kind = next((kind for test, kind in kinds.items() if test(member)), None)
    if kind is None or member.issparse():
        raise tarfile.SpecialFileError(member)
    return _Entry(member.name, kind, member.size if kind == "file" else 0, member.linkname)


def _check_end(file):
    """tarfile takes a broken header, or none, for the end; and stops before gzip's checksum."""
    file.fileobj.seek(file.offset)
    if file.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"no end-of-archive mark at byte {file.offset:,}")
    rest = 0
    while block := file.fileobj.read(_BLOCK):
        rest += len(block)
        if rest > _HARMLESS:
            raise tarfile.ReadError(f"more than {megabytes(_HARMLESS)} after its end")


def _zip_entry(info):
    mode = info.external_attr >> 16
    if info.flag_bits & 1 or stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise zipfile.BadZipFile(f"{info.filename!r} is encrypted, a link or a device")
    return _Entry(info.filename, "folder" if info.is_dir() else "file", info.file_size)


def _write_zip_entry(file, entry, work):
    path = work.joinpath(*entry.parts)
    if entry.kind == "folder":
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # The reader stops at the declared size, and raises when the checksum is another.
    with file.open(entry.name) as source, open(path, "xb") as target:
        shutil.copyfileobj(source, target, _BLOCK)
    if path.stat().st_size != entry.size:
        raise zipfile.BadZipFile(f"{entry.name!r} is shorter than declared")
