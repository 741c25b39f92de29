"""What a folder of one's own holds before it is read: photos, their labels, the class names.

Each input format has a module that lists (`list_photos`) and one function that turns what it
listed into a label map (`read_label`); the rest is alike for all.
"""

import pathlib
from typing import Any, NamedTuple

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
LABEL_SUFFIXES = (".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")


class Photo(NamedTuple):
    """One photo and what its format's `read_label` needs."""

    name: str  # id in the records: path below the source without suffix
    path: pathlib.Path
    label: Any
    classes: tuple[int, ...]  # ids of the classes it is said to hold


class Listing(NamedTuple):
    """All photos of a source."""

    class_names: tuple[str, ...]  # of the ids 1, 2, ...
    photos: list[Photo]
    problems: list[str]  # why files cannot be used: an error each, or skipped
    notes: list[str]  # what was left out by rule, for the user to know


def files_of(folder: pathlib.Path, suffixes: tuple[str, ...]) -> list[pathlib.Path]:
    """Files below a folder of these kinds, in the order of their names; none that is hidden.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{str(folder)!r}: expected a folder, received "
            f"{'a file' if folder.is_file() else 'nothing: it is not there'}. Check the path."
        )
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def photo_name(path: pathlib.Path, root: pathlib.Path) -> str:
    """Id of a photo: its path below `root`, with slashes, without suffix."""
    return path.relative_to(root).with_suffix("").as_posix()
