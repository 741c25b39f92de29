"""One photo with its label map on its way into the records: read, checked, shrunk, serialized.

Pure functions of picklable arguments: one process calls them one after the other, or many do.
"""

import dataclasses
import io
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.data import records
from crnet_tf.data.writing import filters
from crnet_tf.images import label_files, photos, png_files
from crnet_tf.images.mask_values import VOID, label_value

LARGEST_VALUE = VOID - 1
_JPEG_QUALITY = 90
MakeRecord = Callable[[Any], tuple[list[int], bytes]]  # source -> class ids, record


@dataclasses.dataclass(frozen=True)
class Item:
    """One photo with its label map, as it goes into the records."""

    filename: str  # source id: unique, without extension
    image: bytes | np.ndarray  # encoded photo, or pixels uint8 [H,W,3] to encode as PNG
    image_format: str  # "jpeg" or "png"
    label: np.ndarray  # uint8 [H,W] class ids (`label_value`), 255 void
    classes: list[int]  # class ids it is listed under


def make_example(
    photo: photos.PathLike,
    label: photos.PathLike | np.ndarray,
    filter: str,
    num_classes: int,
    *,
    filename: str | None = None,
    classes: Sequence[int] | None = None,
    label_name: photos.PathLike | None = None,
) -> Item:
    """Reads and checks one (photo, label map) pair.

    Args:
        photo: its file.
        label: file of the label map, or the map itself, uint8 [H,W].
        filter: which classes of it are listed, see `filters.listed_classes`.
        num_classes: of the data set.
        filename: id of the photo; default: the name of its file without extension.
        classes: those the photo may hold; needed beyond 254 classes, where a value of the
            label map stands for several.
        label_name: what errors call a map that is given itself; default: as its photo.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: unreadable, sizes differ, ids outside 0..num_classes and 255, or a name
            that is no Unicode.
    """
    drawn = isinstance(label, np.ndarray)
    ids = label if drawn else label_files.read_label(label, photo)
    name = (label_name or photo) if drawn else label
    image, image_format, size = photos.photo_content(photo)
    if ids.shape != tuple(size):
        raise label_files.other_size(name, photo, size, ids.shape)
    counts = label_files.value_counts(ids)
    _check_values(counts, min(num_classes, LARGEST_VALUE), name)
    by_value = _by_value(range(1, num_classes + 1) if classes is None else classes, photo)
    listed = filters.listed_classes(ids, filter, counts)
    return Item(
        filename=_checked(pathlib.Path(photo).stem if filename is None else filename),
        image=image,
        image_format=image_format,
        label=ids,
        classes=sorted(by_value[value] for value in listed if value in by_value),
    )


def shrink(item: Item, short_side: int) -> Item:
    """The item with its shorter side reduced to `short_side` px, where it is longer.

    The label map is resized by nearest neighbour; a class that lost its last pixel is listed
    no more. A JPEG is encoded again (quality 90), a PNG stays a PNG.
    """
    height, width = item.label.shape
    scale = short_side / min(height, width)
    if scale >= 1:
        return item
    size = max(1, round(width * scale)), max(1, round(height * scale))
    drawn = isinstance(item.image, np.ndarray)
    with Image.fromarray(item.image) if drawn else Image.open(io.BytesIO(item.image)) as image:
        small = image.resize(size, Image.Resampling.LANCZOS)
    if item.image_format == "jpeg":
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=_JPEG_QUALITY)
        encoded = buffer.getvalue()
    else:
        encoded = png_files.encode_png(np.asarray(small))
    label = np.asarray(Image.fromarray(item.label).resize(size, Image.Resampling.NEAREST))
    left = [c for c in item.classes if label_value(c) in label]
    return dataclasses.replace(item, image=encoded, label=label, classes=left)


def serialize(item: Item) -> bytes:
    """The item as a serialized Example; the same item gives the same bytes."""
    height, width = item.label.shape
    image, label = item.image, png_files.encode_label(item.label)
    if isinstance(image, np.ndarray):
        image = png_files.encode_png(image)
    return records.serialize(image, item.image_format, label, item.filename, height, width)


def make_record(
    source: Any, make_item: Callable[[Any], Item], short_side: int | None
) -> tuple[list[int], bytes]:
    """A source on its whole way: the class ids it is listed under, and its record."""
    item = make_item(source)
    if short_side:
        item = shrink(item, short_side)
    return item.classes, serialize(item)


def _check_values(counts, largest, name):
    strange = [int(i) for i in np.flatnonzero(counts) if i > largest and i != VOID]
    if strange:
        raise InputError(
            f"{name}: expected class ids 0..{largest} and {VOID} (void), received "
            f"also {strange[:8]}. Map them to classes, to 0 or to {VOID}."
        )


def _by_value(classes, photo):
    """{value in the label map: class id}."""
    by_value = {label_value(c): c for c in classes}
    if len(by_value) < len(set(classes)):
        raise InputError(
            f"{photo}: expected classes that a label map of 8 bits tells apart, received "
            f"{len(set(classes))} of {len(by_value)} values. Beyond {LARGEST_VALUE} classes "
            "say which ones the photo holds; no two of them may be a multiple of "
            f"{LARGEST_VALUE} apart."
        )
    return by_value


def _checked(filename):
    try:
        filename.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{ascii(filename)}: expected a file name in UTF-8, received other bytes. Rename "
            "the file."
        ) from error
    return filename
