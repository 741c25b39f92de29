"""Annotations in COCO's JSON format, of any categories, with a folder of photos.

Drawn as in COCO itself: smaller objects stand before larger ones, a crowd (`iscrowd`) counts
nowhere except where an object of its own is. Needs pycocotools.
"""

import contextlib
import json
import pathlib

import numpy as np

from crnet_tf.annotations import coco
from crnet_tf.annotations.coco_masks import pycocotools_mask
from crnet_tf.annotations.listing import (
    MALFORMED,
    Listing,
    PhotoFile,
    check_file,
    second_of_name,
    text_in,
)
from crnet_tf.common.errors import InputError
from crnet_tf.images.label_files import check_size
from crnet_tf.images.mask_values import label_value


def list_photos(annotations: pathlib.Path, images: pathlib.Path) -> Listing:
    """Photos in which a JSON file outlines objects; classes are the categories of these, by id.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is no such JSON file, or names a photo or a category twice.
        RuntimeError: pycocotools is missing.
    """
    pycocotools_mask()  # before the long work
    if not images.is_dir():
        raise FileNotFoundError(f"--images: expected a folder of photos, received {images}.")
    photos, categories, drawn, bare_objects = _read(annotations)
    files, problems = _files(photos, drawn, annotations, images)
    objects = {name: tuple(drawn[image_id]) for name, (image_id, _) in files.items()}
    held = {a.category_id for of_one in objects.values() for a in of_one if not a.crowd}
    present = [(i, name) for i, name in sorted(categories.items()) if i in held]
    ids = {category: i for i, (category, _) in enumerate(present, 1)}
    values = {category: label_value(i) for category, i in ids.items()}
    listed = []
    for name, (image_id, path) in files.items():
        _, height, width = photos[image_id]
        classes = {ids[a.category_id] for a in objects[name] if not a.crowd}
        label = coco.AnnotatedPhoto(path, height, width, objects[name]), values
        listed.append(PhotoFile(name, path, label, tuple(sorted(classes))))
    bare, absent = len(photos) - len(drawn), len(categories) - len(present)
    notes = [f"{bare} photos without a segmentation; left out."] if bare else []
    unseen = sum(image_id in drawn for image_id in bare_objects)
    notes += [f"{unseen} objects without a segmentation; background."] if unseen else []
    notes += [f"{absent} categories without an object; no classes."] if absent else []
    return Listing(tuple(name for _, name in present), listed, problems, notes)


def read_label(photo: PhotoFile) -> np.ndarray:
    """Label map uint8 [H,W] of a photo, drawn from its objects."""
    drawn, values = photo.label
    check_size(drawn.file, (drawn.height, drawn.width))
    return coco.draw_label(drawn, values)


def _files(photos, drawn, annotations, images):
    """{photo name: (image id, file)} of the photos with objects, and problems with others."""
    files, problems = {}, []
    for image_id, (file_name, _, _) in photos.items():
        if image_id not in drawn:
            continue
        path = images / file_name
        if not path.is_file():
            problems.append(f"{path}: expected a photo that {annotations} names, found none.")
            continue
        name = pathlib.PurePosixPath(file_name).with_suffix("").as_posix()
        first_id, first = files.setdefault(name, (image_id, path))
        if first_id != image_id:
            problems.append(second_of_name(path, first))
    return files, problems


def _read(path):
    """{image id: (file name, height, width)}, {category id: name}, {image id: objects}, and the
    image id of each object without a segmentation."""
    check_file(path, "a JSON file in COCO's format")
    with _format_of(path), open(path, encoding="utf-8-sig") as file:
        content = json.load(file, object_hook=coco.packed)
        photos = {
            image["id"]: (
                text_in(image, "file_name").replace("\\", "/"),  # as Windows writes it
                int(image["height"]),
                int(image["width"]),
            )
            for image in content["images"]
        }
        categories = {c["id"]: text_in(c, "name") for c in content["categories"]}
        kinds = {type(category_id).__name__ for category_id in categories}
        if len(kinds) > 1:
            raise TypeError(f"category ids of the types {', '.join(sorted(kinds))}")
    for key in ("id", "file_name"):
        coco.check_once(content["images"], key, "photo", path)
    for key in ("id", "name"):
        coco.check_once(content["categories"], key, "category", path)
    with _format_of(path):
        drawn, bare_objects = _objects(content["annotations"], photos, categories)
    if not drawn:
        raise InputError(
            f"{path}: expected objects with a segmentation, received none. Export it again."
        )
    return photos, categories, drawn, bare_objects


def _objects(annotations, photos, categories):
    drawn, bare = {}, []
    for number, given in enumerate(annotations):
        image_id, category_id = given["image_id"], given["category_id"]
        if image_id not in photos or category_id not in categories:
            raise InputError(f"annotation {number} is of an unknown image or category")
        if not given.get("segmentation"):
            bare.append(image_id)
            continue
        drawn.setdefault(image_id, []).append(
            coco.Annotation(
                given.get("id", number),
                category_id,
                given["segmentation"],
                bool(int(given.get("iscrowd") or 0)),  # some write it as text
            )
        )
    return drawn, bare


@contextlib.contextmanager
def _format_of(path):
    """Errors in the block say that the file is not in COCO's format."""
    try:
        yield
    except MALFORMED as error:
        raise InputError(
            f"{path}: expected COCO's JSON format (images, annotations with segmentations, "
            f"categories), received another ({type(error).__name__}: {error}). Export it again."
        ) from error
