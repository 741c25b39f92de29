"""Support photos and masks as users bring them, checked before a network sees them."""

import numpy as np
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.images import label_files
from crnet_tf.images.mask_values import VOID
from crnet_tf.images.opening import PathLike

_LOSSLESS = ("PNG", "BMP", "TIFF")


def check_support(image: np.ndarray, mask: np.ndarray, name: str) -> None:
    """Raises ValueError unless photo and mask can serve as support of a network.

    The mask must have the photo's size, the values 0, 1 and 255 (void), and foreground.
    """
    check_photo(image, name)
    if getattr(mask, "ndim", None) != 2:
        received = list(mask.shape) if hasattr(mask, "shape") else type(mask).__name__
        raise InputError(
            f"{name}: expected a mask [H,W], received {received}. Take one channel: "
            "mask[..., 0]."
        )
    if mask.shape != image.shape[:2]:
        turned = mask.shape == image.shape[1::-1]
        remedy = "Turn it (photos are read upright)" if turned else "Resize or crop it"
        raise InputError(
            f"{name}: expected a mask of the photo's size, {_pixels(image.shape)}, received "
            f"{_pixels(mask.shape)}. {remedy} like its photo."
        )
    values = np.unique(mask)
    if not set(values.tolist()) <= {0, 1, 255}:
        raise InputError(
            f"{name}: expected mask values 0 (background), 1 (foreground) and 255 (void), "
            f"received {_shorten(values)}."
        )
    if 255 in values and 1 not in values:
        raise InputError(
            f"{name}: expected a mask with some foreground (1), received only "
            f"{_shorten(values)}, where 255 is void. If 255 is the object: mask == 255."
        )
    check_foreground(mask, name)


def check_foreground(mask: np.ndarray, name: PathLike) -> None:
    """Raises ValueError for a mask without foreground, which is 1."""
    if not np.any(mask == 1):
        raise InputError(
            f"{name}: expected a mask with some foreground, received an empty one. Mark the "
            "object in it, or leave it out."
        )


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
                f"{_shorten(values)}. Give one of them as --class_id, or another label map."
            )
        return np.where(label == VOID, label, label == class_id).astype(np.uint8)
    if not set(values.tolist()) <= {0, 1, 255}:
        raise InputError(
            f"{path}: expected a mask of 0 and 1 or of 0 and 255, received the values "
            f"{_shorten(values)}. Save the object as 255, the rest as 0. (Of a label map of "
            "class ids, crnet_tf.predict and export.client take one: --class_id=N.)"
        )
    white = _white_of_two(values, palette)
    if white is not None:
        return (label == white).astype(np.uint8)
    # Only a mask that has a 1 can mean void by 255.
    return label if 1 in values else (label == 255).astype(np.uint8)


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
    try:
        with Image.open(path) as image:
            if image.mode in ("RGB", "RGBA", "LA"):
                return image.format, np.asarray(image.convert("RGBA"))
    except (OSError, SyntaxError, ValueError):
        pass
    return "", None


def check_photo(image: np.ndarray, name: str) -> None:
    """Raises ValueError unless `image` is a photo uint8 [H,W,3]."""
    is_array = hasattr(image, "ndim")  # no Pillow image, no list
    rgb = is_array and image.ndim == 3 and image.shape[-1] == 3 and image.dtype == np.uint8
    if not rgb or not image.size:
        received = f"{image.dtype} {list(image.shape)}" if is_array else type(image).__name__
        raise InputError(
            f"{name}: expected a photo uint8 [H,W,3] RGB, received {received}. "
            "photos.read_photo makes one of any file, np.array(image) of a Pillow image."
        )


def _pixels(shape):
    return f"{shape[1]}x{shape[0]} (width x height)"


def _shorten(values):
    return f"{', '.join(map(str, values[:10]))}{' ...' if len(values) > 10 else ''}"
