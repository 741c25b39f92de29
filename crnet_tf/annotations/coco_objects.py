"""Objects of COCO's format as tools really write them: which can be drawn, and what is odd.

A segmentation is read where its meaning is certain; otherwise it is no object, and `Unusable`
says of what kind it is.
"""

from typing import Any, NamedTuple

import numpy as np

from crnet_tf.annotations.coco import Annotation
from crnet_tf.annotations.coco_masks import Drawn, draw_object
from crnet_tf.annotations.listing import MALFORMED

NONE = "without a segmentation"
FEW_CORNERS = "with polygons of fewer than 3 corners"
OTHER_SIZE = "with run lengths of another size than their photo"
UNREADABLE = "with a segmentation that is neither polygons nor run lengths"
NO_PIXEL = "that cover no pixel of their photo"
BEYOND = 0.1  # of a photo's side: no outline of its own reaches farther out
_LEAST_BEYOND, _ROUNDING, _SHARE = 8, 3, 0.1


class Given(NamedTuple):
    """An object as the file has it."""

    id: Any
    category_id: Any
    segmentation: Any
    crowd: bool
    bbox: Any
    area: Any


class Unusable(Exception):
    """A segmentation that is no object; the text says of what kind."""


class Beyond(Exception):
    """An outline that reaches far beyond its photo; the text says how far."""


def usable(given: Given, height: int, width: int) -> tuple[Annotation, bool]:
    """An object of a photo of this size in px, and whether its bbox and area are its mask's.

    Raises:
        Unusable, Beyond: it is none, or may be of another photo.
    """
    try:
        shape = _shape(given.segmentation, height, width)
        drawn = draw_object(shape, height, width)
    except MALFORMED as error:
        raise Unusable(UNREADABLE) from error
    if not drawn.mask.any():
        raise Unusable(NO_PIXEL if isinstance(shape, list) else NONE)
    agrees = _box_agrees(drawn, given.bbox) and _area_agrees(drawn, given.area)
    return Annotation(given.id, given.category_id, shape, given.crowd), agrees


def _shape(segmentation, height, width):
    """Polygons [x, y, x, y ...] or run lengths, as `draw_object` takes them."""
    if isinstance(segmentation, dict) and segmentation:
        segmentation = [segmentation]
    if segmentation is not None and not isinstance(segmentation, list | dict):
        raise Unusable(UNREADABLE)
    parts = [p for p in segmentation or () if isinstance(p, dict) or np.size(p)]
    if not parts:
        raise Unusable(NONE)
    if isinstance(parts[0], dict):
        if any(list(part["size"]) != [height, width] for part in parts):
            raise Unusable(OTHER_SIZE)
        return parts if len(parts) > 1 else parts[0]
    polygons = [polygon for polygon in _polygons(parts) if len(polygon) >= 6]
    if not polygons:
        raise Unusable(FEW_CORNERS)
    _check_within(np.concatenate(polygons), height, width)
    return polygons


def _polygons(parts):
    """Flat arrays [x, y, x, y ...] of polygons, flat or of points, or of a single such list."""
    arrays = [np.asarray(part, float) for part in parts]
    if all(array.ndim == 0 for array in arrays):
        return [np.array(arrays)]
    if all(array.shape == (2,) for array in arrays):
        return [np.concatenate(arrays)]
    if any(array.size % 2 or array.ndim > 2 for array in arrays):
        raise Unusable(UNREADABLE)
    if any(array.ndim == 2 and array.shape[1] != 2 for array in arrays):
        raise Unusable(UNREADABLE)
    return [array.ravel() for array in arrays]


def _check_within(corners, height, width):
    if not np.isfinite(corners).all():
        raise Unusable(UNREADABLE)
    for values, size in ((corners[::2], width), (corners[1::2], height)):
        reach = max(BEYOND * size, _LEAST_BEYOND)
        if values.min() < -reach or values.max() > size + reach:
            x, y = corners[::2], corners[1::2]
            raise Beyond(f"x {x.min():.0f} to {x.max():.0f}, y {y.min():.0f} to {y.max():.0f}")


# === What the file says beside the mask ===


def _box_agrees(drawn: Drawn, bbox) -> bool:
    """Whether [x, y, width, height] lies around the mask; True where the file says nothing."""
    numbers = _numbers(bbox, 4)
    if numbers is None or not numbers.any():
        return True
    rows, columns = (np.flatnonzero(drawn.mask.any(axis=axis)) for axis in (1, 0))
    left, top = drawn.left + columns[0], drawn.top + rows[0]
    right, bottom = drawn.left + columns[-1] + 1, drawn.top + rows[-1] + 1
    found = np.array([left, top, right, bottom])
    said = numbers + [0, 0, numbers[0], numbers[1]]
    allowed = np.maximum(_ROUNDING, _SHARE * np.array([right - left, bottom - top] * 2))
    return bool((np.abs(found - said) <= allowed).all())


def _area_agrees(drawn: Drawn, area) -> bool:
    """Whether the area is about the mask's; True where the file says nothing."""
    numbers = _numbers([area], 1)
    if numbers is None or numbers[0] <= 0:
        return True
    found = np.count_nonzero(drawn.mask)
    edge = 2 * sum(drawn.mask.shape)  # px that rounding may add or take
    return bool(abs(found - numbers[0]) <= max(2 * _SHARE * found, edge))


def _numbers(values, count):
    try:
        numbers = np.asarray(values, float)
    except (TypeError, ValueError):
        return None
    return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None
