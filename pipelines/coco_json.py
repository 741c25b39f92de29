"""Annotations in COCO's JSON format, with a folder of photos.

Polygons and run lengths are filled, smaller objects over larger ones. A crowd (`iscrowd`)
counts nowhere, except where an object of its own is drawn. Needs pycocotools.
"""

import json
import pathlib

import numpy as np

from crnet_tf import records
from crnet_tf.folds import VOID
from pipelines.listing import Listing, Photo


def list_photos(annotations: pathlib.Path, images: pathlib.Path) -> Listing:
    """Photos that a JSON file annotates; classes are its categories that occur, by id.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is no such JSON file, or names a photo twice.
    """
    _masks()  # before the long work
    if not images.is_dir():
        raise FileNotFoundError(f"--images: expected a folder of photos, received {images}.")
    photos, categories, drawn = _read(annotations)
    held = {
        category for objects in drawn.values() for category, crowd, *_ in objects if not crowd
    }
    present = [(i, name) for i, name in sorted(categories.items()) if i in held]
    ids = {category: i for i, (category, _) in enumerate(present, 1)}
    listed, problems = [], []
    for image_id, (file_name, size) in photos.items():
        path = images / file_name
        if not path.is_file():
            problems.append(f"{path}: expected a photo that {annotations} names, found none.")
            continue
        objects = tuple(
            (VOID if crowd else records.label_value(ids[category]), segmentation)
            for category, crowd, _, segmentation in _back_to_front(drawn.get(image_id, []))
        )
        classes = {ids[c] for c, crowd, *_ in drawn.get(image_id, []) if not crowd}
        name = pathlib.PurePosixPath(file_name).with_suffix("").as_posix()
        listed.append(Photo(name, path, (size, objects), tuple(sorted(classes))))
    absent = len(categories) - len(present)
    notes = [f"{absent} categories without an object; no classes."] if absent else []
    return Listing(tuple(name for _, name in present), listed, problems, notes)


def read_label(photo: Photo) -> np.ndarray:
    """Label map uint8 [H,W] of a photo, drawn from its objects."""
    (width, height), objects = photo.label
    label = np.zeros((height, width), np.uint8)
    for value, segmentation in objects:
        try:
            label[object_mask(segmentation, height, width)] = value
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise ValueError(
                f"{photo.path}: expected polygons or run lengths of {width}x{height} px, "
                f"received a segmentation that cannot be drawn ({error}). Correct or remove it."
            ) from error
    return label


def object_mask(segmentation: list | dict, height: int, width: int) -> np.ndarray:
    """bool [H,W]: a segmentation of COCO's format, polygons or (compressed) run lengths."""
    mask = _masks()
    if isinstance(segmentation, list):
        runs = mask.merge(mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        runs = mask.frPyObjects(segmentation, *segmentation["size"])
    else:
        runs = segmentation
    pixels = mask.decode(runs)
    if pixels.shape != (height, width):
        raise ValueError(f"its size is {pixels.shape[1]}x{pixels.shape[0]}")
    return pixels > 0


def _masks():
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ValueError(
            "COCO's format: expected the package pycocotools, received none. Install it: "
            "pip install -e '.[coco]' (or pip install pycocotools)."
        ) from error
    return mask


def _read(path):
    """{image id: (file name, (width, height))}, {category id: name}, and
    {image id: [(category id, is a crowd, area, segmentation)]} of a JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        photos = {
            image["id"]: (image["file_name"], (int(image["width"]), int(image["height"])))
            for image in content["images"]
        }
        categories = {category["id"]: category["name"] for category in content["categories"]}
        drawn = {}
        for number, thing in enumerate(content["annotations"]):
            crowd, area = bool(thing.get("iscrowd")), thing.get("area", 0)
            if thing["image_id"] not in photos or thing["category_id"] not in categories:
                raise ValueError(f"annotation {number} is of an unknown image or category")
            if thing.get("segmentation"):
                drawn.setdefault(thing["image_id"], []).append(
                    (thing["category_id"], crowd, area, thing["segmentation"])
                )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected COCO's JSON format (images, annotations with segmentations, "
            f"categories), received another ({type(error).__name__}: {error}). Export it again."
        ) from error
    if len(set(categories.values())) < len(categories) or not drawn:
        raise ValueError(
            f"{path}: expected objects with a segmentation, and categories of different names, "
            f"received {len(drawn)} photos with such objects and {len(categories)} categories "
            f"of {len(set(categories.values()))} names. Export it again."
        )
    return photos, categories, drawn


def _back_to_front(objects):
    """Crowds, then objects from large to small."""
    return sorted(objects, key=lambda thing: (not thing[1], -thing[2]))
