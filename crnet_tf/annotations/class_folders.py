"""A folder a class, with photos and masks of the same names.

    cat/images/tom.jpg   cat/masks/tom.png
    dog/images/rex.jpg   dog/masks/rex.png

A mask is 0 and 255, or 0 and 1 with 255 for "counts nowhere".
"""

import pathlib

import numpy as np

from crnet_tf.annotations.listing import (
    LABEL_SUFFIXES,
    PHOTO_SUFFIXES,
    Listing,
    PhotoFile,
    files_by_name,
)
from crnet_tf.images import mask_files
from crnet_tf.images.mask_values import FOREGROUND, label_value


def list_photos(source: pathlib.Path) -> Listing:
    """Photos of all class folders of `source`; a class is named as its folder.

    Raises:
        FileNotFoundError: there is no class folder.
    """
    folders = [
        folder
        for folder in (sorted(source.iterdir()) if source.is_dir() else [])
        if (folder / "images").is_dir() and not folder.name.startswith(".")
    ]
    if not folders:
        received, remedy = "none", "Point --source to the folder that holds the class folders."
        if not source.is_dir():
            received, remedy = "nothing: it is not there", "Check the path."
        elif (source / "images").is_dir():
            received = "those of a single class"
        raise FileNotFoundError(
            f"{str(source)!r}: expected folders CLASS/images and CLASS/masks, received "
            f"{received}. {remedy}"
        )
    photos, problems, notes, names = [], [], [], []
    for folder in folders:
        found, wrong = _pairs(folder, class_id=len(names) + 1)
        problems += wrong
        if found:
            names.append(folder.name)
            photos += found
        else:
            notes.append(f"{folder}: no photo with a mask; not a class.")
    return Listing(tuple(names), photos, problems, notes)


def read_label(photo: PhotoFile) -> np.ndarray:
    """Label map uint8 [H,W] of a photo, drawn from its mask."""
    mask = mask_files.read_mask(photo.label)
    mask_files.check_foreground(mask, photo.label)
    (class_id,) = photo.classes
    return np.where(mask == FOREGROUND, np.uint8(label_value(class_id)), mask)


def _pairs(folder, class_id):
    """Photos of a class folder that have a mask, and what lacks its counterpart."""
    masks, twice = {}, []
    if (folder / "masks").is_dir():
        masks, twice = files_by_name(folder / "masks", LABEL_SUFFIXES)
    images, problems = files_by_name(folder / "images", PHOTO_SUFFIXES)
    problems += twice
    found = []
    for name, path in images.items():
        if name in masks:
            found.append(PhotoFile(f"{folder.name}/{name}", path, masks[name], (class_id,)))
        else:
            problems.append(
                f"{path}: expected a mask {folder}/masks/{name}.png, found none."
                f"{_nearly(folder / 'masks', name)}"
            )
    problems += [
        f"{masks[name]}: expected its photo in {folder}/images, found none."
        for name in sorted(masks.keys() - images.keys())
    ]
    return found, problems


def _nearly(masks, name):
    """A word on a file such as NAME_mask.png or NAME.jpg (but not NAME2.png)."""
    path = masks / name
    for other in sorted(path.parent.iterdir()) if path.parent.is_dir() else []:
        rest = other.name.removeprefix(path.name)
        if rest != other.name and not rest[:1].isalnum():
            return f" There is {other.name}: a mask is a PNG of its photo's name."
    return ""
