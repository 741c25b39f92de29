"""The content of a JSON file in COCO's format, of any categories: ids made alike, and what
belongs to nothing counted."""

import contextlib
import pathlib
from typing import NamedTuple

from crnet_tf.annotations import coco
from crnet_tf.annotations.coco_objects import Given
from crnet_tf.annotations.listing import MALFORMED, check_file, read_json, text_in
from crnet_tf.annotations.tally import Tally
from crnet_tf.common.errors import InputError

CROWDS, BACKGROUND = ("void", "objects"), ("class", "none")
_BACKGROUNDS = {"background", "bg"}


class Content(NamedTuple):
    """A file, of which the ids were made alike."""

    images: dict  # id -> (file name, height or None, width or None)
    categories: dict  # id -> name
    objects: dict  # image id -> [Given]


def read_content(
    path: pathlib.Path, crowds: str, background: str | None, tally: Tally
) -> Content:
    """Reads a file, whole; polygons are packed while it is parsed.

    Args:
        crowds: what objects with iscrowd=1 are, one of `CROWDS`.
        background: what a category of that name is, one of `BACKGROUND`; None asks.
        tally: gets annotations of photos and categories that the file does not list.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is not in the format, names a photo or a category twice, or a category
            called background has objects and `background` is None.
    """
    check_file(path, "a JSON file in COCO's format")
    with _format_of(path):
        content = read_json(path, object_hook=_packed)
        for key in ("images", "categories"):
            for entry in content[key]:
                entry["id"] = _number(entry["id"])
        images = {i["id"]: _image(i) for i in content["images"]}
        categories = {c["id"]: text_in(c, "name") for c in content["categories"]}
        kinds = {type(category_id).__name__ for category_id in categories}
        if len(kinds) > 1:
            raise TypeError(f"category ids of the types {', '.join(sorted(kinds))}")
    for key in ("id", "file_name"):
        coco.check_once(content["images"], key, "photo", path)
    coco.check_once(content["categories"], "id", "category", path)
    with _format_of(path):
        found = Content(images, categories, {})
        for number, given in enumerate(content["annotations"]):
            _add(found, given, number, crowds, tally)
    return _without_background(found, background, path)


def _image(entry):
    name = text_in(entry, "file_name").replace("\\", "/")  # as Windows writes it
    # None where a tool left it out.
    return name, *(int(entry.get(key) or 0) or None for key in ("height", "width"))


def _add(content, entry, number, crowds, tally):
    image_id, category = _number(entry["image_id"]), _number(entry["category_id"])
    where = f"annotation {entry.get('id', number)}"
    if image_id not in content.images:
        tally.add("annotations of photos that the file does not list; left out", where)
    elif category not in content.categories:
        tally.add("annotations of categories that the file does not list; left out", where)
    else:
        crowd = bool(int(entry.get("iscrowd") or 0)) and crowds == "void"  # some write text
        given = Given(
            entry.get("id", number),
            category,
            entry.get("segmentation"),
            crowd,
            entry.get("bbox"),
            entry.get("area"),
        )
        content.objects.setdefault(image_id, []).append(given)


def _without_background(content, background, path):
    """Without the objects of categories called background, where they are to be none."""
    ids = {i for i, n in content.categories.items() if n.strip("_ ").lower() in _BACKGROUNDS}
    used = {o.category_id for objects in content.objects.values() for o in objects} & ids
    if not used or background == "class":
        return content
    if background is None:
        raise InputError(
            f"{path}: expected categories of things, received "
            f"{content.categories[min(used)]!r} "
            "with objects. Is it a class? --background=class takes it as one, "
            "--background=none leaves its objects out."
        )
    kept = {
        image: [o for o in objects if o.category_id not in ids]
        for image, objects in content.objects.items()
    }
    return content._replace(objects={image: found for image, found in kept.items() if found})


def _number(value):
    """An id; of text or a fraction the whole number that it shows."""
    if isinstance(value, str) and value.strip().removeprefix("-").isdecimal():
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _packed(given):
    """As `coco.packed`, and the box is kept."""
    box = given.get("bbox")
    given = coco.packed(given)
    if box is not None:
        given["bbox"] = box
    return given


@contextlib.contextmanager
def _format_of(path):
    """Errors in the block say that the file is not in COCO's format."""
    try:
        yield
    except MALFORMED as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: expected COCO's JSON format (images, annotations with segmentations, "
            f"categories), received another ({type(error).__name__}: {error}). Export it again."
        ) from error
