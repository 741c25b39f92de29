"""Files of labels, decoded and upright, before it is decided what their colours mean.

Palettes stay indices with their colours, and alpha stays alpha: nothing is composited, as for
photos. `label_files` and `mask_files` decide.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.images.deep_photos import GREY16_MODES
from crnet_tf.images.opening import PathLike, load, note_frames, opened, without_false_alpha
from crnet_tf.images.orientation import check_alike, turn

_GREY_MODES, _COLOUR_MODES = ("L", "1"), ("RGB", "RGBX", "RGBA", "RGBa", "LA", "PA")
_UNITS = {"L;2": 85, "L;4": 17}  # of grey PNGs of 2 and 4 bits, in what Pillow makes of them
_OPAQUE = 128  # alpha from here on
_NEAR = 31  # of 255: what paint programs make of black and white


class LabelPicture(NamedTuple):
    """What a file of labels holds, upright, before it is decided what its colours mean."""

    format: str  # as Pillow calls it
    pixels: np.ndarray  # uint8 [H,W] grey values or indices of the palette, or [H,W,3] colours
    palette: np.ndarray | None  # uint8 [256,3]: the colour of each index
    visible: np.ndarray | None  # bool [H,W]: what is not transparent; None where all is
    white: int  # the largest grey value that the file can hold

    @property
    def is_coloured(self) -> bool:
        """Whether the pixels are colours, neither grey values nor indices."""
        return self.pixels.ndim == 3

    def used(self) -> np.ndarray:
        """The grey values or indices that occur, in order."""
        return np.flatnonzero(np.bincount(self.pixels.ravel(), minlength=256))


def read_picture(path: PathLike, photo: PathLike | None = None) -> LabelPicture:
    """Reads a file of labels; grey in three channels comes as grey.

    Args:
        photo: whose labels they are: the two must be turned alike (`orientation.check_alike`).

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is damaged or truncated, has more than 8 bits, or is turned otherwise
            than its photo, or all of it is transparent.
    """
    with opened(path, "a label map (PNG)") as (file, image):
        unit = _UNITS.get(image.tile[0][3], 1) if image.format == "PNG" else 1
        note_frames(image, path)
        load(file, image)
    if image.mode not in (*_GREY_MODES, *_COLOUR_MODES, "P"):
        raise no_label(path, image.mode)
    if photo is not None:
        check_alike(photo, image, path)
    kind, turned, image = image.format, turn(image), without_false_alpha(image, path)
    image = image if turned is None else image.transpose(turned)
    visible = _visible(image, path)
    if image.mode == "P" or image.mode in _GREY_MODES:
        pixels = np.array(image, dtype=np.uint8) // unit
        palette = _palette(image) if image.mode == "P" else None
        return LabelPicture(kind, pixels, palette, visible, 255 // unit)
    # Neither way are they composited on anything.
    mode = "RGBA" if image.mode in ("RGBa", "PA") else "RGB"
    pixels = np.array(image.convert(mode))[..., :3]
    if (pixels == pixels[..., :1]).all():
        pixels = np.ascontiguousarray(pixels[..., 0])
    return LabelPicture(kind, pixels, None, visible, 255)


def colours_of(picture: LabelPicture) -> np.ndarray:
    """uint8 [H,W,3]: the colours of a picture, also of what is transparent."""
    if picture.is_coloured:
        return picture.pixels
    if picture.palette is not None:
        return picture.palette[picture.pixels]
    grey = picture.pixels * np.uint8(255 // picture.white)
    return np.repeat(grey[..., None], 3, axis=-1)


def colour_keys(colours: np.ndarray) -> np.ndarray:
    """int32 [...]: each colour of uint8 [...,3] as one number, R * 65536 + G * 256 + B."""
    return colours.astype(np.int32) @ np.array([65536, 256, 1], np.int32)


def colours_of_keys(keys: np.ndarray) -> np.ndarray:
    """uint8 [...,3]: the colours that `colour_keys` made numbers of."""
    return np.stack([keys >> 16, keys >> 8 & 255, keys & 255], axis=-1).astype(np.uint8)


def near(colours: np.ndarray, grey: int) -> np.ndarray:
    """bool [...]: which of the colours uint8 [...,3] are next to black (0) or white (255)."""
    if grey:
        return (colours >= 255 - _NEAR).all(axis=-1)
    return (colours <= _NEAR).all(axis=-1)


def no_label(path: PathLike, mode: str) -> InputError:
    """What is raised for a file of this Pillow mode where a label map was expected."""
    remedy = (
        "Colours are not ids: write the map again as a palette PNG, mapping every colour to "
        "its class id (Pillow: Image.fromarray(ids.astype('uint8')).save('label.png'))."
    )
    if mode in GREY16_MODES:
        remedy = "Save the ids as an 8-bit single-channel PNG: 0..254, 255 for void."
    return InputError(
        f"{path}: expected a label map with one channel of class ids (palette or 8-bit grey "
        f"PNG, mode P, L, 1), received mode {mode}. {remedy}"
    )


def _visible(image, path):
    """bool [H,W] of what is opaque; None where everything is."""
    if not image.has_transparency_data:
        return None
    visible = np.array(image.convert("RGBA").getchannel("A")) >= _OPAQUE
    if not visible.any():
        raise InputError(
            f"{path}: expected a mask or label map, received a file of which every pixel is "
            "transparent (alpha below 128). Export it again without transparency."
        )
    return None if visible.all() else visible


def _palette(image: Image.Image) -> np.ndarray:
    """uint8 [256,3] of an image of mode P; black where it has fewer colours."""
    colours = np.zeros(768, np.uint8)
    given = image.getpalette("RGB") or []
    colours[: len(given)] = given
    return colours.reshape(256, 3)
