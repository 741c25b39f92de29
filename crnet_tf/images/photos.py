"""Files of photos as users really have them -> arrays, or the bytes that a record keeps.

Pillow only, no TensorFlow. Every file is decoded to its last line, so a truncated one is found
here and not in the middle of a training run.
"""

import numpy as np
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.images import png_files
from crnet_tf.images.opening import PathLike, load, opened
from crnet_tf.images.orientation import turn, upright

GREY16_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
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
        return np.array(upright(image))
    return np.array(Image.fromarray(_to_rgb(image, path)).convert("L"))


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
        # All of a JPEG's data are still read, but not turned into all of its pixels.
        image.draft(image.mode, (1, 1))
        jpeg = load(file, image)
        if jpeg and image.mode in ("RGB", "L") and turn(image) is None:
            return jpeg, "jpeg", size
    is_whole = (image.height, image.width) == size
    pixels = _to_rgb(image, path) if is_whole else read_photo(path)
    return pixels, "png", pixels.shape[:2]


def _open(path, expected):
    """The decoded Pillow image of a file."""
    with opened(path, expected) as (file, image):
        load(file, image)
    return image


def _to_rgb(image, path):
    image = upright(image)
    if image.mode in GREY16_MODES:
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
