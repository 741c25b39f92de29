"""Photos, masks and maps at another size, corners on corners, by NumPy alone.

The same as `data/resizing.py`, which does it by TensorFlow's operations.
"""

import numpy as np


def bilinear(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[B,h,w,C] -> float32 [B,H,W,C]; `size` is (H, W)."""
    images = images.astype(np.float32, copy=False)
    for axis, new in zip((1, 2), size, strict=True):
        low, high, share = _neighbours(images.shape[axis], new)
        share = share.reshape([-1 if a == axis else 1 for a in range(4)])
        first = images.take(low, axis)
        images = first + share * (images.take(high, axis) - first)
    return images


def nearest(mask: np.ndarray, size: int) -> np.ndarray:
    """[h,w] -> [S,S] of the nearest pixels, without new values."""
    rows, columns = (nearest_pixels(old, size) for old in mask.shape)
    return mask[rows][:, columns]


def nearest_pixels(old: int, new: int) -> np.ndarray:
    """int32 [new]: which of the old pixels of a side each new one is nearest to."""
    step = np.float32(old - 1) / np.float32(max(new - 1, 1))
    return np.int32(np.arange(new, dtype=np.float32) * step + np.float32(0.5))


def _neighbours(old, new):
    """Of each new pixel: the two old ones beside it, and how far it is on the way between."""
    step = np.float32(old - 1) / np.float32(max(new - 1, 1))
    place = np.arange(new, dtype=np.float32) * step
    low = np.minimum(np.int32(place), old - 1)
    return low, np.minimum(low + 1, old - 1), np.float32(place - low)
