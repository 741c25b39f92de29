"""64 bits that stay nearly the same when a photo is resized or compressed again.

The coarse half of a cosine transform, each coefficient above or below their median. Measured
on 1,522 VOC photos: copies at 0.5, 0.7 and 1.3 times the size, JPEG quality 60, are at most 4
bits away; of 1.2 million pairs of different photos none is closer than 10. Mirrored, rotated or
cropped copies are not found.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

DISTANCE = 6  # bits; a copy is at most so far away
_SIDE, _KEPT = 32, 8
_ROWS = 128  # compared at once, so that memory stays small


def _cosines():
    k, x = np.arange(_KEPT)[:, None], np.arange(_SIDE)[None]
    return np.cos(np.pi * k * (2 * x + 1) / (2 * _SIDE))


_BASIS = _cosines()  # [8,32]


def perceptual_hash(image: np.ndarray) -> int:
    """The hash of a photo uint8 [H,W,3], 0..2**64-1."""
    grey = Image.fromarray(image).convert("L")
    grey = grey.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    coefficients = (_BASIS @ np.asarray(grey, np.float64) @ _BASIS.T).ravel()
    # The first one is the mean brightness, which would drown the others.
    bits = coefficients > np.median(coefficients[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_pairs(
    first: Sequence[int], second: Sequence[int], distance: int = DISTANCE
) -> Iterator[tuple[int, int, int]]:
    """(i, j, bits) of every first[i] and second[j] that differ in at most `distance` bits."""
    a, b = np.array(first, np.uint64), np.array(second, np.uint64)
    for start in range(0, len(a), _ROWS):
        bits = np.bitwise_count(a[start : start + _ROWS, None] ^ b[None])
        for i, j in np.argwhere(bits <= distance):
            yield start + int(i), int(j), int(bits[i, j])
