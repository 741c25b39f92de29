"""A folder that is whole or not there: built in a hidden sibling, then moved into place."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

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
