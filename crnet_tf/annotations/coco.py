"""MS COCO's instance annotations: `instances_<split><year>.json` -> label maps."""

import collections
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np

from crnet_tf.annotations.coco_masks import draw_object
from crnet_tf.annotations.listing import MALFORMED, check_file
from crnet_tf.common.errors import InputError
from crnet_tf.images.mask_values import VOID

_ANNOTATION_KEYS = ("id", "image_id", "category_id", "segmentation")


class Annotation(NamedTuple):
    """One object, or a crowd of them, of a photo."""

    id: int
    category_id: int
    segmentation: Any  # polygons [[x, y, x, y ...], ...] or {"size": [H, W], "counts": ...}
    crowd: bool


class AnnotatedPhoto(NamedTuple):
    """A photo with all that was drawn into it."""

    file: pathlib.Path
    height: int
    width: int
    annotations: tuple[Annotation, ...]


class Instances(NamedTuple):
    """The content of an annotation file."""

    photos: list[AnnotatedPhoto]  # with annotations, by image id
    bare: int  # photos without any
    class_ids: dict[int, int]  # category id (1..90 with gaps) -> 1..80


def read_instances(
    path: pathlib.Path, photo_folder: pathlib.Path, class_names: tuple[str, ...]
) -> Instances:
    """Reads an annotation file, whole; polygons are packed while it is parsed.

    Args:
        class_names: COCO's 80 categories in the order of their ids.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, is not of COCO's 80 categories, names a photo twice, or
            annotates one that it does not list.
    """
    check_file(path, "COCO's annotations")
    try:
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file, object_hook=packed)
        class_ids = _class_ids(content["categories"], class_names, path)
        drawn = collections.defaultdict(list)
        for given in content["annotations"]:
            drawn[given["image_id"]].append(_annotation(given))
        images = _images_by_id(content["images"], path)
        photos = [
            AnnotatedPhoto(
                photo_folder / i["file_name"], i["height"], i["width"], tuple(drawn[key])
            )
            for key, i in images.items()
            if key in drawn
        ]
    except (
        json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, RecursionError,
    ) as error:  # fmt: skip
        raise InputError(
            f"{path}: expected COCO's instance annotations (images, annotations, categories), "
            f"received what cannot be read so ({type(error).__name__}: {error}). It is damaged "
            "or of another kind (captions, keypoints): unpack the annotations again."
        ) from error
    unknown = sorted(drawn.keys() - images.keys())
    if unknown:
        raise InputError(
            f"{path}: expected annotations of the photos it lists, received some of "
            f"{len(unknown)} others (image_id {unknown[:3]}). Unpack the annotations again."
        )
    return Instances(photos, len(images) - len(photos), class_ids)


def draw_label(photo: AnnotatedPhoto, class_ids: dict[int, int]) -> np.ndarray:
    """The label map of a photo: uint8 [H,W] class ids 1..80, 0 background, 255 in crowds.

    Crowds are drawn first, then objects from the largest to the smallest, so that a small
    object stands before a large one that covers it too; of equal ones the later in the file.
    What lies outside the photo is cut off.

    Raises:
        ValueError: an annotation of a category the file does not list, or of a shape that
            cannot be.
    """
    size = photo.height, photo.width
    objects = []
    for annotation in photo.annotations:
        try:
            value = VOID if annotation.crowd else _known(annotation.category_id, class_ids)
            objects.append((value, draw_object(annotation.segmentation, *size)))
        except MALFORMED as error:
            said = error
            if not isinstance(error, InputError):
                said = f"expected polygons or run lengths, received others ({error!r})"
            raise InputError(
                f"{photo.file.name}: annotation {annotation.id}: {said}. Correct or remove it, "
                "or leave its photo out (--on_error=skip)."
            ) from error
    objects.sort(key=lambda found: (found[0] != VOID, -np.count_nonzero(found[1].mask)))
    # By columns, as COCO's masks are: twice as fast as by rows.
    label = np.zeros(size, np.uint8, order="F")
    for value, drawn in objects:
        np.copyto(label[drawn.box], value, where=drawn.mask)
    return np.ascontiguousarray(label)


def check_once(entries: list[dict], key: str, kind: str, path: pathlib.Path) -> None:
    """Raises ValueError where two entries of an annotation file have the same `key`.

    Args:
        kind: of the entries, "photo" or "category".
    """
    counts = collections.Counter(entry[key] for entry in entries)
    twice = [value for value, count in counts.items() if count > 1]
    if twice:
        raise InputError(
            f"{path}: expected every {kind} once, received {key} {twice[:3]} more than once. "
            "Remove the repetitions, or unpack or export the annotations again."
        )


def packed(given: dict) -> dict:
    """`object_hook` of json.load: polygons as arrays, which take a sixth of the memory."""
    polygons = given.get("segmentation")
    if isinstance(polygons, list):
        try:
            given["segmentation"] = [np.asarray(polygon, float) for polygon in polygons]
        except (ValueError, TypeError, OverflowError):
            pass  # told with the photo's name when it is drawn
        given.pop("bbox", None)
    return given


def _annotation(given):
    number, _, category_id, segmentation = (given[key] for key in _ANNOTATION_KEYS)
    return Annotation(number, category_id, segmentation, bool(given.get("iscrowd", 0)))


def _class_ids(categories, class_names, path):
    names = {category["id"]: category["name"] for category in categories}
    ids = sorted(names)
    if tuple(names[i] for i in ids) != class_names or len(categories) != len(ids):
        raise InputError(
            f"{path}: expected the {len(class_names)} categories of COCO (person .. "
            f"toothbrush), received {len(categories)}: {', '.join(names.values())[:60]}. Own "
            "data sets are built by pipelines.build_folder."
        )
    return {category_id: number for number, category_id in enumerate(ids, 1)}


def _images_by_id(images, path):
    for key in ("id", "file_name"):
        check_once(images, key, "photo", path)
    return {image["id"]: image for image in sorted(images, key=lambda image: image["id"])}


def _known(category_id, class_ids):
    if category_id not in class_ids:
        raise InputError(
            f"expected a category the file lists, received category_id {category_id!r}"
        )
    return class_ids[category_id]
