"""A few strokes on an object and beside it -> its mask, by OpenCV's GrabCut."""

import numpy as np

from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.images.labelled import check_photo
from crnet_tf.images.mask_values import BACKGROUND, FOREGROUND, MASK_VALUES, VOID

LONGEST = 480  # px of the longer side of what GrabCut looks at
ROUNDS = 5
_TOUCHED = 0.2  # share of a smaller pixel from which on a stroke is on it


def grown(image: np.ndarray, strokes: np.ndarray) -> np.ndarray:
    """The mask uint8 [H,W], 0 and 1, that strokes stand for.

    Args:
        image: uint8 [H,W,3] RGB.
        strokes: uint8 [H,W]: 1 on the object, 0 beside it, 255 where nothing was painted and
            nothing is known. Without a 0, the photo's border is beside it.

    Raises:
        InputError: another size or other values, or no stroke on the object.
        BlockedError: OpenCV is missing.
    """
    cv2 = _opencv()
    _check(image, strokes)
    height, width = strokes.shape
    scale = min(1, LONGEST / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))

    def touched(value):
        share = np.float32(strokes == value)
        return cv2.resize(share, size, interpolation=cv2.INTER_AREA) > _TOUCHED

    known = np.full(size[::-1], cv2.GC_PR_BGD, np.uint8)
    on, beside = touched(FOREGROUND), touched(BACKGROUND)
    if not beside.any():
        beside[[0, -1]] = beside[:, [0, -1]] = True
    known[beside], known[on] = cv2.GC_BGD, cv2.GC_FGD
    if on.any() and (known != cv2.GC_FGD).any():
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.setRNGSeed(0)  # the same strokes give the same mask
        cv2.grabCut(small, known, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    inside = np.float32((known == cv2.GC_FGD) | (known == cv2.GC_PR_FGD))
    mask = np.uint8(cv2.resize(inside, (width, height)) > 0.5)
    return np.where(strokes == VOID, mask, strokes)


def _opencv():
    try:
        import cv2
    except ModuleNotFoundError as missing:
        raise BlockedError(
            f"grown: expected OpenCV, received none ({missing}). "
            "Install the extra: pip install 'crnet-tf[serve]'"
        ) from None
    return cv2


def _check(image, strokes):
    check_photo(image, "photo")
    if strokes.shape != image.shape[:2] or strokes.dtype != np.uint8:
        raise InputError(
            f"strokes: expected uint8 {list(image.shape[:2])}, as large as the photo, received "
            f"{strokes.dtype} {list(strokes.shape)}."
        )
    values = np.unique(strokes)
    if FOREGROUND not in values or not MASK_VALUES.issuperset(values.tolist()):
        raise InputError(
            "strokes: expected 1 on the object, 0 beside it and 255 elsewhere, received the "
            f"values {values[:10].tolist()}. Paint over a part of the object."
        )
