"""Files found by the names that lists, other files and other machines give them.

Names differ in capital letters, in how accents are encoded (NFC, NFD), and in folders that
exist on the machine of an annotator only.
"""

import os
import pathlib

from crnet_tf.annotations.listing import PHOTO_SUFFIXES, files_of, text_of_name

Known = dict[str, list[pathlib.Path]]  # files by what `_key` makes of a name or a path


def known_files(folder: pathlib.Path) -> Known:
    """The photos below a folder by their paths within it, and by their names alone."""
    known = {}
    for path in files_of(folder, PHOTO_SUFFIXES):
        inside = path.relative_to(folder).as_posix()
        for name in {_key(inside), _key(path.name)}:
            known.setdefault(name, []).append(path)
    return known


def find(folder: pathlib.Path, named: str, known: Known) -> tuple[pathlib.Path | None, bool]:
    """The file that a list calls `named`, and whether that took leaving its folders out.

    Args:
        named: a path within `folder`, or one of another machine, also as Windows writes it.
        known: the `known_files` of `folder`, of which several may have one name: then none is
            taken.
    """
    named = named.replace("\\", "/")
    path = folder / named
    if path.is_file():
        return path, False
    for name, moved in ((named, False), (named.rpartition("/")[2], True)):
        found = known.get(_key(name), [])
        if len(found) == 1:
            return found[0], moved and _key(found[0].name) != _key(named)
    return None, False


def alike(
    folder: pathlib.Path, name: str, suffixes: tuple[str, ...] | None = None
) -> pathlib.Path | None:
    """The one file of a folder whose name, or stem where suffixes are given, is this one but
    for capitals and accents."""
    found = [
        path
        for path in folder.iterdir()
        if _key(path.stem if suffixes else path.name) == _key(name)
        and (suffixes is None or path.suffix.lower() in suffixes)
    ]
    return found[0] if len(found) == 1 else None


def _key(name):
    return text_of_name(os.path.normpath(name)).casefold()
