"""FSS-1000: 1,000 class folders of ten photos and masks each, and lists of classes.

fewshot_data/abacus/1.jpg, 1.png ... 10.jpg, 10.png     a photo and its mask, 224x224
"""

import hashlib
import os
import pathlib

import numpy as np

from crnet_tf.annotations import listing
from crnet_tf.annotations.listing import PhotoFile, read_lines
from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import some_files
from crnet_tf.images import mask_files
from crnet_tf.images.mask_values import FOREGROUND, label_value

NUM_VALIDATION = 240
MASK_SUFFIX = ".png"  # in any case of letters
PHOTO_SUFFIXES = tuple(s for s in listing.PHOTO_SUFFIXES if s != MASK_SUFFIX)


def list_classes(root: pathlib.Path) -> list[str]:
    """Names of the class folders, sorted: class ids are 1, 2, ... in this order."""
    names = [
        folder.name
        for folder in (sorted(root.iterdir()) if root.is_dir() else [])
        if folder.is_dir() and not folder.name.startswith(".") and _files(folder)
    ]
    if not names:
        raise FileNotFoundError(
            f"--fss_dir: expected class folders with 1.jpg, 1.png ..., received none in "
            f"{str(root)!r}. Point it to the folder that holds abacus, ab_wheel ..."
            f"{some_files(root)}"
        )
    return names


def list_photos(folder: pathlib.Path, class_id: int) -> list[PhotoFile]:
    """Photos and masks of a class folder, in the order of their numbers.

    Where one of the two is missing, the other one is listed all the same: reading it says so.
    """
    files = _files(folder)
    photos_of = {path.stem: path for path in files if path.suffix.lower() != MASK_SUFFIX}
    masks_of = {path.stem: path for path in files if path.suffix.lower() == MASK_SUFFIX}
    found = []
    for stem in sorted(photos_of | masks_of, key=lambda name: (len(name), name)):
        photo = photos_of.get(stem, folder / f"{stem}{PHOTO_SUFFIXES[0]}")
        label = masks_of.get(stem, folder / f"{stem}{MASK_SUFFIX}")
        found.append(PhotoFile(f"{folder.name}/{stem}", photo, label, (class_id,)))
    return found


def _files(folder):
    suffixes = (*PHOTO_SUFFIXES, MASK_SUFFIX)
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return [path for path in paths if path.suffix.lower() in suffixes]


def draw_validation(names: list[str]) -> set[str]:
    """240 of 760 names (of fewer a third, of two one) by their SHA-256: ours, as no split is
    official.

    Raises:
        InputError: there is one name only, or none, which cannot train and validate.
    """
    if len(names) < 2:
        raise InputError(
            "--test_list: expected at least 2 classes beside those that it names, one to "
            f"train and one to validate on, received {len(names)} "
            f"({', '.join(names) or 'none'}). Add classes, or take names off the list."
        )
    by_hash = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return set(by_hash[: min(NUM_VALIDATION, max(1, len(names) // 3))])


def read_names(path: str | os.PathLike, known: list[str]) -> set[str]:
    """The class names in a file, one a line; all must be `known`."""
    # Some copies hold paths, "/abacus".
    names = {line.strip("/").rpartition("/")[2] for line in read_lines(path)} - {""}
    unknown = sorted(names - set(known))
    if unknown or not names or len(names) == len(known):
        raise InputError(
            f"{path}: expected names of some of the {len(known)} classes, one a line, and some "
            f"left to train on, received {len(names)}, {len(unknown)} of them unknown or used "
            "otherwise "
            f"({', '.join(unknown[:3]) or 'none'}). Complete the folders, or correct the list."
        )
    return names


def read_label(photo: PhotoFile, colour: tuple[int, int, int] | None = None) -> np.ndarray:
    """Label map uint8 [H,W]: the class where the mask is white, greys from half of it on, or
    where it has this colour."""
    mask = mask_files.read_mask(photo.label, photo=photo.path, colour=colour, soft=True)
    mask_files.check_foreground(mask, photo.label)
    return np.where(mask == FOREGROUND, np.uint8(label_value(photo.classes[0])), mask)
