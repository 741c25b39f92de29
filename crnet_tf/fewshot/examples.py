"""What people have of labelled photos -> `LabelledPhoto`s by class.

A photo is a path, a Pillow image or an array; so is a mask. Several are a list, or a folder
with photos and masks beside each other; several classes are a dict.
"""

import os
import pathlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.data import labelled_folder
from crnet_tf.images.labelled import (
    LabelledPhoto,
    check_labelled,
    check_photo,
    read_labelled,
)
from crnet_tf.images.mask_files import read_mask
from crnet_tf.images.photo_folder import query_paths
from crnet_tf.images.photos import read_photo

NAME = "object"  # of the only class, where nobody named it
FILES = (str, os.PathLike)


def by_class(photos, masks=None) -> dict[str, list[LabelledPhoto]]:
    """Labelled photos by class.

    Args:
        photos: one or a list; a folder as `labelled_folder.read_classes` takes it, whose
            folders are classes; or a dict of any of these by class.
        masks: of each photo, in the same form; none where a folder has them.

    Raises:
        ValueError: no photo, a mask too many or too few, the same example twice, or one that
            cannot serve (`check_labelled`). FileNotFoundError: a file is missing.
    """
    if isinstance(photos, Mapping):
        masks = masks if masks is not None else dict.fromkeys(photos)
        if not isinstance(masks, Mapping) or masks.keys() != photos.keys():
            raise InputError(
                f"masks: expected those of the classes {', '.join(map(str, photos))}, received "
                f"{', '.join(map(str, masks))}. Give a dict with the same names."
            )
        classes = {str(name): of_class(photos[name], masks[name]) for name in photos}
    elif masks is None and isinstance(photos, FILES) and os.path.isdir(photos):
        classes = labelled_folder.read_classes(photos)
    else:
        classes = {NAME: of_class(photos, masks)}
    if not classes:
        raise InputError("fit: expected at least one class, received none.")
    for examples in classes.values():
        check_distinct(examples)
    return classes


def of_class(photos, masks) -> list[LabelledPhoto]:
    """Labelled photos of one class; see `by_class`."""
    if masks is None:
        if isinstance(photos, FILES) and os.path.isdir(photos):
            return labelled_folder.read_class(pathlib.Path(photos))
        listed = as_list(photos)
        if not all(isinstance(one, LabelledPhoto) for one in listed):
            raise InputError(
                "masks: expected one for each photo, received none. Give fit(photos, masks), "
                "or a folder of photos with masks beside them."
            )
        masks = [photo.mask for photo in listed]
    photos, masks = as_list(photos), as_list(masks)
    if len(photos) != len(masks) or not photos:
        raise InputError(
            "fit: expected one mask for each of one or more photos, received "
            f"{len(photos)} photos and {len(masks)} masks."
        )
    pairs = enumerate(zip(photos, masks, strict=True), 1)
    return [_labelled(photo, mask, f"photo {n}") for n, (photo, mask) in pairs]


def as_photo(given, name: str = "photo") -> LabelledPhoto:
    """A path, a Pillow image or an array uint8 [H,W,3] as a photo; it is called as its file.

    Raises:
        ValueError, FileNotFoundError: it is none.
    """
    if isinstance(given, LabelledPhoto):
        return given
    if isinstance(given, FILES):
        return LabelledPhoto(read_photo(given), name=str(given))
    if isinstance(given, Image.Image):
        name = getattr(given, "filename", "") or name
        given = np.asarray(given.convert("RGB"))
    check_photo(given, name)
    return LabelledPhoto(given, name=name)


def as_list(given) -> list:
    """One, several, or the files of a folder, as a list."""
    if isinstance(given, FILES) and os.path.isdir(given):
        return query_paths(given)
    return list(given) if isinstance(given, list | tuple) else [given]


def check_distinct(examples: list[LabelledPhoto]) -> None:
    """Raises InputError where a photo with its mask is there twice: it would count double."""
    first = {}
    for photo in examples:
        other = first.setdefault(photo.masked_key, photo)
        if other is not photo:
            raise InputError(
                f"{photo.name}: expected different supports, received the photo and mask of "
                f"{other.name} again. Leave one of them out."
            )


def _labelled(photo, mask, name):
    if isinstance(photo, FILES) and isinstance(mask, FILES):
        return read_labelled(photo, mask)  # which also looks whether both are turned alike
    photo = as_photo(photo, name)
    if isinstance(mask, FILES):
        mask = read_mask(mask)
    elif isinstance(mask, Image.Image):
        mask = np.asarray(mask)
    if getattr(mask, "ndim", 0) != 2:
        pass  # check_labelled says what is wrong
    elif mask.dtype.kind == "b":
        mask = mask.astype(np.uint8)
    elif set(np.unique(mask)) == {0, 255}:
        mask = (mask == 255).astype(np.uint8)  # as a mask's file is read
    check_labelled(photo.image, mask, photo.name)
    return LabelledPhoto(photo.image, mask, photo.name)
