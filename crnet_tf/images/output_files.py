"""What is written for each photo of a folder: names of the files, pictures, `photos.csv`."""

import collections
import contextlib
import csv
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Iterator, Sequence

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


class Results:
    """Pictures of each photo, and the rows of `photos.csv`; see `results`."""

    def __init__(self, out: pathlib.Path):
        self.out, self.rows = out, []

    def add_mask(
        self,
        path: pathlib.Path,
        name: str,
        image: np.ndarray,
        mask: np.ndarray,
        probability: np.ndarray,
        presence: float,
    ) -> None:
        """Writes `NAME_mask.png` (0 or 255), `NAME_probability.png` and `NAME_overlay.png`.

        Args:
            image: uint8 [H,W,3]. mask: uint8 [H,W] of 0 and 1.
            probability: uint8 [H,W], 0..255.
        """
        png_files.write_label(self.out / f"{name}_mask.png", 255 * mask)
        self._write(f"{name}_probability.png", probability)
        self._write(f"{name}_overlay.png", drawing.overlay(image, mask))
        self._add(["photo", "presence", "share"], path, [presence], f"{mask.mean():.4f}")

    def add_classes(
        self,
        path: pathlib.Path,
        name: str,
        image: np.ndarray,
        classes: np.ndarray,
        presence: Sequence[float],
        class_names: list[str],
    ) -> None:
        """Writes `NAME_classes.png`, a label map in VOC's colours, and `NAME_overlay.png`; with
        the first photo `classes.json`, the values of label maps from 1 on and their names.

        Args:
            classes: uint8 [H,W], 0 background. presence: of each class.
        """
        if not self.rows:
            legend = dict(enumerate(class_names, 1))
            text = json.dumps(legend, indent=1, ensure_ascii=False)
            files.write_text(self.out / "classes.json", text)
        palette = png_files.voc_palette()
        png_files.write_label(self.out / f"{name}_classes.png", classes, palette)
        self._write(f"{name}_overlay.png", drawing.overlay_classes(image, classes, palette))
        self._add(["photo", *(f"presence of {one}" for one in class_names)], path, presence)

    def _write(self, name, pixels):
        png_files.write_png(self.out / name, pixels, level=png_files.FAST)

    def _add(self, heading, path, presence, *more):
        self.rows = self.rows or [heading]
        self.rows.append([path.name, *(f"{score:.3f}" for score in presence), *more])


@contextlib.contextmanager
def results(out: pathlib.Path) -> Iterator[Results]:
    """What is found in the photos of a folder. `photos.csv` is written at the end, however that
    comes: the scores of what was answered before an error or Ctrl+C are not lost."""
    files.make_folder(out)
    found = Results(out)
    try:
        yield found
    finally:
        if found.rows:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(found.rows)
            files.write_text(out / TABLE, text.getvalue())
