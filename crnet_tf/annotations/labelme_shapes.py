"""Shapes of Labelme's JSON files: read, checked, ordered, drawn."""

import base64
import io
import math
import re
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from crnet_tf.annotations.coco_masks import FARTHEST
from crnet_tf.common.errors import InputError
from crnet_tf.images.opening import DECODE_ERRORS

# Kinds with an area; "rotation" is a turned rectangle of X-AnyLabeling.
FEWEST_POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2, "rotation": 4}
_NUMBERED = re.compile(r"(.+?)-\d+")


class Shape(NamedTuple):
    """One shape of a file."""

    label: str  # without white space around it; "" where there is none
    kind: str
    points: np.ndarray  # [n,2] x, y in px
    mask: np.ndarray | None  # bool [h,w] of kind mask, from its first point on

    @property
    def outline(self) -> Any:
        """What `draw` takes."""
        return self.points if self.mask is None else (self.points[0], self.mask)

    @property
    def box(self) -> np.ndarray:
        """[left, top, right, bottom] in px."""
        lowest, highest = self.points.min(axis=0), self.points.max(axis=0)
        if self.kind == "circle":
            radius = math.dist(*self.points[:2])
            lowest, highest = self.points[0] - radius, self.points[0] + radius
        return np.concatenate([lowest, highest])

    @property
    def area(self) -> float:
        """px that the shape covers."""
        if self.mask is not None:
            return float(np.count_nonzero(self.mask))
        if self.kind == "circle":
            return math.pi * math.dist(*self.points[:2]) ** 2
        left, top, right, bottom = self.box
        if self.kind == "rectangle":
            return float((right - left) * (bottom - top))
        x, y = (self.points - self.points[0]).T
        return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def read_shape(given: dict) -> Shape:
    """A shape of the file. Raises one of `listing.MALFORMED` where it is none."""
    label, kind = given["label"], str(given.get("shape_type") or "polygon")
    # An array, as a large set has millions: a seventh of the memory of tuples.
    points = np.array([(float(x), float(y)) for x, y in given["points"]]).reshape(-1, 2)
    mask = _mask(given["mask"]) if kind == "mask" else None
    return Shape("" if label is None else str(label).strip(), kind, points, mask)


def check_shape(shape: Shape, size: tuple[int, int], path) -> None:
    """Raises InputError for a shape that cannot be drawn on a photo of (width, height) px."""
    fewest = FEWEST_POINTS.get(shape.kind, 0)
    if len(shape.points) < fewest or not np.isfinite(shape.points).all():
        raise InputError(
            f"{path}: expected a {shape.kind} of at least {fewest} points, received "
            f"{shape.label!r} with {len(shape.points)}. Draw it again, or remove it."
        )
    # Pillow would overflow.
    if shape.points.size and not np.abs(shape.points).max() <= FARTHEST * max(size):
        raise InputError(
            f"{path}: expected shapes in px of a photo of {size[0]}x{size[1]}, received "
            f"{shape.label!r} up to {np.abs(shape.points).max():.0f}. Draw it again, or remove "
            "it."
        )
    if shape.mask is not None:
        across, down = np.ptp(shape.points[:2], axis=0) + 1
        if max(abs(shape.mask.shape[1] - across), abs(shape.mask.shape[0] - down)) > 1:
            raise InputError(
                f"{path}: expected a mask of the size of its box, {across:.0f}x{down:.0f}, "
                f"received {shape.label!r} with {shape.mask.shape[1]}x{shape.mask.shape[0]}. "
                "Draw it again, or remove it."
            )


def is_outside(shape: Shape, size: tuple[int, int]) -> bool:
    """Whether a shape covers no pixel of a photo of (width, height) px."""
    left, top, right, bottom = shape.box
    outside = right < 0 or bottom < 0 or left >= size[0] or top >= size[1]
    return bool(outside or (shape.mask is not None and not shape.mask.any()))


def in_front_last(shapes: list[Shape]) -> tuple[list[Shape], int]:
    """The shapes from the largest to the smallest, so that a small one stands in front of a
    large one; and how many a larger one of another label, drawn later, would have covered."""
    covered = sum(
        any(_covers(later, shape) for later in shapes[number + 1 :])
        for number, shape in enumerate(shapes)
    )
    return sorted(shapes, key=lambda shape: -shape.area), covered


def instances(labels: set[str]) -> dict[str, str]:
    """{label: class} of labels such as cup-1 and cup-2, or cup-2 beside cup: instances of cup.

    A single label with a number, such as covid-19, is a class of its own.
    """
    numbered = {}
    for label in sorted(labels):
        if found := _NUMBERED.fullmatch(label):
            numbered.setdefault(found[1], []).append(label)
    return {
        label: name
        for name, of_it in numbered.items()
        if len(of_it) > 1 or name in labels
        for label in of_it
    }


def draw(size: tuple[int, int], shapes) -> np.ndarray:
    """Label map uint8 [H,W] of a photo of (width, height) px.

    Args:
        shapes: (value, kind, outline) each, drawn in this order.
    """
    image = Image.new("L", size)
    canvas = ImageDraw.Draw(image)
    for value, kind, points in shapes:
        if kind in ("polygon", "rotation"):
            canvas.polygon(points.ravel().tolist(), fill=value, outline=value)
        elif kind == "rectangle":
            # Two opposite corners, or all four, as X-AnyLabeling writes.
            box = [*points.min(axis=0), *points.max(axis=0)]
            canvas.rectangle(box, fill=value, outline=value)
        elif kind == "mask":
            (x, y), mask = points
            image.paste(value, (round(x), round(y)), Image.fromarray(mask))
        else:
            (x, y), rim = points[:2].tolist()
            radius = math.dist((x, y), rim)
            canvas.ellipse([x - radius, y - radius, x + radius, y + radius], fill=value)
    return np.array(image)


def _mask(encoded):
    """bool [h,w] of a PNG in base64."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as image:
            return np.array(image.convert("L")) > 0
    except (*DECODE_ERRORS, Image.DecompressionBombError) as error:
        raise ValueError(f"a mask that is no PNG in base64: {error}") from error


def _covers(later, shape):
    lower, upper = later.box, shape.box
    inside = (lower[:2] <= upper[:2]).all() and (lower[2:] >= upper[2:]).all()
    return bool(inside and later.area > shape.area and later.label != shape.label)
