"""Labelme: a JSON file of drawn shapes beside each photo.

Polygons, rectangles, circles and masks are filled, small shapes in front of large ones; other
kinds (point, line, linestrip ...) are left out and counted, as are shapes without a label and
photos without a JSON file. The label `_background_` is background, `__ignore__` counts nowhere.
"""

import base64
import collections
import json
import os
import pathlib

import numpy as np

from crnet_tf.annotations import finding
from crnet_tf.annotations.answers import PhotoAnswer
from crnet_tf.annotations.labelme_shapes import (
    FEWEST_POINTS,
    check_shape,
    draw,
    in_front_last,
    instances,
    is_outside,
    read_shape,
)
from crnet_tf.annotations.listing import (
    MALFORMED,
    PHOTO_SUFFIXES,
    Listing,
    PhotoFile,
    files_of,
    photo_name,
    read_json,
    text_in,
)
from crnet_tf.annotations.outlines import PIXELS
from crnet_tf.annotations.tally import Tally
from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import some_files
from crnet_tf.images.label_files import check_size
from crnet_tf.images.mask_values import VOID, label_value
from crnet_tf.images.opening import Embedded
from crnet_tf.images.orientation import upright_size
from crnet_tf.images.png_files import encode_label

VERSION = "5.5.0"  # of Labelme, whose files ours are like
SPECIAL = {"_background_": 0, "__ignore__": VOID}


def list_photos(source: pathlib.Path, join_instances: bool = True) -> Listing:
    """Photos of all JSON files below `source`; classes are the shapes' labels, sorted.

    Args:
        join_instances: whether cup-1 and cup-2 are both of the class cup.
    """
    drawn, problems, left_out, tally = [], [], collections.Counter(), Tally()
    described = {}  # photo -> its JSON file
    for path in files_of(source, (".json",)):
        try:
            photo, size, shapes = _read(path, tally)
        except (OSError, InputError) as error:
            problems.append(str(error))
            continue
        first = described.setdefault(_whole(photo), path)
        if first != path:
            problems.append(
                f"{path}: expected a photo of its own, received {photo.name}, which {first} "
                "names too. Join the shapes in one of the two files."
            )
            continue
        left_out.update(shape.kind for shape in shapes if shape.kind not in FEWEST_POINTS)
        drawn.append(
            (photo_name(path, source), photo, size, _usable(shapes, size, path, tally))
        )
    if not drawn and not problems:
        raise FileNotFoundError(
            f"{str(source)!r}: expected Labelme's JSON files, received none. Point --source "
            f"to the folder that holds them.{some_files(source)}"
        )
    names, photos, joined = _photos(drawn, join_instances)
    notes = [f"{n} shapes of kind {kind} left out." for kind, n in sorted(left_out.items())]
    notes += tally.notes() + joined
    named = {_whole(photo) for _, photo, *_ in drawn}
    bare = sum(path.resolve() not in named for path in files_of(source, PHOTO_SUFFIXES))
    notes += [f"{bare} photos without a usable JSON file; left out."] if bare else []
    return Listing(names, photos, problems, notes)


def read_label(photo: PhotoFile) -> np.ndarray:
    """Label map uint8 [H,W] of a photo, drawn from its shapes."""
    size, shapes = photo.label
    check_size(photo.path, size[::-1])
    return draw(size, shapes)


def _photos(drawn, join_instances):
    """Class names, photos with values for their shapes, and what is said of joined labels."""
    labels = {shape.label for *_, shapes in drawn for shape in shapes} - SPECIAL.keys()
    joined = instances(labels)
    flag = f"{', '.join(list(joined)[:3])}{' ...' if len(joined) > 3 else ''}"
    notes = []
    if joined and join_instances:
        of = ", ".join(sorted(set(joined.values()))[:3])
        notes = [f"{flag} are taken as instances of {of}; --noinstances keeps them apart."]
    elif joined:
        notes, joined = [f"{flag} are classes of their own (--noinstances)."], {}
    names = tuple(sorted({joined.get(label, label) for label in labels}))
    ids = {name: i for i, name in enumerate(names, 1)}
    of_label = {label: ids[joined.get(label, label)] for label in labels}
    values = SPECIAL | {label: label_value(c) for label, c in of_label.items()}
    photos = []
    for name, photo, size, shapes in drawn:
        classes = {of_label[s.label] for s in shapes if s.label in of_label}
        coloured = tuple((values[s.label], s.kind, s.outline) for s in shapes)
        photos.append(PhotoFile(name, photo, (size, coloured), tuple(sorted(classes))))
    return names, photos, notes


def _usable(shapes, size, path, tally):
    """The shapes to draw, in order; what is lost is counted."""
    kept = []
    for shape in shapes:
        if shape.kind not in FEWEST_POINTS:
            continue
        if not shape.label:
            tally.add("shapes without a label; left out", str(path))
        elif is_outside(shape, size):
            tally.add("shapes that cover no pixel of their photo; left out", str(path))
        else:
            kept.append(shape)
    ordered, covered = in_front_last(kept)
    for _ in range(covered):
        said = "shapes lie under larger ones that were drawn later; they are put in front"
        tally.add(said, str(path))
    return ordered


# === One file ===


def _read(path, tally):
    """(photo, (width, height), shapes) of a JSON file."""
    try:
        content = read_json(path)
        shapes = [read_shape(given) for given in content["shapes"]]
        sizes = [int(content.get(key) or 0) for key in ("imageWidth", "imageHeight")]
        named, data = text_in(content, "imagePath"), content.get("imageData")
    except MALFORMED as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: expected a JSON file of Labelme (shapes, imagePath, imageWidth, "
            f"imageHeight), received another ({type(error).__name__}: {error}). Save it again "
            "with Labelme, or leave it out."
        ) from error
    photo = _photo_of(path, named, isinstance(data, str) and data, tally)
    size = tuple(sizes) if all(sizes) else upright_size(photo)[::-1]
    for shape in shapes:
        check_shape(shape, size, path)
    return photo, size, shapes


def _photo_of(path, named, embedded, tally):
    """The photo a JSON file names (relative to it, also as Windows writes it), or one beside it
    with its stem, or the one inside it."""
    relative = pathlib.PurePosixPath(named.replace("\\", "/"))
    places = path.parent / relative, path.parent / relative.name
    there = next((photo for photo in places if photo.is_file()), None)
    there = there or finding.alike(path.parent, relative.name)
    beside = next(
        (p for s in PHOTO_SUFFIXES if (p := path.with_suffix(s)).is_file()), None
    ) or finding.alike(path.parent, path.stem, PHOTO_SUFFIXES)
    if there and beside and not there.samefile(beside):
        raise InputError(
            f"{path}: expected one photo, received {named!r} by its imagePath and "
            f"{beside.name} by its own name. Correct imagePath, or rename one of them."
        )
    if there:
        return there
    if beside:
        said = "JSON files name a photo that is not there; the one beside them is taken"
        tally.add(said, f"{path}, {named!r}")
        return beside
    if embedded:
        tally.add("photos are read out of their JSON files (imageData)", str(path))
        return Embedded(path, "imageData")
    raise FileNotFoundError(
        f"{path}: expected its photo {named!r} beside it, found none. Copy it there."
        f"{some_files(path.parent)}"
    )


def _whole(photo):
    return photo if isinstance(photo, Embedded) else photo.resolve()


# === Written ===


class Writer:
    """Writes `labelme/NAME.json` of each photo, with its path from there.

    Labelme shows a photo upright, as EXIF turns it, and paints what a polygon touches.
    """

    def __init__(self, out: pathlib.Path, shapes: str):
        self.folder, self.as_masks = out / "labelme", shapes == "masks"

    def add(self, answer: PhotoAnswer) -> None:
        """Writes the file of a photo; the polygons of an object share their group_id."""
        files.make_folder(self.folder)
        place = self.folder / f"{answer.name}.json"
        height, width = answer.mask.shape
        drawn = _mask_shapes if self.as_masks else _polygon_shapes
        content = {
            "version": VERSION,
            "flags": {},
            "shapes": [
                _entry(one, group, *shape)
                for group, one in enumerate(answer.objects, 1)
                for shape in drawn(one)
            ],
            "imagePath": pathlib.Path(os.path.relpath(answer.path, self.folder)).as_posix(),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        files.write_text(place, json.dumps(content, ensure_ascii=False, indent=1))

    def finish(self) -> None:
        """All is written already."""


def _entry(one, group, kind, points, mask=None):
    return {
        "label": one.class_name,
        "points": points,
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": mask,
        "score": round(one.probability, 4),
    }


def _polygon_shapes(one):
    return [("polygon", points) for points in one.joined_polygons(PIXELS)]


def _mask_shapes(one):
    left, top, right, bottom = one.box
    mask = base64.b64encode(encode_label(one.inside.astype(np.uint8))).decode()
    return [("mask", [[left, top], [right - 1, bottom - 1]], mask)]
