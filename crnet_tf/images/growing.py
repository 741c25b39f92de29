"""A few strokes on an object and beside it -> its mask, by OpenCV's GrabCut; or strokes that
correct a mask."""

import numpy as np

from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.images.labelled import check_photo
from crnet_tf.images.mask_values import BACKGROUND, FOREGROUND, MASK_VALUES, VOID

LONGEST = 480  # px of the longer side of what GrabCut looks at
ROUNDS = 5
_TOUCHED = 0.2  # share of a smaller pixel from which on a stroke is on it


def grown(image: np.ndarray, strokes: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """The mask uint8 [H,W], 0 and 1, that strokes stand for.

    Args:
        image: uint8 [H,W,3] RGB.
        strokes: uint8 [H,W]: 1 on the object, 0 beside it, 255 where nothing was painted and
            nothing is known. Without a 0 and a mask, the photo's border is beside it.
        mask: uint8 [H,W], 0 and 1, that the strokes correct. Of it, only pieces change that
            touch a stroke; all the rest is right.

    Raises:
        InputError: another size or other values, or neither a mask nor a stroke on the object.
        BlockedError: OpenCV is missing.
    """
    cv2 = _opencv()
    before = np.zeros_like(strokes) if mask is None else mask
    _check(image, strokes, before)
    height, width = strokes.shape
    scale = min(1, LONGEST / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))

    def share(where):
        return cv2.resize(np.float32(where), size, interpolation=cv2.INTER_AREA)

    on, beside = (share(strokes == value) > _TOUCHED for value in (FOREGROUND, BACKGROUND))
    if not beside.any() and not before.any():
        beside[[0, -1]] = beside[:, [0, -1]] = True
    known = np.where(share(before) > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    known[beside], known[on] = cv2.GC_BGD, cv2.GC_FGD
    is_on = np.isin(known, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if is_on.any() and not is_on.all():
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.setRNGSeed(0)  # the same strokes give the same mask
        cv2.grabCut(small, known, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    inside = np.float32((known == cv2.GC_FGD) | (known == cv2.GC_PR_FGD))
    after = np.uint8(cv2.resize(inside, (width, height)) > 0.5)
    after = np.where(strokes == VOID, after, strokes)
    return _touched(before, after, strokes) if before.any() else after


def _touched(before, after, strokes):
    """A mask with those of its changes that touch a stroke of their own kind."""
    from scipy import ndimage

    result = before.copy()
    for value in (FOREGROUND, BACKGROUND):
        pieces, _ = ndimage.label((before != after) & (after == value), np.ones((3, 3)))
        near = ndimage.binary_dilation(strokes == value, np.ones((3, 3)))
        result[np.isin(pieces, np.setdiff1d(pieces[near], 0))] = value
    return result


def _opencv():
    try:
        import cv2
    except ModuleNotFoundError as missing:
        raise BlockedError(
            f"grown: expected OpenCV, received none ({missing}). "
            "Install the extra: pip install 'crnet-tf[serve]'"
        ) from None
    return cv2


def _check(image, strokes, mask):
    check_photo(image, "photo")
    for name, one in (("strokes", strokes), ("mask", mask)):
        if one.shape != image.shape[:2] or one.dtype != np.uint8:
            raise InputError(
                f"{name}: expected uint8 {list(image.shape[:2])}, as large as the photo, "
                f"received {one.dtype} {list(one.shape)}."
            )
    if not {BACKGROUND, FOREGROUND}.issuperset(np.unique(mask).tolist()):
        raise InputError(f"mask: expected 0 and 1, received {np.unique(mask)[:10].tolist()}.")
    values = np.unique(strokes)
    something = FOREGROUND in values or mask.any()
    if not something or not MASK_VALUES.issuperset(values.tolist()):
        raise InputError(
            "strokes: expected 1 on the object, 0 beside it and 255 elsewhere, received the "
            f"values {values[:10].tolist()}. Paint over a part of the object."
        )
