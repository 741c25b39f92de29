"""What a folder of one's own holds before it is read: photos, their labels, the class names.

Each input format has a module that lists (`list_photos`) and one function that turns what it
listed into a label map (`read_label`); the rest is alike for all.
"""

import os
import pathlib
from typing import Any, NamedTuple

from crnet_tf.common.errors import InputError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
LABEL_SUFFIXES = (".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
# What reading values out of JSON of another format raises.
MALFORMED = (
    ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip


class PhotoFile(NamedTuple):
    """One photo and what its format's `read_label` needs."""

    name: str  # id in the records: path below the source without suffix
    path: pathlib.Path
    label: Any
    classes: tuple[int, ...]  # ids of the classes it is said to hold


class Listing(NamedTuple):
    """All photos of a source."""

    class_names: tuple[str, ...]  # of the ids 1, 2, ...
    photos: list[PhotoFile]
    problems: list[str]  # why files cannot be used: an error each, or skipped
    notes: list[str]  # what was left out by rule, for the user to know


def files_of(folder: pathlib.Path, suffixes: tuple[str, ...]) -> list[pathlib.Path]:
    """Files below a folder of these kinds, in the order of their names; none that is hidden.

    Links are followed; one that leads nowhere is listed, so that reading it says so.

    Raises:
        FileNotFoundError: there is no such folder.
        OSError: a folder in it cannot be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{str(folder)!r}: expected a folder, received "
            f"{'a file' if folder.is_file() else 'nothing: it is not there'}. Check the path."
        )
    found = []
    for root, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        root = pathlib.Path(root)
        folders[:] = [f for f in folders if f[0] != "." and not _leads_back(root / f)]
        paths = [root / name for name in names if name[0] != "."]
        found += [path for path in paths if path.suffix.lower() in suffixes]
    return sorted(found)


def check_file(path: os.PathLike | str, expected: str) -> None:
    """Raises FileNotFoundError where `path`, `expected` to be this, is no file or pipe."""
    path = pathlib.Path(path)
    if path.is_dir() or not path.exists():
        raise FileNotFoundError(
            f"{str(path)!r}: expected {expected}, received "
            f"{'a folder' if path.is_dir() else 'nothing: it is not there'}. Check the path."
        )


def read_lines(path: os.PathLike | str) -> list[str]:
    """The lines of a list in UTF-8, without the white space around them; none that is empty.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not UTF-8.
    """
    check_file(path, "a list, a name a line")
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected a list in UTF-8, received other bytes ({error}). Save it again "
            "as UTF-8 text."
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def text_in(entry: dict, key: str) -> str:
    """The text that an entry of a JSON file has under `key`.

    Raises:
        KeyError: it has none.
        TypeError: it is something else than text.
    """
    if not isinstance(entry[key], str):
        raise TypeError(f"{key} {entry[key]!r}, which is no text")
    return entry[key]


def _raise(error):
    raise error


def _leads_back(path):
    """Whether a link leads to a folder that it was reached through, maybe by other links."""
    return path.is_symlink() and any(
        parent.resolve().is_relative_to(path.resolve()) for parent in path.parents
    )


def files_by_name(
    folder: pathlib.Path, suffixes: tuple[str, ...]
) -> tuple[dict[str, pathlib.Path], list[str]]:
    """{photo name: file} below a folder, and a problem for each further file of a name."""
    files, problems = {}, []
    for path in files_of(folder, suffixes):
        first = files.setdefault(photo_name(path, folder), path)
        if first != path:
            problems.append(second_of_name(path, first))
    return files, problems


def second_of_name(path: pathlib.Path, first: pathlib.Path) -> str:
    """The problem with a file that has the photo name of another one."""
    return (
        f"{path}: expected every name once, received {first.name} beside it. Rename or remove "
        "one of them."
    )


def photo_name(path: pathlib.Path, root: pathlib.Path) -> str:
    """Id of a photo: its path below `root`, with slashes, without suffix."""
    return path.relative_to(root).with_suffix("").as_posix()
