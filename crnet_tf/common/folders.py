"""A folder that is whole or not there: built in a hidden sibling, then moved into place."""

import contextlib
import itertools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator

from crnet_tf.common import files, locks
from crnet_tf.common.disk import named_when_full
from crnet_tf.common.errors import InputError


@contextlib.contextmanager
def locked(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Keeps other builds of `out` away; gives the folder itself where `out` is a link to it.

    What a killed build had moved aside, to put its own in the place, stands there again.

    Raises:
        RuntimeError: another process is building `out`.
        OSError: nothing can be written or locked there.
    """
    if out.is_symlink():
        out = pathlib.Path(os.path.realpath(out))
    if not out.name or out.name == "..":
        raise InputError(f"{str(out)!r}: expected a folder with a name. Choose another --out.")
    with named_when_full(out), locks.locked_beside(out):
        _restore(_sibling(out, "old"), out)
        yield out


def holds(out: pathlib.Path, mark: str, is_ours: Callable[[pathlib.Path], bool]) -> bool:
    """Whether `out` is what a command has made before; False where nothing is there yet.

    Args:
        mark: name of a file that shows it.
        is_ours: whether a file in it, by its path below `out`, is the command's.

    Raises:
        FileExistsError: it is a file, or holds other things. These are never deleted.
    """
    if not out.exists():
        return False
    if not out.is_dir():
        raise FileExistsError(f"{out}: expected a folder to write, received a file.")
    inside = [path.relative_to(out) for path in out.rglob("*") if not _is_folder(path)]
    others = [str(path) for path in inside if not is_ours(path)]
    there = (out / mark).exists()
    if others or (any(out.iterdir()) and not there):
        raise FileExistsError(
            f"{out}: expected a new folder or one that this command made, received one that "
            f"holds other things ({', '.join(sorted(others)[:3]) or f'no {mark}'}). They are "
            "never deleted: choose another --out, or empty it yourself."
        )
    return there


def some_files(folder: pathlib.Path) -> str:
    """A sentence on what lies in a folder or below it, for an error that found something else:
    three files at most."""
    if not folder.is_dir():
        return f" There is no folder {folder}."
    found = list(itertools.islice(_visible(folder), 4))
    names = ", ".join(str(path.relative_to(folder)) for path in found[:3])
    return f" {folder} holds {names or 'no file'}{' and others' if found[3:] else ''}."


def _visible(folder):
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (pathlib.Path(root, name) for name in sorted(names) if name[0] != ".")


def _is_folder(path):
    return path.is_dir() and not path.is_symlink()


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
        work.mkdir()
        yield work
        files.move(work, out, aside=old)
    finally:
        _restore(old, out)
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _restore(old, out):
    """Undoes the first of two renames when the second did not come."""
    if old.exists() and not out.exists():
        os.rename(old, out)


def _sibling(out, kind):
    return out.with_name(f".{out.name}.{kind}")
