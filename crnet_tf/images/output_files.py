"""What is written for each photo of a folder: names of the files, pictures, `photos.csv`."""

import collections
import contextlib
import csv
import hashlib
import io
import json
import os
import pathlib

import numpy as np

from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.images import drawing, png_files
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


def _short(name):
    """At most `_LONGEST` bytes: the files' own suffixes must fit behind it."""
    encoded = os.fsencode(name)
    if len(encoded) <= _LONGEST:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: _LONGEST - 9].decode(errors="ignore") + "-" + digest


def write_mask(
    out: pathlib.Path, name: str, image: np.ndarray, mask: np.ndarray, probability: np.ndarray
) -> None:
    """Writes `NAME_mask.png` (0 or 255), `NAME_probability.png` and `NAME_overlay.png`.

    Args:
        image: uint8 [H,W,3]. mask: uint8 [H,W] of 0 and 1. probability: uint8 [H,W], 0..255.
    """
    png_files.write_label(out / f"{name}_mask.png", 255 * mask)
    png_files.write_png(out / f"{name}_probability.png", probability, level=png_files.FAST)
    overlay = drawing.overlay(image, mask)
    png_files.write_png(out / f"{name}_overlay.png", overlay, level=png_files.FAST)


def write_classes(out: pathlib.Path, name: str, image: np.ndarray, classes: np.ndarray) -> None:
    """Writes `NAME_classes.png`, a label map [H,W] in VOC's colours, and `NAME_overlay.png`."""
    palette = png_files.voc_palette()
    png_files.write_label(out / f"{name}_classes.png", classes, palette)
    overlay = drawing.overlay_classes(image, classes, palette)
    png_files.write_png(out / f"{name}_overlay.png", overlay, level=png_files.FAST)


def write_legend(out: pathlib.Path, names: list[str]) -> None:
    """Writes `classes.json`: the values of a label map, from 1 on, and their names."""
    legend = json.dumps(dict(enumerate(names, 1)), indent=1, ensure_ascii=False)
    files.write_text(out / "classes.json", legend)


@contextlib.contextmanager
def table(out: pathlib.Path):
    """Gives a list for the rows of `photos.csv`, its heading first, written at the end, however
    that comes: the scores of what was answered before an error or Ctrl+C are not lost."""
    rows = []
    try:
        yield rows
    finally:
        if len(rows) > 1:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            files.write_text(out / TABLE, text.getvalue())
