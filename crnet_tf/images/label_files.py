"""Label maps of a user as files -> arrays of class ids, and what is counted in such arrays.

Pillow only, no TensorFlow: palette label maps must be read as indices, which TensorFlow's own
decoder does not do (it paints them RGB).
"""

import numpy as np

from crnet_tf.common.errors import InputError
from crnet_tf.images.opening import JPEGS, PathLike, load, opened
from crnet_tf.images.orientation import upright
from crnet_tf.images.photos import GREY16_MODES, header_size

_LABEL_MODES = ("P", "L", "1")
_UNITS = {"L;2": 85, "L;4": 17}  # of grey PNGs of 2 and 4 bits, in what Pillow makes of them


def read_label(path: PathLike) -> np.ndarray:
    """Reads a label map: uint8 [H,W] class ids, 255 void; turned upright, as its photo is.

    A palette image (mode P, as in PASCAL VOC) gives its indices, a grey one of 1, 2, 4 or 8
    bits its values.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or truncated, has several channels or more than 8 bits, or is
            a lossy JPEG.
    """
    return read_indexed(path)[0]


def read_indexed(path: PathLike) -> tuple[np.ndarray, list[int] | None]:
    """`read_label`, and the palette [r, g, b, r ...] of a file of mode P, None of any other."""
    with opened(path, "a label map (PNG)") as (file, image):
        unit = _UNITS.get(image.tile[0][3], 1) if image.format == "PNG" else 1
        load(file, image)
    if image.mode not in _LABEL_MODES:
        raise InputError(
            f"{path}: expected a label map with one channel of class ids (palette or 8-bit "
            f"grey PNG, mode {', '.join(_LABEL_MODES)}), received mode {image.mode}. "
            f"{_label_remedy(image.mode)}"
        )
    if image.format in JPEGS:
        raise InputError(
            f"{path}: expected a label map in a lossless format (PNG), received JPEG, whose "
            "compression changes class ids at every border. Export the labels again as PNG."
        )
    ids = np.array(upright(image), dtype=np.uint8)
    palette = image.getpalette() if image.mode == "P" else None
    return (ids if unit == 1 else ids // unit), palette


def check_size(photo: PathLike, size: tuple[int, int]) -> None:
    """Raises ValueError where a label map of this size (H, W) cannot be the photo's.

    Before it is drawn: as large as a damaged file says it might not fit into memory. Which
    side is upright shows once the photo is read, by `make_example`.
    """
    stored = header_size(photo)
    if tuple(size) not in (stored, stored[::-1]):
        raise other_size(photo, photo, stored, size)


def other_size(name, photo, expected, received) -> InputError:
    """What is raised where a label map is not of its photo's size; both are (H, W)."""
    return InputError(
        f"{name}: expected a label map of its photo's size, {expected[1]}x{expected[0]} "
        f"({photo}), received {received[1]}x{received[0]}. Export the two at one size; a photo "
        "with an EXIF rotation counts upright."
    )


def runs(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values [R] and lengths int64 [R] of the runs of equal values, row after row.

    Label maps are long runs of one value. `array` is not empty.
    """
    values = array.ravel()
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]), values.size - 1)
    return values[ends], np.diff(ends, prepend=-1)


def value_counts(label: np.ndarray) -> np.ndarray:
    """int64 [256]: how often each value occurs in uint8 [H,W]."""
    if not label.size:
        return np.zeros(256, np.int64)
    # Less than half the time of counting each pixel.
    return np.bincount(*runs(label), 256).astype(np.int64)


def _label_remedy(mode):
    if mode in GREY16_MODES:
        return "Save the ids as an 8-bit single-channel PNG: 0..254, 255 for void."
    return (
        "Colours are not ids: write the map again as a palette PNG, mapping every colour to "
        "its class id (Pillow: Image.fromarray(ids.astype('uint8')).save('label.png'))."
    )
