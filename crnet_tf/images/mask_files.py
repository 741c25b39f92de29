"""Files of masks, in every spelling that users and tools have -> arrays of 0, 1 and 255."""

import contextlib

import numpy as np

from crnet_tf.common.errors import InputError
from crnet_tf.images import label_files, photos
from crnet_tf.images.mask_values import FOREGROUND, MASK_VALUES, VOID, class_mask
from crnet_tf.images.opening import PathLike, opened

HALF_WHITE = 128
_LOSSLESS = ("PNG", "BMP", "TIFF")


def read_mask(path: PathLike, class_id: int | None = None) -> np.ndarray:
    """A support mask from a file: uint8 [H,W], 0 background, 1 foreground, 255 void.

    Without `class_id` the file holds 0/1 (255 is void), 0/255 (255 is foreground), or the
    black and white of a palette, in any order; with it, a label map of class ids, such as
    PASCAL VOC's (255 is void).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no label map, has other values, or lacks the class.
    """
    label, palette = _read_grey(path, class_id)
    values = np.flatnonzero(label_files.value_counts(label))
    if class_id is not None:
        if class_id not in values:
            raise InputError(
                f"{path}: expected a label map that holds class {class_id}, received the ids "
                f"{shown_values(values)}. Give one of them as --class_id, or another label map."
            )
        return class_mask(label, class_id)
    if not MASK_VALUES.issuperset(values.tolist()):
        raise InputError(
            f"{path}: expected a mask of 0 and 1 or of 0 and 255, received the values "
            f"{shown_values(values)}. Save the object as 255, the rest as 0. (Of a label map "
            "of class ids, crnet_tf.predict and export.client take one: --class_id=N.)"
        )
    white = _white_of_two(values, palette)
    if white is not None:
        return (label == white).astype(np.uint8)
    # Only a mask that has a 1 can mean void by 255.
    return label if FOREGROUND in values else (label == VOID).astype(np.uint8)


def read_grey_mask(path: PathLike) -> np.ndarray:
    """A mask from any grey or coloured file, in which the object is bright: uint8 [H,W] of 0
    and 1, which is at least half of white, as FSS-1000's are meant. Raises what
    `photos.read_grey` raises."""
    return (photos.read_grey(path) >= HALF_WHITE).astype(np.uint8)


def _white_of_two(values, palette):
    """The value that is white in a palette file of black and white, None in any other: tools
    number colours as they like."""
    if len(values) != 2 or palette is None:
        return None
    colours = {tuple(palette[3 * value : 3 * value + 3]): value for value in values}
    return colours[255, 255, 255] if colours.keys() == {(0, 0, 0), (255, 255, 255)} else None


def _read_grey(path, class_id):
    """`read_indexed`, and files whose three channels are equal, which tools write."""
    try:
        return label_files.read_indexed(path)
    except InputError as error:
        kind, channels = _colours(path)
        if channels is None:
            raise
        grey = channels[..., :1]
        plain = np.all(channels[..., :3] == grey) and np.all(channels[..., 3] == 255)
        # A lossy WebP shows by its values, but not in a label map.
        if plain and (kind in _LOSSLESS or (kind == "WEBP" and class_id is None)):
            return grey[..., 0], None
        if class_id is not None:
            raise
        raise InputError(
            f"{path}: expected a mask in black and white, 255 where the object is and 0 "
            f"elsewhere, received a {kind} in colours or with transparency. Save the mask as "
            "a grey PNG without transparency; if this is the photo, the two are swapped."
        ) from error


def _colours(path):
    """Format of a colour file and its pixels uint8 [H,W,4]; no pixels of any other file."""
    with contextlib.suppress(InputError), opened(path, "a mask") as (_, image):
        if image.mode in ("RGB", "RGBA", "LA"):
            return image.format, np.asarray(image.convert("RGBA"))
    return "", None


def check_foreground(mask: np.ndarray, name: PathLike) -> None:
    """Raises ValueError for a mask without foreground, which is 1."""
    if not np.any(mask == FOREGROUND):
        raise InputError(
            f"{name}: expected a mask with some foreground, received an empty one. Mark the "
            "object in it, or leave it out."
        )


def shown_values(values: np.ndarray) -> str:
    """The first ten of a mask's values, for an error."""
    return f"{', '.join(map(str, values[:10]))}{' ...' if len(values) > 10 else ''}"
