"""Masks of objects in COCO's annotation format.

Every number is checked before it reaches pycocotools, whose C code crashes on coordinates that
are no finite numbers and shows uninitialised memory where run lengths do not fill a mask.
"""

import math
import types
from typing import NamedTuple

import numpy as np

from crnet_tf.common.errors import BlockedError, InputError

FARTHEST = 16  # times the photo's longer side: no annotation lies beyond


class Drawn(NamedTuple):
    """An object: bool mask [h,w] of the box [top : top + h, left : left + w] of a photo."""

    top: int
    left: int
    mask: np.ndarray  # by columns in memory, as COCO's are

    @property
    def box(self) -> tuple[slice, slice]:
        """Where on the photo the mask lies."""
        (height, width), top, left = self.mask.shape, self.top, self.left
        return slice(top, top + height), slice(left, left + width)


def pycocotools_mask() -> types.ModuleType:
    """The module `pycocotools.mask`, or RuntimeError that says how to install it."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise BlockedError(
            "COCO's format: expected the package pycocotools, which draws its polygons, "
            "received none. Install it: pip install 'crnet-tf[coco]'."
        ) from error
    return mask


def draw_object(segmentation: list | dict, height: int, width: int) -> Drawn:
    """What a segmentation in COCO's format covers of a photo.

    Args:
        segmentation: polygons [[x, y, x, y ...], ...], cut off at the photo's border, or run
            lengths {"size": [H, W], "counts": list or packed text}, or a list of such.

    Raises:
        ValueError: it is neither, lies absurdly far away, or does not fill the photo.
        RuntimeError: pycocotools is not installed.
    """
    if isinstance(segmentation, dict):
        return Drawn(0, 0, _from_runs(segmentation, height, width))
    if not isinstance(segmentation, list):
        raise InputError(
            f"expected polygons or run lengths, received {type(segmentation).__name__}"
        )
    if segmentation and all(isinstance(part, dict) for part in segmentation):
        masks = [_from_runs(part, height, width) for part in segmentation]
        return Drawn(0, 0, np.logical_or.reduce(masks))
    polygons = [_checked(polygon, height, width) for polygon in segmentation]
    polygons = [polygon for polygon in polygons if len(polygon) >= 6]  # a line has no area
    if not polygons:
        return Drawn(0, 0, np.zeros((0, 0), bool))
    # In the box around them: most objects are far smaller than their photo.
    corners = np.concatenate(polygons).reshape(-1, 2)
    lowest, highest = corners.min(axis=0), corners.max(axis=0)
    left, across = _span(lowest[0], highest[0], width)
    top, down = _span(lowest[1], highest[1], height)
    if not across * down:
        return Drawn(top, left, np.zeros((down, across), bool))
    moved = [(polygon.reshape(-1, 2) - (left, top)).ravel().round(6) for polygon in polygons]
    mask = pycocotools_mask()
    runs = mask.merge(mask.frPyObjects(moved, down, across))
    return Drawn(top, left, mask.decode(runs).view(bool))  # 0 and 1


def _span(lowest, highest, size):
    """First one and number of the pixels around these coordinates, of 0..size-1."""
    first = min(max(math.floor(lowest), 0), size)
    end = min(max(math.ceil(highest) + 1, 0), size)
    return first, end - first


def _checked(polygon, height, width):
    polygon = np.asarray(polygon, float)
    farthest = FARTHEST * max(height, width)
    # Not "any beyond": a NaN is neither beyond nor within.
    if polygon.ndim != 1 or len(polygon) % 2 or not (np.abs(polygon) <= farthest).all():
        raise InputError(
            f"expected polygons [x, y, x, y ...] in px of a photo of {width}x{height}, "
            f"received {np.array2string(polygon.ravel(), threshold=6)}"
        )
    return polygon


def _from_runs(segmentation, height, width):
    """Run lengths count pixels down the columns: background, object, background ..."""
    counts = segmentation["counts"]
    if isinstance(counts, str) and counts.startswith("b'"):
        # Bytes that a program wrote as Python shows them.
        counts = counts[2:].removesuffix("'").replace("\\\\", "\\")
    if isinstance(counts, str | bytes):
        counts = _unpacked_counts(counts.encode() if isinstance(counts, str) else counts)
    possible = all(0 <= count <= height * width for count in counts)
    if not (
        possible
        and sum(counts) == height * width
        and list(segmentation["size"]) == [height, width]
    ):
        raise InputError(
            f"expected run lengths that fill {[height, width]}, received {len(counts)} of size "
            f"{segmentation['size']} and sum {sum(counts)}"
        )
    runs = np.arange(len(counts)) % 2 == 1
    return np.repeat(runs, counts).reshape(width, height).T


def _unpacked_counts(packed):
    """Numbers of 5 bits a byte, lowest first; from the third on, minus the last but one."""
    counts, value, shift = [], 0, 0
    for byte in packed:
        bits = byte - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    return counts


def run_lengths(mask: np.ndarray) -> dict:
    """The segmentation {"size": [H, W], "counts": packed text} of a mask bool [H,W]."""
    pixels = np.pad(mask.T.ravel(), (1, 0))  # background is counted first, maybe none
    turns = np.flatnonzero(pixels[1:] != pixels[:-1])
    counts = np.diff([0, *turns, mask.size]).tolist()
    return {"size": list(mask.shape), "counts": _packed_counts(counts)}


def _packed_counts(counts):
    """What `_unpacked_counts` reads, as text."""
    packed = bytearray()
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            packed.append(48 + (bits | 32 * more))
    return packed.decode()
