"""What the files are called that are written for each photo of a folder, and where."""

import collections
import hashlib
import itertools
import os
import pathlib

from crnet_tf.common.errors import InputError
from crnet_tf.images.opening import PathLike

TABLE = "photos.csv"
_LONGEST = 200  # bytes of a name, of the 255 that file systems take


def check_apart(out: PathLike, *given: PathLike) -> None:
    """Raises ValueError when results would land among the photos and masks they are made of:
    `NAME_mask.png` may be the name of a label there.

    Args:
        given: photos, masks, and folders of photos.
    """
    for path in given:
        folder = path if os.path.isdir(path) else os.path.dirname(path)
        if os.path.realpath(out) == os.path.realpath(folder):
            raise InputError(
                f"--out: expected another folder than that of {str(path)!r}, whose files the "
                f"results could replace, received {str(out)!r}. Give a folder of its own."
            )


def output_names(paths: list[pathlib.Path]) -> list[str]:
    """A name for the results of each file of a folder: its stem, or where two share that
    (in any case: some file systems ignore it) its whole name. Of a very long one, its beginning
    and a hash."""
    names = [_short(path.stem) for path in paths]
    while True:
        counts = collections.Counter(name.casefold() for name in names)
        longer = [
            _short(path.name) if counts[name.casefold()] > 1 else name
            for path, name in zip(paths, names, strict=True)
        ]
        if longer == names:
            return names
        names = longer


def unused_name(path: pathlib.Path, taken: set[str]) -> str:
    """`output_names` of files that come one by one: a name that is not `taken`, to which it is
    added; where stem and whole name are, with a number."""
    numbered = (f"{_short(path.name)}-{n}" for n in itertools.count(2))
    names = itertools.chain((_short(path.stem), _short(path.name)), numbered)
    name = next(name for name in names if name.casefold() not in taken)
    taken.add(name.casefold())
    return name


def _short(name):
    """At most `_LONGEST` bytes: the files' own suffixes must fit behind it."""
    encoded = os.fsencode(name)
    if len(encoded) <= _LONGEST:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: _LONGEST - 9].decode(errors="ignore") + "-" + digest
