"""A contact sheet of a data set: photos with their labels over them, a row a class."""

import dataclasses
import itertools
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from crnet_tf.common import files
from crnet_tf.common.disk import named_when_full
from crnet_tf.common.errors import InputError
from crnet_tf.data.index import load_index
from crnet_tf.images import photos, png_files
from crnet_tf.images.drawing import GREY, INK, PAPER, overlay
from crnet_tf.images.mask_values import class_mask, label_value

PER_CLASS = 8
CELL = 160  # px, longer side of a photo
_GAP, _MARGIN = 8, 12
_TITLE, _NAME, _ID = 20, 17, 12  # px, text
_MOST_PIXELS = 200_000_000


@dataclasses.dataclass(frozen=True)
class _Row:
    """A class, and the photos shown of it."""

    class_id: int
    name: str
    count: int  # of all its photos
    cells: list[tuple[str, Image.Image]]  # (photo id, picture with its label)


def show(
    directory: photos.PathLike,
    out: photos.PathLike,
    *,
    split: str = "train",
    classes: Sequence[str] = (),
    per_class: int = PER_CLASS,
    seed: int = 0,
    cell: int = CELL,
) -> np.ndarray:
    """Writes the sheet as PNG; returns it, uint8 [H,W,3].

    Args:
        directory: folder of records.
        out: PNG file to write.
        split: of the records.
        classes: names or ids, in the order they are shown in; none: all.
        per_class: photos a class; fewer where there are no more.
        seed: of the choice of photos.
        cell: px of a photo's longer side.

    Raises:
        FileNotFoundError, ValueError: no such records, split or class; damaged records; too
            large a sheet; no name of a PNG file.
    """
    out = pathlib.Path(out)
    if out.suffix.lower() != ".png" or out.is_dir():
        raise InputError(
            f"--out: expected the name of a PNG file, such as sheet.png, received '{out}'."
        )
    index = load_index(directory)
    ids = _class_ids(index, split, classes)
    if per_class < 1 or cell < 32 or seed < 0:
        raise InputError(
            "expected --per_class from 1, --cell from 32 and --seed from 0, received "
            f"{per_class}, {cell} and {seed}."
        )
    widest = per_class * (cell + _GAP) + 300
    if len(ids) * (cell + 3 * _ID) * widest > _MOST_PIXELS:
        raise InputError(
            f"expected a sheet of at most {_MOST_PIXELS // 10**6} million pixels, received "
            f"{len(ids)} classes of {per_class} photos of {cell} px. Name fewer --classes, or "
            "make --per_class or --cell smaller."
        )
    rows = [_row(index, split, class_id, per_class, seed, cell) for class_id in ids]
    title = f"{index.dataset}, {split}, filter {index.filter}, seed {seed}"
    sheet = _draw(title, rows, per_class, cell)
    files.make_folder(out.parent)
    with named_when_full(out.parent):
        png_files.write_png(out, sheet)
    return sheet


def _class_ids(index, split, wanted):
    there = [c for c in range(1, len(index.class_names) + 1) if index.count(split, c)]
    by_name = {index.class_names[c - 1]: c for c in there} | {str(c): c for c in there}
    unknown = [name for name in wanted if str(name) not in by_name]
    if unknown or not there:
        names = ", ".join(f"{c} {index.class_names[c - 1]}" for c in there[:100])
        raise InputError(
            f"--classes: expected names or ids of classes with photos in split {split!r} "
            f"({names or 'it has none'}), received {', '.join(map(str, unknown)) or 'none'}."
        )
    return [by_name[str(name)] for name in wanted] or there


def _row(index, split, class_id, per_class, seed, cell):
    """The chosen photos of a class, in the order of its stream; only they are decoded."""
    from crnet_tf.data import records  # TensorFlow

    count = index.count(split, class_id)
    choice = np.random.default_rng([seed, class_id]).permutation(count)[:per_class]
    chosen, last = set(choice.tolist()), max(choice.tolist())
    cells = []
    stream = records.stored(index.files(split, class_id))
    for number, serialized in enumerate(itertools.islice(stream, last + 1)):
        if number in chosen:
            cells.append(_cell(serialized, class_id, cell))
    return _Row(class_id, index.class_names[class_id - 1], count, cells)


def _cell(serialized, class_id, cell):
    """(id, the photo with its label over it, its longer side `cell` px)."""
    from crnet_tf.data import records

    parsed = records.parse(serialized)
    image, label = parsed["image"].numpy(), parsed["label"].numpy()[..., 0]
    mask = class_mask(label, label_value(class_id))
    height, width = label.shape
    scale = cell / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # Drawn at twice the size: the contour of a thin object would cover all of it.
    double = 2 * size[0], 2 * size[1]
    image = Image.fromarray(image).resize(double, Image.Resampling.LANCZOS)
    mask = Image.fromarray(mask).resize(double, Image.Resampling.NEAREST)
    picture = Image.fromarray(overlay(np.asarray(image), np.asarray(mask)))
    picture = picture.resize(size, Image.Resampling.BOX)
    return parsed["filename"].numpy().decode(), picture


def _draw(title, rows, per_class, cell):
    """uint8 [H,W,3]: the title, then a row a class: its name, its photos with their ids."""
    title_font, name_font, id_font = map(ImageFont.load_default, (_TITLE, _NAME, _ID))
    names = [f"{row.class_id}  {row.name}" for row in rows]
    left = _MARGIN + max(round(name_font.getlength(name)) for name in names) + 2 * _GAP
    columns = min(per_class, max(len(row.cells) for row in rows))
    width = left + columns * (cell + _GAP) - _GAP + _MARGIN
    width = max(width, round(title_font.getlength(title)) + 2 * _MARGIN)
    top = 2 * _MARGIN + _TITLE
    step = cell + _ID + 2 * _GAP
    canvas = Image.new("RGB", (width, top + len(rows) * step + _MARGIN), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN), title, INK, title_font)
    for row, name in zip(rows, names, strict=True):
        middle = top + cell // 2
        draw.text((_MARGIN, middle), name, INK, name_font, anchor="ls")
        draw.text((_MARGIN, middle + _GAP), f"{row.count:,} photos", GREY, id_font, anchor="lt")
        for column, (photo_id, picture) in enumerate(row.cells):
            x = left + column * (cell + _GAP)
            place = x + (cell - picture.width) // 2, top + (cell - picture.height)
            canvas.paste(picture, place)
            text = _shortened(photo_id, id_font, cell)
            draw.text((x + cell // 2, top + cell + 3), text, INK, id_font, anchor="mt")
        top += step
    return np.asarray(canvas)


def _shortened(text, font, width):
    """The end of a text that fits: there ids differ."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"...{text}") > width:
        text = text[1:]
    return f"...{text}"
