"""A folder of labelled photos, as people make one by hand -> supports by class.

    DIR/NAME.jpg (or .png, .webp, .tif ...)
    DIR/NAME_mask.png (or .bmp, .tif ...), or DIR/masks/NAME.png

or as for `pipelines.build_folder`, DIR/images/NAME.jpg and DIR/masks/NAME.png. The class is
called as the folder is. Folders within DIR are several classes.
"""

import os
import pathlib

from crnet_tf.annotations.listing import LABEL_SUFFIXES, PHOTO_SUFFIXES, text_of_name
from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import some_files
from crnet_tf.images.labelled import LabelledPhoto, read_labelled
from crnet_tf.images.mask_values import VOID
from crnet_tf.images.opening import PathLike

IMAGES, MASKS, MASK_END = "images", "masks", "_mask"
LAYOUT = f"NAME.jpg or NAME.png, with NAME{MASK_END}.png beside it or in {MASKS}/NAME.png"


def read_classes(
    directory: PathLike, colour: tuple[int, int, int] | None = None
) -> dict[str, list[LabelledPhoto]]:
    """Labelled photos by class, both in the order of their names.

    Args:
        colour: RGB that is foreground in the masks; without, black and white masks.

    Raises:
        FileNotFoundError: no such folder, no photo in it, or a photo without mask.
        ValueError: photos beside folders of classes, a mask without photo, two photos or
            masks of one name, or a mask that cannot serve (`labelled.check_labelled`).
    """
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(
            f"No folder {str(directory)!r}: expected one of photos and masks ({LAYOUT})."
        )
    visible = [path for path in directory.iterdir() if not path.name.startswith(".")]
    pictures = _pictures(directory)
    own = {MASKS, IMAGES} if _has_images(directory) else {MASKS}
    folders = sorted(path for path in visible if path.is_dir() and path.name not in own)
    if folders and pictures:
        raise InputError(
            f"{directory}: expected either photos of one class or one folder a class, received "
            f"both ({pictures[0].name}, {folders[0].name}/). Move the photos into folders."
        )
    if len(folders) >= VOID:
        raise InputError(
            f"{directory}: expected at most {VOID - 1} classes, received {len(folders)}."
        )
    # As the folders are called, whatever links point to.
    named = {folder.name: folder for folder in folders}
    named = named or {os.path.basename(os.path.abspath(directory)): directory}
    return {name: read_class(folder, colour) for name, folder in named.items()}


def read_class(
    folder: pathlib.Path, colour: tuple[int, int, int] | None = None
) -> list[LabelledPhoto]:
    """Labelled photos of one class; errors as of `read_classes`."""
    found = _pictures(folder)
    files = [path for path in found if not path.stem.endswith(MASK_END)]
    masks = {}
    for path in found:
        if path.stem.endswith(MASK_END):
            _put(masks, path.stem.removesuffix(MASK_END), path)
    if (folder / MASKS).is_dir():
        for path in sorted((folder / MASKS).iterdir()):
            if _is_picture(path):
                _put(masks, path.stem, path)
    _check_lossless(masks)
    if not files:
        raise FileNotFoundError(
            f"{folder}: expected at least one labelled photo, received none. Put photos there "
            f"({LAYOUT}).{some_files(folder)}"
        )
    named = {}
    for path in files:
        _put(named, path.stem, path)
    masks = _by_photo(named, masks)
    _check_pairs(named, masks)
    return [read_labelled(path, masks[name], colour=colour) for name, path in named.items()]


def _check_lossless(masks):
    for path in masks.values():
        if path.suffix.lower() not in LABEL_SUFFIXES:
            raise InputError(
                f"{path}: expected a mask in one of {', '.join(LABEL_SUFFIXES)}, received "
                f"{path.suffix}, a lossy format, which changes what stands at the edges. "
                "Export the mask again as PNG."
            )


def _by_photo(named, masks):
    """The masks by the names of their photos; that of x.jpg may be called x.jpg.png."""
    stems = {text_of_name(path.name): name for name, path in named.items()}
    found = {}
    for name, path in masks.items():
        _put(found, stems.get(name, name), path)
    return found


def _check_pairs(named, masks):
    for name, path in named.items():
        if name not in masks:
            raise FileNotFoundError(
                f"{path}: expected its mask, {name}{MASK_END}.png beside it or {MASKS}/"
                f"{name}.png, received neither. Mark the object there, or move the photo away."
            )
    for name, path in masks.items():
        if name not in named:
            raise InputError(
                f"{path}: expected the photo of this mask, {name} with one of "
                f"{', '.join(PHOTO_SUFFIXES)}, received none. Add it, or move the mask away."
            )


def _put(named, name, path):
    name = text_of_name(name)
    other = named.setdefault(name, path)
    if other is not path:
        raise InputError(
            f"{path}: expected one file for {name!r}, received {other} as well. Rename or "
            "remove one of them."
        )


def _pictures(folder):
    """The photos of a class, and the masks beside them."""
    places = [folder, folder / IMAGES] if _has_images(folder) else [folder]
    return sorted(path for place in places for path in place.iterdir() if _is_picture(path))


def _has_images(folder):
    return (folder / IMAGES).is_dir() and (folder / MASKS).is_dir()


def _is_picture(path):
    hidden = path.name.startswith(".")
    return path.is_file() and not hidden and path.suffix.lower() in PHOTO_SUFFIXES
