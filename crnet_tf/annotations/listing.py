"""What a folder of one's own holds before it is read: photos, their labels, the class names.

Each input format has a module that lists (`list_photos`) and one function that turns what it
listed into a label map (`read_label`); the rest is alike for all.
"""

import json
import os
import pathlib
import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple

from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import some_files

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
LABEL_SUFFIXES = (".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
PHOTO_SUFFIXES = (*JPEG_SUFFIXES, *LABEL_SUFFIXES, ".avif", ".heic", ".heif")
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


def read_json(path: pathlib.Path, object_hook: Callable[[dict], Any] | None = None) -> Any:
    """The content of a JSON file in UTF-8, UTF-16 or UTF-32.

    Raises:
        InputError: it is in another encoding; what else JSON readers raise is in `MALFORMED`.
    """
    try:
        return json.loads(path.read_bytes(), object_hook=object_hook)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected JSON in UTF-8, received text in another encoding "
            f"({error.reason} at byte {error.start}). Save it again as UTF-8: an editor does "
            "so, or iconv -f gbk -t utf-8 (instead of gbk maybe cp1252, shift_jis ...)."
        ) from error


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
    """Id of a photo: its path below `root`, with slashes, without suffix; accents as NFC."""
    return text_of_name(path.relative_to(root).with_suffix("").as_posix())


def text_of_name(name: str) -> str:
    """A name with its accents in one encoding (NFC): file systems and archives differ."""
    return unicodedata.normalize("NFC", name)


def match_labels(
    photos: dict[str, pathlib.Path],
    labels: dict[str, pathlib.Path],
    folder: pathlib.Path,
    kind: str,
) -> tuple[dict[str, pathlib.Path], list[str]]:
    """{photo name: file of its labels}, and a problem for each that has no counterpart.

    The labels of x.jpg are called x.png, x.jpg.png or x_mask.png.

    Args:
        photos, labels: of `files_by_name`.
        folder: of the labels.
        kind: what these are, for errors: "mask", "label map".
    """
    found, problems, left = {}, [], dict(labels)
    for name, path in photos.items():
        names = (name, name + path.suffix, name + path.suffix.lower(), name + "_mask")
        given = [left.pop(one) for one in names if one in left]
        if given:
            found[name] = given[0]
            problems += [second_of_name(other, given[0]) for other in given[1:]]
        else:
            problems.append(
                f"{path}: expected a {kind} {folder}/{name}.png, found none."
                f"{_nearly(folder / name, kind) or some_files(folder)}"
            )
    problems += [
        f"{path}: expected a photo of this name, {name}, found none among {len(photos)}."
        for name, path in left.items()
    ]
    return found, problems


def _nearly(wanted, kind):
    """A word on a file such as NAME_mask.png or NAME.jpg (but not NAME2.png)."""
    for other in sorted(wanted.parent.iterdir()) if wanted.parent.is_dir() else []:
        rest = other.name.removeprefix(wanted.name)
        if rest != other.name and not rest[:1].isalnum():
            lossy = other.suffix.lower() in JPEG_SUFFIXES
            return f" There is {other.name}: a {kind} is a PNG of its photo's name" + (
                ", no JPEG, whose compression changes what stands at the edges." * lossy or "."
            )
    return ""
