"""Photos and label maps as users really have them -> plain arrays; and PNG files back.

Pillow only, no TensorFlow: palette label maps must be read as indices, which TensorFlow's
own decoder does not do (it paints them RGB). Every file is decoded to its last line, so a
truncated one is found here and not in the middle of a training run.
"""

import io
import os
import zlib

import numpy as np
from PIL import Image

from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.images.opening import DECODE_ERRORS, JPEGS, load, opened

PathLike = str | os.PathLike

# Level of deflate by which a phone's photo takes a second and not five, and 15 % more bytes.
FAST = 1

_EXIF_ORIENTATION = 0x0112
_TURNS = {  # what makes a photo of this orientation upright; it is already with any other
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GREY16_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_LABEL_MODES = ("P", "L", "1")
_UNITS = {"L;2": 85, "L;4": 17}  # of grey PNGs of 2 and 4 bits, in what Pillow makes of them
_PHOTO = "a photo (JPEG, PNG or another format Pillow reads)"


def read_photo(path: PathLike) -> np.ndarray:
    """Reads a photo: uint8 [H,W,3] RGB, upright.

    EXIF rotation is applied (none where the EXIF data cannot be read); grey, palette and
    CMYK become RGB; transparent parts are composited on white; 16-bit grey is scaled to 8
    bits; of an animation the first frame.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no photo, is damaged or truncated, or has pixels of unknown range.
    """
    return _to_rgb(_open(path, _PHOTO), path)


def read_grey(path: PathLike) -> np.ndarray:
    """Reads a photo's brightness: uint8 [H,W]; see `read_photo`."""
    image = _open(path, _PHOTO)
    if image.mode == "L" and not image.has_transparency_data:
        return np.array(_upright(image))
    return np.array(Image.fromarray(_to_rgb(image, path)).convert("L"))


def header_size(path: PathLike) -> tuple[int, int]:
    """A photo's (H, W) px as its header says, before any EXIF rotation; no pixel is read.

    Raises what `read_photo` raises.
    """
    with opened(path, _PHOTO) as (_, image):
        return image.height, image.width


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
    ids = np.array(_upright(image), dtype=np.uint8)
    palette = image.getpalette() if image.mode == "P" else None
    return (ids if unit == 1 else ids // unit), palette


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


def photo_bytes(path: PathLike, level: int = 6) -> tuple[bytes, str, tuple[int, int]]:
    """A photo as it is stored in a record: encoded bytes, "jpeg" or "png", (H, W).

    An upright 8-bit RGB or grey JPEG is kept byte for byte, once it was decoded to its end;
    anything else is read by `read_photo` and stored as PNG, by `level` of deflate. Raises what
    `read_photo` raises.
    """
    content, image_format, size = photo_content(path)
    if image_format == "png":
        content = encode_png(content, level=level)
    return content, image_format, size


def photo_content(path: PathLike) -> tuple[bytes | np.ndarray, str, tuple[int, int]]:
    """`photo_bytes`, but what is stored as PNG comes as its pixels uint8 [H,W,3]: to encode the
    turned photo of a phone takes seconds, for nothing where it is shrunk first."""
    with opened(path, _PHOTO) as (file, image):
        size = image.height, image.width
        # All of a JPEG's data are still read, but not turned into all of its pixels.
        image.draft(image.mode, (1, 1))
        jpeg = load(file, image)
        if jpeg and image.mode in ("RGB", "L") and _turn(image) is None:
            return jpeg, "jpeg", size
    is_whole = (image.height, image.width) == size
    pixels = _to_rgb(image, path) if is_whole else read_photo(path)
    return pixels, "png", pixels.shape[:2]


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


def _open(path, expected):
    """The decoded Pillow image of a file."""
    with opened(path, expected) as (file, image):
        load(file, image)
    return image


def _turn(image):
    """What makes the photo upright, None where it is."""
    try:
        return _TURNS.get(image.getexif().get(_EXIF_ORIENTATION))
    except DECODE_ERRORS:
        return None


def _upright(image):
    # Pillow's exif_transpose also writes the EXIF data anew, and fails on some tags.
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _to_rgb(image, path):
    image = _upright(image)
    if image.mode in _GREY16_MODES:
        return _grey16_to_rgb(np.array(image), path)
    if image.mode == "F":
        raise InputError(
            f"{path}: expected a photo of 8 or 16 bits, received floating-point pixels (mode "
            "F), whose range is unknown. Convert it to an 8-bit PNG."
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    try:
        return np.array(image.convert("RGB"))  # [H,W,3]
    except ValueError as error:
        raise InputError(
            f"{path}: expected a photo that converts to RGB, received mode {image.mode}. "
            "Convert it to an 8-bit RGB PNG or JPEG."
        ) from error


def _grey16_to_rgb(pixels, path):
    pixels = pixels.astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise InputError(
            f"{path}: expected a photo of 8 or 16 bits, received 32-bit pixels from "
            f"{pixels.min()} to {pixels.max()}. Convert it to an 8-bit PNG."
        )
    grey = ((pixels + 128) // 257).astype(np.uint8)  # 65535 -> 255, rounded
    return np.repeat(grey[..., None], 3, axis=-1)


def _label_remedy(mode):
    if mode in _GREY16_MODES:
        return "Save the ids as an 8-bit single-channel PNG: 0..254, 255 for void."
    return (
        "Colours are not ids: write the map again as a palette PNG, mapping every colour to "
        "its class id (Pillow: Image.fromarray(ids.astype('uint8')).save('label.png'))."
    )
