"""Files that are whole or not there: written beside their place and renamed; open ones."""

import concurrent.futures
import contextlib
import errno
import json
import math
import os
import pathlib
import zipfile

import numpy as np

from crnet_tf.common.errors import InputError

_FLUSHED_AT_ONCE = 8  # the disk writes them together: one by one takes twenty times as long


def make_folder(path: str | os.PathLike) -> None:
    """Makes a folder for results, and those it lies in, where they are not there yet.

    Raises:
        OSError: it cannot be made, or nothing can be written into it.
    """
    path = pathlib.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        problem = "" if os.access(path, os.W_OK | os.X_OK) else "one that is read-only"
    except FileExistsError:
        problem = "a file of that name"
    except OSError as error:
        problem = str(error)
    if problem:
        raise OSError(
            f"{path}: expected a folder that results can be written to, received {problem}. "
            "Choose another --out."
        )


def allow_open(count: int) -> float:
    """Raises this process's bound on open files to `count` where it is lower, as far as it may
    be: many systems start with 1,024, macOS with 256. Returns the bound."""
    import resource  # only here: all else runs where it is not there

    given = resource.getrlimit(resource.RLIMIT_NOFILE)
    bound, highest = (math.inf if n == resource.RLIM_INFINITY else n for n in given)
    if bound < count:
        bound = min(count, highest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (bound, given[1]))
    return bound


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes `content` to `path`; a killed or failed write leaves what was there before."""
    path = pathlib.Path(path)
    with replaced(path) as beside:
        beside.write_bytes(content)


@contextlib.contextmanager
def replaced(path: pathlib.Path, name: str = ""):
    """Gives a file beside `path` to write, a hidden one unless it is called `name`; when the
    block ends well, it becomes `path`, and else nothing of it is left.

    Raises:
        IsADirectoryError: `path` is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(
            f"{path}: expected the name of a file to write, received a folder. Name a file in "
            "it."
        )
    beside = path.with_name(name or f".{path.name}.{os.getpid()}")
    try:
        yield beside
        move(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def move(work: pathlib.Path, place: pathlib.Path, aside: pathlib.Path | None = None) -> None:
    """Renames a file or folder that is written whole to its place, in the same folder.

    After a power cut either all of it is there or what was there before: its content is on
    the disk before the rename, and the rename when this returns.

    Args:
        aside: where a folder that stands at the place goes.
    """
    if work.is_dir():
        inside = [path for path in work.rglob("*") if not path.is_symlink()]
        with concurrent.futures.ThreadPoolExecutor(_FLUSHED_AT_ONCE) as pool:
            list(pool.map(_flush, inside))
    _flush(work)
    if aside and place.exists():
        os.rename(place, aside)
    os.replace(work, place)
    _flush(place.parent)


def link(path: pathlib.Path, place: pathlib.Path) -> None:
    """Makes `place` a symbolic link to a file, or lead there from now on."""
    with replaced(place) as beside:
        beside.symlink_to(os.path.relpath(path, place.parent))


def _flush(path):
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has no such thing
            raise
    finally:
        os.close(descriptor)


def write_text(path: str | os.PathLike, content: str) -> None:
    """`write_bytes` of UTF-8 text; in names of files other bytes stay as they are."""
    write_bytes(path, content.encode(errors="surrogateescape"))


def read_json(path: str | os.PathLike, missing=None):
    """What a JSON file of this project holds.

    Args:
        missing: what stands for a file that is not there; None: that is an error.

    Raises:
        FileNotFoundError: there is none. ValueError: it is damaged.
    """
    path = pathlib.Path(path)
    if missing is not None and not path.exists():
        return missing
    return parse_json(path.read_bytes(), path)


def parse_json(content: str | bytes, where: str | os.PathLike):
    """What JSON of this project says; `where` it stands is for the error, a ValueError."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{where}: expected the JSON that was written there, received a damaged file "
            f"({error}). Copy it again, or remove what it belongs to."
        ) from error


def open_npz(path: str | os.PathLike):
    """The arrays of an .npz file, as `np.load` gives them; to be closed.

    Raises:
        FileNotFoundError: there is none. ValueError: it is no such archive, or damaged.
    """
    try:
        arrays = np.load(path, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            raise InputError("a single array")
        return arrays
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} cannot be read as an .npz archive ({error}). It is damaged or of another "
            "kind: copy it again."
        ) from error
