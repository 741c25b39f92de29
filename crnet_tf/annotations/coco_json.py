"""Annotations in COCO's JSON format, of any categories, with a folder of photos.

Drawn as in COCO itself: smaller objects stand before larger ones, a crowd (`iscrowd`) counts
nowhere except where an object of its own is. Needs pycocotools.
"""

import contextlib
import pathlib
from typing import NamedTuple

import numpy as np

from crnet_tf.annotations import coco, finding
from crnet_tf.annotations.coco_masks import pycocotools_mask
from crnet_tf.annotations.coco_objects import Beyond, Given, Unusable, usable
from crnet_tf.annotations.listing import (
    MALFORMED,
    Listing,
    PhotoFile,
    check_file,
    photo_name,
    read_json,
    second_of_name,
    text_in,
)
from crnet_tf.annotations.tally import Tally
from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import some_files
from crnet_tf.images.label_files import check_size
from crnet_tf.images.mask_values import label_value
from crnet_tf.images.orientation import upright_size

CROWDS, BACKGROUND = ("void", "objects"), ("class", "none")
CROWD_NOTE = (
    "objects are crowds (iscrowd=1), void: they count nowhere. Some editors mark all that was "
    "painted so; --crowds=objects takes them as objects"
)
_ODD_BOX = (
    "objects whose bbox or area is not that of their mask. Its rows and columns may be "
    "exchanged, or it was made for another size of the photo: look at it (pipelines.show)"
)
_BACKGROUNDS = {"background", "bg"}


class _Content(NamedTuple):
    """A file, of which the ids were made alike."""

    images: dict  # id -> (file name, height or None, width or None)
    categories: dict  # id -> name
    objects: dict  # image id -> [Given]


def list_photos(
    annotations: pathlib.Path,
    images: pathlib.Path,
    crowds: str = CROWDS[0],
    background: str | None = None,
) -> Listing:
    """Photos in which a JSON file outlines objects; classes are the categories of these, by id.

    Args:
        crowds: what objects with iscrowd=1 are: `void`, or `objects` as all others.
        background: what a category of that name is: a `class`, or `none`.

    Raises:
        FileNotFoundError: there is no such file or folder.
        InputError: it is no such JSON file, names a photo or a category twice, has no usable
            object, or a category called background, and `background` is None.
        BlockedError: pycocotools is missing.
    """
    pycocotools_mask()  # before the long work
    if not images.is_dir():
        raise FileNotFoundError(f"--images: expected a folder of photos, received {images}.")
    tally = Tally()
    content = _read(annotations, crowds, background, tally)
    files, problems = _files(content, annotations, images, tally)
    drawn = {}
    for name, (image_id, path) in files.items():
        try:
            found = _drawn(path, content.images[image_id], content.objects[image_id], tally)
        except (OSError, InputError) as error:
            problems.append(str(error))
            continue
        if found.annotations:
            drawn[name] = found
    held = _check_classes(content, drawn, problems, annotations, tally)
    present = [(i, name) for i, name in sorted(content.categories.items()) if i in held]
    ids = {category: i for i, (category, _) in enumerate(present, 1)}
    values = {category: label_value(i) for category, i in ids.items()}
    listed = []
    for name, photo in drawn.items():
        classes = {ids[a.category_id] for a in photo.annotations if not a.crowd}
        listed.append(PhotoFile(name, photo.file, (photo, values), tuple(sorted(classes))))
    bare = len(content.images) - len(drawn) - len(problems)
    absent = len(content.categories) - len(present)
    notes = [f"{bare} photos without a segmentation; left out."] if bare > 0 else []
    notes += tally.notes()
    notes += [f"{absent} categories without an object; no classes."] if absent else []
    return Listing(tuple(name for _, name in present), listed, problems, notes)


def read_label(photo: PhotoFile) -> np.ndarray:
    """Label map uint8 [H,W] of a photo, drawn from its objects."""
    drawn, values = photo.label
    check_size(drawn.file, (drawn.height, drawn.width))
    return coco.draw_label(drawn, values)


# === Objects and classes ===


def _drawn(path, image, objects, tally):
    """The photo of a file with its usable objects; others are counted."""
    file_name, height, width = image
    if height is None or width is None:
        height, width = upright_size(path)
    check_size(path, (height, width))
    found = []
    for given in objects:
        where = f"{file_name}, annotation {given.id}"
        try:
            annotation, agrees = usable(given, height, width)
        except Unusable as kind:
            tally.add(f"objects {kind}; background there", where)
            continue
        except Beyond as reach:
            raise InputError(
                f"{path}: expected outlines in px of a photo of {width}x{height}, received "
                f"annotation {given.id} far beyond its border, {reach}. It may be of a larger "
                "photo: export photos and annotations at one size, or correct it."
            ) from reach
        found.append(annotation)
        if not agrees:
            tally.add(_ODD_BOX, where)
        if annotation.crowd:
            tally.add(CROWD_NOTE, where)
    return coco.AnnotatedPhoto(path, height, width, tuple(found))


def _check_classes(content, drawn, problems, annotations, tally):
    """The categories that some photo has an object of; says of which there are crowds alone."""
    objects = [a for photo in drawn.values() for a in photo.annotations]
    held = {a.category_id for a in objects if not a.crowd}
    crowds = {a.category_id for a in objects if a.crowd} - held
    for category in sorted(crowds):
        tally.add(
            f"classes of crowds alone (all objects have iscrowd=1), none: "
            f"{content.categories[category]!r}. --crowds=objects takes them as objects",
            str(annotations),
        )
    if not held and not problems:
        counted = " ".join(tally.notes())
        raise InputError(
            f"{annotations}: expected objects with a segmentation, received none that can be "
            f"used. {counted} Export it again, with outlines or masks."
        )
    names = [content.categories[i] for i in held]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"{annotations}: expected every category once, received name {twice[:3]} more than "
            "once, with objects of each. Rename or join them, or export again."
        )
    return held


# === Files of photos ===


def _files(content, annotations, images, tally):
    """{photo name: (image id, file)} of the photos with objects, and problems with others."""
    files, problems, known = {}, [], finding.known_files(images)
    for image_id, (file_name, _, _) in content.images.items():
        if image_id not in content.objects:
            continue
        path, moved = finding.find(images, file_name, known)
        if path is None:
            problems.append(
                f"{images / file_name}: expected a photo that {annotations} names, found none, "
                f"nor one other file of this name.{some_files(images)}"
            )
            continue
        if moved:
            tally.add(
                "photos are named with folders that are not here; taken by name alone",
                f"{file_name} is {path}",
            )
        name = pathlib.PurePosixPath(file_name).with_suffix("").as_posix()
        if path != images / file_name:
            name = photo_name(path, images)
        first_id, first = files.setdefault(name, (image_id, path))
        if first_id != image_id:
            problems.append(second_of_name(path, first))
    return files, problems


# === The JSON file ===


def _read(path, crowds, background, tally):
    """The `_Content` of a file; what is orphaned is counted."""
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
        found = _Content(images, categories, {})
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
