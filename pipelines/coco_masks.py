"""Masks of objects in COCO's annotation format.

Every number is checked before it reaches pycocotools, whose C code crashes on coordinates that
are no finite numbers and shows uninitialised memory where run lengths do not fill a mask.
"""

import types

import numpy as np

FARTHEST = 16  # times the photo's longer side: no annotation lies beyond


def pycocotools_mask() -> types.ModuleType:
    """The module `pycocotools.mask`, or RuntimeError that says how to install it."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise RuntimeError(
            "COCO's format: expected the package pycocotools, which draws its polygons, "
            "received none. Install it: pip install -e '.[coco]' (or pip install pycocotools)."
        ) from error
    return mask


def object_mask(segmentation: list | dict, height: int, width: int) -> np.ndarray:
    """bool [H,W] of a segmentation in COCO's format; by columns in memory, as COCO's are.

    Args:
        segmentation: polygons [[x, y, x, y ...], ...], cut off at the photo's border, or run
            lengths {"size": [H, W], "counts": list or packed text}.

    Raises:
        ValueError: it is neither, lies absurdly far away, or does not fill the photo.
        RuntimeError: pycocotools is not installed.
    """
    if isinstance(segmentation, dict):
        return _from_runs(segmentation, height, width)
    if not isinstance(segmentation, list):
        raise ValueError(
            f"expected polygons or run lengths, received {type(segmentation).__name__}"
        )
    polygons = [_checked(polygon, height, width) for polygon in segmentation]
    polygons = [polygon for polygon in polygons if len(polygon) >= 6]  # a line has no area
    if not polygons:
        return np.zeros((height, width), bool)
    mask = pycocotools_mask()
    runs = mask.merge(mask.frPyObjects(polygons, height, width))
    return mask.decode(runs).view(bool)  # 0 and 1


def _checked(polygon, height, width):
    polygon = np.asarray(polygon, float)
    farthest = FARTHEST * max(height, width)
    # Not "any beyond": a NaN is neither beyond nor within.
    if polygon.ndim != 1 or len(polygon) % 2 or not (np.abs(polygon) <= farthest).all():
        raise ValueError(
            f"expected polygons [x, y, x, y ...] in px of a photo of {width}x{height}, "
            f"received {np.array2string(polygon.ravel(), threshold=6)}"
        )
    return polygon.tolist()


def _from_runs(segmentation, height, width):
    """Run lengths count pixels down the columns: background, object, background ..."""
    counts = segmentation["counts"]
    if isinstance(counts, str | bytes):
        counts = _unpacked_counts(counts.encode() if isinstance(counts, str) else counts)
    possible = all(0 <= count <= height * width for count in counts)
    if not (
        possible
        and sum(counts) == height * width
        and list(segmentation["size"]) == [height, width]
    ):
        raise ValueError(
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
