"""A folder a class, with photos and masks of the same names.

    cat/images/tom.jpg   cat/masks/tom.png
    dog/images/rex.jpg   dog/masks/rex.png

A mask is 0 and 255, or 0 and 1 with 255 for "counts nowhere".
"""

import pathlib

import numpy as np

from crnet_tf.annotations.answers import PhotoAnswer, check_values_suffice
from crnet_tf.annotations.listing import (
    LABEL_SUFFIXES,
    PHOTO_SUFFIXES,
    Listing,
    PhotoFile,
    files_by_name,
    match_labels,
)
from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import some_files
from crnet_tf.images import mask_files, png_files
from crnet_tf.images.mask_values import FOREGROUND, VOID, class_mask, label_value


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
            f"{received}. {remedy}{some_files(source)}"
        )
    photos, problems, notes, names = [], [], [], []
    for folder in folders:
        found, wrong = _pairs(folder, class_id=len(names) + 1)
        problems += wrong
        if found:
            names.append(folder.name)
            photos += found
        else:
            notes.append(f"{folder}: no photo with a mask; not a class.{some_files(folder)}")
    return Listing(tuple(names), photos, problems, notes)


def read_label(photo: PhotoFile, colour: tuple[int, int, int] | None = None) -> np.ndarray:
    """Label map uint8 [H,W] of a photo, drawn from its mask: of what has this colour, if one
    is given."""
    mask = mask_files.read_mask(photo.label, photo=photo.path, colour=colour)
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
    matched, unmatched = match_labels(images, masks, folder / "masks", "mask")
    found = [
        PhotoFile(f"{folder.name}/{name}", images[name], mask, (class_id,))
        for name, mask in matched.items()
    ]
    return found, problems + unmatched


class Writer:
    """Writes `folders/CLASS/masks/NAME.png` of each class that a photo shows, and beside, in
    `folders/CLASS/images/`, links to the photos."""

    def __init__(self, out: pathlib.Path, shapes: str):
        self.out = out / "folders"

    def add(self, answer: PhotoAnswer) -> None:
        """Writes the masks of a photo, white where the class is; where some of it is void,
        they are of 0, 1 and 255.

        Raises InputError for a class whose name no folder can have, and for too many.
        """
        check_values_suffice("folders", answer.class_names)
        for value, name in enumerate(answer.class_names, 1):
            mask = class_mask(answer.mask, value)
            if not (mask == FOREGROUND).any():
                continue
            images, masks = (self._folder(name, kind) for kind in ("images", "masks"))
            if not (mask == VOID).any():
                mask *= np.uint8(255)
            png_files.write_label(masks / f"{answer.name}.png", mask)
            files.link(answer.path, images / f"{answer.name}{answer.path.suffix}")

    def finish(self) -> None:
        """All is written already."""

    def _folder(self, name, kind):
        if not name or pathlib.PurePath(name).name != name or name.startswith("."):
            raise InputError(
                f"folders: expected class names that a folder can have, received {name!r}. "
                "Rename the class, or choose another format."
            )
        folder = self.out / name / kind
        files.make_folder(folder)
        return folder
