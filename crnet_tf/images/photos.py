"""Files of photos as users really have them -> arrays, or the bytes that a record keeps.

Pillow only, no TensorFlow. Every file is decoded to its last line, so a truncated one is found
here and not in the middle of a training run.
"""

import numpy as np
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.images import png_files
from crnet_tf.images.deep_photos import GREY16_MODES, deep_to_8_bits, grey_to_rgb, is_deep
from crnet_tf.images.opening import PathLike, load, note_frames, opened, without_false_alpha
from crnet_tf.images.orientation import turn

_PHOTO = "a photo (JPEG, PNG or another format Pillow reads)"


def read_photo(path: PathLike) -> np.ndarray:
    """Reads a photo: uint8 [H,W,3] RGB, upright.

    EXIF rotation is applied (none where the EXIF data cannot be read); grey, palette and
    CMYK become RGB; transparent parts are composited on white; 16 bits are scaled to 8 by
    what is white, also in a camera's 10, 12 or 14 bits; of an animation the first frame.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no photo, is damaged or truncated, or has pixels of unknown range.
    """
    return _to_rgb(_open(path, _PHOTO), path)


def header_size(path: PathLike) -> tuple[int, int]:
    """A photo's (H, W) px as its header says, before any EXIF rotation; no pixel is read.

    Raises what `read_photo` raises.
    """
    with opened(path, _PHOTO) as (_, image):
        return image.height, image.width


def photo_bytes(path: PathLike, level: int = 6) -> tuple[bytes, str, tuple[int, int]]:
    """A photo as it is stored in a record: encoded bytes, "jpeg" or "png", (H, W).

    An upright 8-bit RGB or grey JPEG is kept byte for byte, once it was decoded to its end;
    anything else is read by `read_photo` and stored as PNG, by `level` of deflate. Raises what
    `read_photo` raises.
    """
    content, image_format, size = photo_content(path)
    if image_format == "png":
        content = png_files.encode_png(content, level=level)
    return content, image_format, size


def photo_content(path: PathLike) -> tuple[bytes | np.ndarray, str, tuple[int, int]]:
    """`photo_bytes`, but what is stored as PNG comes as its pixels uint8 [H,W,3]: to encode the
    turned photo of a phone takes seconds, for nothing where it is shrunk first."""
    with opened(path, _PHOTO) as (file, image):
        size = image.height, image.width
        deep = is_deep(image)
        note_frames(image, path)
        # All of a JPEG's data are still read, but not turned into all of its pixels.
        image.draft(image.mode, (1, 1))
        jpeg = load(file, image)
        if jpeg and image.mode in ("RGB", "L") and turn(image) is None:
            return jpeg, "jpeg", size
    is_whole = (image.height, image.width) == size and not deep
    pixels = _to_rgb(image, path) if is_whole else read_photo(path)
    return pixels, "png", pixels.shape[:2]


def _open(path, expected):
    """The decoded Pillow image of a file."""
    with opened(path, expected) as (file, image):
        deep = is_deep(image)
        note_frames(image, path)
        load(file, image)
    return deep_to_8_bits(image, path) if deep else image


def _to_rgb(image, path):
    """A decoded image -> uint8 [H,W,3], upright."""
    turned = turn(image)
    rgb = _colours(image, path)
    return np.array(rgb if turned is None else rgb.transpose(turned))


def _colours(image, path):
    """A decoded image -> the same in mode RGB."""
    if image.mode in GREY16_MODES:
        return Image.fromarray(grey_to_rgb(image, path))
    if image.mode == "F":
        raise InputError(
            f"{path}: expected a photo of 8 or 16 bits, received floating-point pixels (mode "
            "F), whose range is unknown. Convert it to an 8-bit PNG."
        )
    image = without_false_alpha(image, path)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise InputError(
            f"{path}: expected a photo that converts to RGB, received mode {image.mode}. "
            "Convert it to an 8-bit RGB PNG or JPEG."
        ) from error
