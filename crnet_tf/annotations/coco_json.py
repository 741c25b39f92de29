"""Annotations in COCO's JSON format, of any categories, with a folder of photos.

Drawn as in COCO itself: smaller objects stand before larger ones, a crowd (`iscrowd`) counts
nowhere except where an object of its own is. Needs pycocotools to read, not to write.
"""

import itertools
import json
import pathlib

import numpy as np

from crnet_tf.annotations import coco, finding
from crnet_tf.annotations.answers import Instance, PhotoAnswer, names_below_one_folder
from crnet_tf.annotations.coco_content import CROWDS, read_content
from crnet_tf.annotations.coco_masks import pycocotools_mask, run_lengths
from crnet_tf.annotations.coco_objects import Beyond, Unusable, usable
from crnet_tf.annotations.listing import (
    Listing,
    PhotoFile,
    photo_name,
    second_of_name,
)
from crnet_tf.annotations.tally import Tally
from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import some_files
from crnet_tf.common.progress import with_progress
from crnet_tf.images.label_files import check_size
from crnet_tf.images.mask_values import label_value
from crnet_tf.images.orientation import upright_size

CROWD_NOTE = (
    "objects are crowds (iscrowd=1), void: they count nowhere. Some editors mark all that was "
    "painted so; --crowds=objects takes them as objects"
)
_ODD_BOX = (
    "objects whose bbox or area is not that of their mask. Its rows and columns may be "
    "exchanged, or it was made for another size of the photo: look at it (pipelines.show)"
)


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
    content = read_content(annotations, crowds, background, tally)
    named, problems = _files(content, annotations, images, tally)
    drawn = {}
    for name, (image_id, path) in with_progress(named.items(), "photos listed", len(named)):
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
    named, problems, known = {}, [], finding.known_files(images)
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
        first_id, first = named.setdefault(name, (image_id, path))
        if first_id != image_id:
            problems.append(second_of_name(path, first))
    return named, problems


# === Written ===


class Writer:
    """Writes `coco.json`: all photos, by their names below their folder, and their objects,
    each with a score."""

    def __init__(self, out: pathlib.Path, shapes: str):
        self.place, self.as_masks = out / "coco.json", shapes == "masks"
        self.photos, self.sizes, self.annotations, self.class_names = [], [], [], ()

    def add(self, answer: PhotoAnswer) -> None:
        """Keeps the objects of a photo; it is listed where it has none, too."""
        self.photos.append(answer.path)
        self.sizes.append(answer.mask.shape)
        self.class_names = answer.class_names
        self.annotations += map(self._annotation, answer.objects)

    def finish(self) -> None:
        """Writes the file."""
        _, names = names_below_one_folder(self.photos)
        named = enumerate(zip(names, self.sizes, strict=True), 1)
        content = {
            "images": [
                {"id": i, "file_name": name, "height": height, "width": width}
                for i, (name, (height, width)) in named
            ],
            "categories": [{"id": i, "name": n} for i, n in enumerate(self.class_names, 1)],
            "annotations": [{"id": i, **one} for i, one in enumerate(self.annotations, 1)],
        }
        files.write_text(self.place, json.dumps(content, ensure_ascii=False))

    def _annotation(self, one):
        return {"image_id": len(self.photos), **annotation(one, self.as_masks)}


def annotation(one: Instance, as_mask: bool) -> dict:
    """An object in COCO's format, without the number of its photo; as a mask in run lengths, or
    as polygons."""
    left, top, right, bottom = one.box
    return {
        "category_id": one.class_id,
        "segmentation": run_lengths(one.mask) if as_mask else _flat_polygons(one),
        "area": int(np.count_nonzero(one.inside)),
        "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
        "score": round(one.probability, 4),
    }


def _flat_polygons(one):
    return [[*itertools.chain.from_iterable(ring)] for ring in one.joined_polygons()]
