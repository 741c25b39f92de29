"""Masks -> polygons of (x, y) px: (0, 0) is the photo's corner, and a pixel is one wide.

No format here holds holes in a polygon. A hole is joined with the ring around it by a cut that
is passed twice, so that one ring is left, of which every program fills the same area.
"""

from typing import NamedTuple

import numpy as np


class Course(NamedTuple):
    """Where a polygon runs."""

    level: float  # of a mask's 0 and 1
    shift: float  # px, to the right and down


# On the edges between pixels, as COCO's tools fill polygons.
EDGES = Course(0.5, 0.0)
# Through the outermost pixels, for programs that fill every pixel which a polygon touches
# (Labelme, OpenCV): a quarter from their corners, whether a program cuts or rounds numbers.
PIXELS = Course(1 - 1e-6, -0.25)
TOLERANCE = 0.3  # px that a simpler polygon may be away from the exact one


def polygons(mask: np.ndarray, course: Course = EDGES) -> list[np.ndarray]:
    """Polygons float [n,2], n >= 3, that cover a mask bool [h,w]: one a part, holes joined."""
    joined = []
    for outer, *holes in rings(mask, course.level):
        ring = _simplified(outer)
        for hole in sorted(map(_simplified, holes), key=lambda hole: hole[:, 0].min()):
            ring = _with_hole(ring, hole)
        joined.append(ring[:-1] + course.shift)
    return joined


def rings(mask: np.ndarray, level: float = EDGES.level) -> list[list[np.ndarray]]:
    """Of each part of a mask bool [h,w] the outer ring and those of its holes: float [n,2],
    whose last point is the first again."""
    from contourpy import FillType, contour_generator  # slow, and few ask for it

    padded = np.pad(mask.astype(float), 1)
    filled = contour_generator(z=padded, fill_type=FillType.OuterOffset).filled(level, np.inf)
    return [
        np.split(points - 0.5, offsets[1:-1].astype(int))
        for points, offsets in zip(*filled, strict=True)
    ]


def _simplified(ring):
    """The ring with fewer points, by Douglas and Peucker: none that is left out is farther
    from it than `TOLERANCE`."""
    kept = np.zeros(len(ring), bool)
    opposite = int(np.abs(ring - ring[0]).sum(axis=1).argmax())
    kept[[0, opposite, -1]] = True
    open_ends = [(0, opposite), (opposite, len(ring) - 1)]
    while open_ends:
        first, last = open_ends.pop()
        away = _distances(ring[first + 1 : last], ring[first], ring[last])
        if len(away) and away.max() > TOLERANCE:
            farthest = first + 1 + int(away.argmax())
            kept[farthest] = True
            open_ends += [(first, farthest), (farthest, last)]
    return ring[kept] if kept.sum() > 3 else ring


def _distances(points, start, end):
    """Of points [n,2] from the line through two others."""
    (x, y), (along_x, along_y) = (points - start).T, end - start
    length = np.hypot(along_x, along_y)
    return np.abs(x * along_y - y * along_x) / length if length else np.hypot(x, y)


def _with_hole(ring, hole):
    """A ring with a hole that is cut into from its leftmost point to the left.

    Holes come from left to right: whatever lies to the left of one is in the ring already.
    """
    hole = np.roll(hole[:-1], -hole[:-1, 0].argmin(), axis=0)
    (left, level), (x, y), (next_x, next_y) = hole[0], ring[:-1].T, ring[1:].T
    passing = np.flatnonzero((y <= level) != (next_y <= level))
    share = (level - y[passing]) / (next_y - y)[passing]
    met = x[passing] + share * (next_x - x)[passing]
    if not (met <= left).any():  # the two touch: simplified, they may cross
        nearest = np.hypot(*(ring[:-1] - hole[0]).T).argmin()
        return np.concatenate([ring[: nearest + 1], hole, hole[:1], ring[nearest:]])
    edge = np.where(met <= left, met, -np.inf).argmax()
    start, cut = passing[edge], np.array([[met[edge], level]])
    return np.concatenate([ring[: start + 1], cut, hole, hole[:1], cut, ring[start + 1 :]])
