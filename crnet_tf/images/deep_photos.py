"""Photos of more than 8 bits a channel -> 8 bits, as bright as they are.

Cameras of 10, 12 and 14 bits are kept in files of 16: white is then far below 65535.
"""

import numpy as np
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.common.notices import say_once
from crnet_tf.images.opening import PathLike, load, opened

GREY16_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
LARGEST = 65535
_NARROWER = (8, 10, 12, 14)  # bits of cameras
_BITS, _WHITEST, _WHITE_LEVEL = 258, 281, 50717  # tags of TIFF and DNG
# Pillow keeps the first of two bytes of a channel; by the other name it keeps the second one.
_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B"}


def grey_to_rgb(image: Image.Image, path: PathLike) -> np.ndarray:
    """An image of one of `GREY16_MODES` -> uint8 [H,W,3].

    Raises:
        InputError: it has pixels below 0 or above 65535.
    """
    pixels = np.array(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > LARGEST:
        raise InputError(
            f"{path}: expected a photo of 8 or 16 bits, received 32-bit pixels from "
            f"{pixels.min()} to {pixels.max()}. Convert it to an 8-bit PNG."
        )
    grey = _scaled(pixels, image, path)
    return np.repeat(grey[..., None], 3, axis=-1)


def is_deep(image: Image.Image) -> bool:
    """Whether an image, not loaded yet, has channels of 16 bits, which Pillow cuts off."""
    return image.mode in ("RGB", "RGBA") and _rawmode(image)[-3:] in _OTHER_BYTE


def deep_to_8_bits(image: Image.Image, path: PathLike) -> Image.Image:
    """The loaded image of a file that `is_deep`, with its channels scaled by what is white."""
    first = np.asarray(image)
    colours = first[..., :3]
    if colours.max() >= 1 << max(_NARROWER) - 8 and _white_said(image) is None:
        return image
    with opened(path, "a photo") as (file, again):
        again.tile = [_for_second_byte(tile) for tile in again.tile]
        load(file, again)
    pixels = colours.astype(np.int64) << 8 | np.asarray(again)[..., :3]
    scaled = np.dstack([_scaled(pixels, image, path), first[..., 3:]])
    image.paste(Image.fromarray(scaled))  # which keeps what the file says of turning
    return image


def _scaled(pixels, image, path):
    """0..white -> uint8 0..255, rounded."""
    white = _white_said(image)
    if white is None or white < pixels.max():
        largest = int(pixels.max())
        white = next((w for b in _NARROWER if (w := (1 << b) - 1) >= largest), LARGEST)
        if white < LARGEST:
            say_once(
                "depth",
                f"{path}: its values go to {largest} of 16 bits; taken as of "
                f"{white.bit_length()} bits, where {white} is white.",
            )
    return ((pixels * 255 + white // 2) // white).astype(np.uint8)


def _white_said(image):
    """The value of white that a TIFF names, None where it names none below that of 16 bits."""
    tags = getattr(image, "tag_v2", {})
    bits = min(tags.get(_BITS, (16,)))
    named = [tags.get(_WHITE_LEVEL), tags.get(_WHITEST), (1 << bits) - 1]
    values = [int(max(v) if isinstance(v, tuple) else v) for v in named if v]
    return next((value for value in values if 0 < value < LARGEST), None)


def _rawmode(image):
    args = image.tile[0].args if image.tile else ""
    return args[0] if isinstance(args, tuple) else str(args)


def _for_second_byte(tile):
    raw = tile.args[0] if isinstance(tile.args, tuple) else tile.args
    raw = raw[:-3] + _OTHER_BYTE[raw[-3:]]
    return tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
