"""Arrays -> PNG files: photos, masks, and label maps in the colours of PASCAL VOC."""

import io
import zlib

import numpy as np
from PIL import Image

from crnet_tf.common import files
from crnet_tf.images.opening import PathLike

# Level of deflate by which a phone's photo takes a second and not five, and 15 % more bytes.
FAST = 1


def encode_png(array: np.ndarray, level: int = 6) -> bytes:
    """uint8 [H,W] (grey) or [H,W,3] (RGB) -> PNG bytes.

    The same array gives the same bytes (with the same Pillow and zlib). `level` is deflate's.
    """
    array = np.asarray(array)
    if array.dtype != np.uint8 or not (array.ndim == 2 or array.shape[2:] == (3,)):
        raise ValueError(
            f"encode_png: expected uint8 [H,W] or [H,W,3], received {array.dtype} "
            f"{list(array.shape)}."
        )
    return _encoded(Image.fromarray(np.ascontiguousarray(array)), compress_level=level)


def encode_label(label: np.ndarray, palette: bytes | None = None) -> bytes:
    """Label map or mask uint8 [H,W] -> bytes of a PNG, smaller than `encode_png`'s and in less
    than half its time: deflate is told to look for runs alone, which label maps consist of.

    The same array gives the same bytes (with the same Pillow and zlib). With `palette`, up to
    256 RGB triples such as `voc_palette()`, the file is of mode P.
    """
    label = np.asarray(label)
    if label.dtype != np.uint8 or label.ndim != 2:
        raise ValueError(
            f"encode_label: expected uint8 [H,W], received {label.dtype} {list(label.shape)}."
        )
    image = Image.fromarray(np.ascontiguousarray(label))
    if palette is not None:
        image.putpalette(palette)
    return _encoded(image, compress_type=zlib.Z_RLE)


def write_png(path: PathLike, array: np.ndarray, level: int = 6) -> None:
    """Writes `encode_png(array, level)`, whole or not at all."""
    files.write_bytes(path, encode_png(array, level))


def write_label(path: PathLike, label: np.ndarray, palette: bytes | None = None) -> None:
    """Writes `encode_label(label, palette)`, whole or not at all."""
    files.write_bytes(path, encode_label(label, palette))


def voc_palette() -> bytes:
    """The colour map of PASCAL VOC's label maps: 256 RGB triples.

    Bits 0, 3, 6 of an id go to red, 1, 4, 7 to green, 2, 5 to blue, highest colour bit
    first (VOC development kit, VOClabelcolormap).
    """
    palette = np.zeros((256, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (np.arange(256) >> (3 * bit + channel) & 1) << (7 - bit)
    return palette.astype(np.uint8).tobytes()


def _encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()
