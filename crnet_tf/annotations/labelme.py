"""Labelme: a JSON file of drawn shapes beside each photo.

Polygons, rectangles and circles are filled, later shapes over earlier ones; other kinds
(point, line, linestrip, mask ...) are left out and counted, as are photos without a JSON file.
The label `_background_` is background, `__ignore__` counts nowhere.
"""

import collections
import json
import math
import pathlib

import numpy as np
from PIL import Image, ImageDraw

from crnet_tf.annotations.coco_masks import FARTHEST
from crnet_tf.annotations.listing import (
    MALFORMED,
    PHOTO_SUFFIXES,
    Listing,
    PhotoFile,
    files_of,
    photo_name,
    text_in,
)
from crnet_tf.common.errors import InputError
from crnet_tf.images.label_files import check_size
from crnet_tf.images.mask_values import VOID, label_value

SPECIAL = {"_background_": 0, "__ignore__": VOID}
FEWEST_POINTS = {"polygon": 3, "rectangle": 2, "circle": 2}


def list_photos(source: pathlib.Path) -> Listing:
    """Photos of all JSON files below `source`; classes are the shapes' labels, sorted."""
    drawn, problems, left_out = [], [], collections.Counter()
    described = {}  # photo -> its JSON file
    for path in files_of(source, (".json",)):
        try:
            photo, size, shapes = _read(path)
        except (OSError, InputError) as error:
            problems.append(str(error))
            continue
        first = described.setdefault(photo.resolve(), path)
        if first != path:
            problems.append(
                f"{path}: expected a photo of its own, received {photo.name}, which {first} "
                "names too. Join the shapes in one of the two files."
            )
            continue
        filled = [shape for shape in shapes if shape[1] in FEWEST_POINTS]
        left_out.update(shape[1] for shape in shapes if shape[1] not in FEWEST_POINTS)
        drawn.append((photo_name(path, source), photo, size, filled))
    if not drawn and not problems:
        raise FileNotFoundError(
            f"{str(source)!r}: expected Labelme's JSON files, received none. Point --source "
            "to the folder that holds them."
        )
    names = sorted({label for *_, shapes in drawn for label, *_ in shapes} - SPECIAL.keys())
    ids = {name: i for i, name in enumerate(names, 1)}
    photos = []
    for name, photo, size, shapes in drawn:
        classes = tuple(sorted({ids[label] for label, *_ in shapes if label in ids}))
        values = SPECIAL | {label: label_value(c) for label, c in ids.items()}
        coloured = tuple((values[label], kind, points) for label, kind, points in shapes)
        photos.append(PhotoFile(name, photo, (size, coloured), classes))
    notes = [f"{n} shapes of kind {kind} left out." for kind, n in sorted(left_out.items())]
    named = {photo.resolve() for _, photo, *_ in drawn}
    bare = sum(path.resolve() not in named for path in files_of(source, PHOTO_SUFFIXES))
    notes += [f"{bare} photos without a usable JSON file; left out."] if bare else []
    return Listing(tuple(names), photos, problems, notes)


def read_label(photo: PhotoFile) -> np.ndarray:
    """Label map uint8 [H,W] of a photo, drawn from its shapes."""
    size, shapes = photo.label
    check_size(photo.path, size[::-1])
    image = Image.new("L", size)
    draw = ImageDraw.Draw(image)
    for value, kind, points in shapes:
        if kind == "polygon":
            draw.polygon(points.ravel().tolist(), fill=value, outline=value)
        elif kind == "rectangle":
            # Two opposite corners, or all four, as X-AnyLabeling writes.
            box = [*points.min(axis=0), *points.max(axis=0)]
            draw.rectangle(box, fill=value, outline=value)
        else:
            (x, y), rim = points[:2].tolist()
            radius = math.dist((x, y), rim)
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=value)
    return np.array(image)


def _read(path):
    """(photo file, (width, height), [(label, kind, points [n,2])]) of a JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        shapes = [
            (
                str(shape["label"]),
                str(shape.get("shape_type") or "polygon"),
                # An array, as a large set has millions: a seventh of the memory of tuples.
                np.array([(float(x), float(y)) for x, y in shape["points"]]).reshape(-1, 2),
            )
            for shape in content["shapes"]
        ]
        size = int(content["imageWidth"]), int(content["imageHeight"])
        photo = text_in(content, "imagePath")
    except MALFORMED as error:
        raise InputError(
            f"{path}: expected a JSON file of Labelme (shapes, imagePath, imageWidth, "
            f"imageHeight), received another ({type(error).__name__}: {error}). Save it again "
            "with Labelme, or leave it out."
        ) from error
    for label, kind, points in shapes:
        if len(points) < FEWEST_POINTS.get(kind, 0) or not np.isfinite(points).all():
            raise InputError(
                f"{path}: expected a {kind} of at least {FEWEST_POINTS.get(kind)} points, "
                f"received {label!r} with {len(points)}. Draw it again, or remove it."
            )
        # Pillow would overflow.
        if points.size and not np.abs(points).max() <= FARTHEST * max(size):
            raise InputError(
                f"{path}: expected shapes in px of a photo of {size[0]}x{size[1]}, received "
                f"{label!r} up to {np.abs(points).max():.0f}. Draw it again, or remove it."
            )
    return _photo_of(path, photo), size, shapes


def _photo_of(path, named):
    """The photo a JSON file names (relative to it, also as Windows writes it), or one beside it
    with its stem."""
    relative = pathlib.PurePosixPath(named.replace("\\", "/"))
    beside = [path.with_suffix(suffix) for suffix in PHOTO_SUFFIXES]
    for photo in (path.parent / relative, path.parent / relative.name, *beside):
        if photo.is_file():
            return photo
    raise FileNotFoundError(
        f"{path}: expected its photo {named!r} beside it, found none. Copy it there."
    )
