"""A photo with its mask: read from a user's two files, checked before a network sees it."""

import dataclasses
import functools
import hashlib
from typing import NamedTuple

import numpy as np

from crnet_tf.common.errors import InputError
from crnet_tf.images.mask_files import check_foreground, read_mask, shown_values
from crnet_tf.images.mask_values import FOREGROUND, MASK_VALUES, VOID
from crnet_tf.images.opening import PathLike
from crnet_tf.images.photos import read_photo


class Moment(NamedTuple):
    """Where a frame is from: the name of its film, without suffix, and when it is shown."""

    film: str
    seconds: float


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledPhoto:
    """A photo and, of a support, its mask; equal to another with the same pixels, whatever the
    two are called.

    Attributes:
        image: uint8 [H,W,3] RGB.
        mask: uint8 [H,W] in {0,1,255}, or None.
        name: what errors call it.
        moment: of a frame of a film, else None.
    """

    image: np.ndarray
    mask: np.ndarray | None = None
    name: str = "photo"
    moment: Moment | None = None

    @functools.cached_property
    def key(self) -> str:
        """Hash of the photo."""
        return array_sha256(self.image)

    @functools.cached_property
    def masked_key(self) -> str:
        """Hash of the photo and its mask."""
        return self.key + array_sha256(self.mask)

    def _identity(self):
        return self.key if self.mask is None else self.masked_key

    def __eq__(self, other):
        if not isinstance(other, LabelledPhoto):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self):
        return hash(self._identity())


def read_labelled(
    photo: PathLike,
    mask: PathLike,
    class_id: int | None = None,
    colour: tuple[int, int, int] | None = None,
) -> LabelledPhoto:
    """The photo and mask of two files, which a network can learn from.

    Args:
        class_id, colour: take this class of a label map, or what has this colour; without,
            the mask is one of `read_mask`'s other spellings.

    Raises:
        FileNotFoundError: one of them is missing.
        InputError: the file that is named is no photo or mask, or `check_labelled`.
    """
    found = LabelledPhoto(
        read_photo(photo), read_mask(mask, class_id, photo, colour), str(photo)
    )
    check_labelled(found.image, found.mask, str(mask))
    return found


def check_labelled(image: np.ndarray, mask: np.ndarray, name: str) -> None:
    """Raises InputError unless a network can learn from photo and mask, called `name`.

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
    if not MASK_VALUES.issuperset(values.tolist()):
        raise InputError(
            f"{name}: expected mask values 0 (background), 1 (foreground) and 255 (void), "
            f"received {shown_values(values)}."
        )
    if VOID in values and FOREGROUND not in values:
        raise InputError(
            f"{name}: expected a mask with some foreground (1), received only "
            f"{shown_values(values)}, where 255 is void. If 255 is the object: mask == 255."
        )
    check_foreground(mask, name)


def check_visible(mask: np.ndarray, small: np.ndarray, name: str) -> None:
    """Raises InputError when nothing of the foreground of `mask` is left in `small`, which is
    the same mask at the network's input size."""
    if not np.any(small == FOREGROUND):
        side = small.shape[0]
        raise InputError(
            f"{name}: expected an object that can still be seen at the network's input size, "
            f"{side}x{side}, received {np.sum(mask == FOREGROUND)} foreground "
            f"pixels in {mask.shape[1]}x{mask.shape[0]} (width x height), none of which is "
            "left. Crop the photo around the object, or leave it out (records: build them with "
            "a --filter for small objects)."
        )


def check_photo(image: np.ndarray, name: str) -> None:
    """Raises InputError unless `image` is a photo uint8 [H,W,3]."""
    is_array = hasattr(image, "ndim")  # no Pillow image, no list
    rgb = is_array and image.ndim == 3 and image.shape[-1] == 3 and image.dtype == np.uint8
    if not rgb or not image.size:
        received = f"{image.dtype} {list(image.shape)}" if is_array else type(image).__name__
        raise InputError(
            f"{name}: expected a photo uint8 [H,W,3] RGB, received {received}. "
            "photos.read_photo makes one of any file, np.array(image) of a Pillow image."
        )


def array_sha256(array: np.ndarray) -> str:
    """Hexadecimal SHA-256 of an array's shape and values."""
    shape = str(array.shape).encode()
    return hashlib.sha256(shape + np.ascontiguousarray(array).tobytes()).hexdigest()


def _pixels(shape):
    return f"{shape[1]}x{shape[0]} (width x height)"
