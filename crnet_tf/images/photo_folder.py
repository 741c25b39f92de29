"""A folder of photos in, a folder of masks out: which photos, in which order, what is written.

Shared by all that segment photos, here (`predict`) or by way of a server.
"""

import collections
import concurrent.futures
import contextlib
import csv
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.common.progress import with_progress
from crnet_tf.images import drawing, photos

_LONGEST = 200  # bytes of a name, of the 255 that file systems take

TABLE = "photos.csv"


def query_paths(query: photos.PathLike) -> list[pathlib.Path]:
    """The photo `query`, or the files of the folder `query` in the order of their names.

    Raises:
        FileNotFoundError: there is no such file or folder, or the folder is empty.
    """
    query = pathlib.Path(query)
    if query.is_file():
        return [query]
    if not query.is_dir():
        raise FileNotFoundError(f"No {str(query)!r}: expected a photo or a folder of photos.")
    paths = sorted(p for p in query.iterdir() if p.is_file() and not p.name.startswith("."))
    if not paths:
        raise FileNotFoundError(f"{str(query)!r}: expected a folder of photos, received none.")
    return paths


def check_apart(out: photos.PathLike, *given: photos.PathLike) -> None:
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


def each_photo(
    paths: list[pathlib.Path], work: Callable, skipped: list[str], concurrency: int = 1
) -> Iterator[tuple]:
    """(path, name of its results, `work(path)`) of every photo, in order, with a progress bar.

    Args:
        work: raises OSError or ValueError for a file that is to be left out.
        skipped: gets why files were left out, one line each.
        concurrency: so many are worked on or wait to be taken, and no more.

    Raises:
        ValueError: none is left.
    """
    futures = _in_order(work, paths, concurrency)
    photos_in_work = zip(paths, output_names(paths), futures, strict=True)
    for path, name, future in with_progress(photos_in_work, "photos", len(paths)):
        try:
            result = future.result()
        except (OSError, InputError) as error:
            skipped.append(str(error))
        else:
            yield path, name, result
    if len(skipped) == len(paths):
        reasons = "\n".join(skipped[:5])
        raise InputError(f"Expected at least one photo to segment, received none.\n{reasons}")


def _in_order(work, items, concurrency):
    """A future of work(item) for each item; the next one starts when the first is taken."""
    waiting = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        for item in items:
            if len(waiting) == concurrency:
                yield waiting.popleft()
            waiting.append(pool.submit(work, item))
        yield from waiting


def write_mask(
    out: pathlib.Path, name: str, image: np.ndarray, mask: np.ndarray, probability: np.ndarray
) -> None:
    """Writes `NAME_mask.png` (0 or 255), `NAME_probability.png` and `NAME_overlay.png`.

    Args:
        image: uint8 [H,W,3]. mask: uint8 [H,W] of 0 and 1. probability: uint8 [H,W], 0..255.
    """
    photos.write_label(out / f"{name}_mask.png", 255 * mask)
    photos.write_png(out / f"{name}_probability.png", probability, level=photos.FAST)
    overlay = drawing.overlay(image, mask)
    photos.write_png(out / f"{name}_overlay.png", overlay, level=photos.FAST)


def write_classes(out: pathlib.Path, name: str, image: np.ndarray, classes: np.ndarray) -> None:
    """Writes `NAME_classes.png`, a label map [H,W] in VOC's colours, and `NAME_overlay.png`."""
    palette = photos.voc_palette()
    photos.write_label(out / f"{name}_classes.png", classes, palette)
    overlay = drawing.overlay_classes(image, classes, palette)
    photos.write_png(out / f"{name}_overlay.png", overlay, level=photos.FAST)


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
