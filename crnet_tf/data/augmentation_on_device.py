"""Augmentation of many photos at once in keras.ops: the twin of `augmentation.flip_scale_crop`.

Photos lie in canvases of one size (`photo_pack.canvases`). Flip, scale, crop and resize are one
bilinear sampling at the source positions of an output's rows and columns: the same pixels as
TensorFlow's, from the same random numbers.
"""

from typing import Any, NamedTuple

from keras import ops

from crnet_tf.images.mask_values import FOREGROUND, class_mask

MAX_SCALE = 1.5  # CANet resizes the support to 1..1.5 times the crop


class Window(NamedTuple):
    """The part of each photo that is shown."""

    start: Any  # [B,2] first row and column
    shown: Any  # [B,2] rows and columns
    flip: Any  # bool [B,1]: left to right


def zoom(draw):
    """How many times as large a photo is shown: a number in [0,1) -> 1..1.5."""
    return 1 + (MAX_SCALE - 1) * draw


def views(canvases: dict, values, draws, out_size: int, augment: bool) -> tuple:
    """Photos and masks as the network takes them.

    Args:
        canvases: `image` uint8 [B,P,P,3], `label` uint8 [B,P,P], `size` int32 [B,2].
        values: [B], what each label map says for the class that is foreground.
        draws: float32 [B,4], uniform in [0,1): flip, scale, top, left.
        augment: flip, scale and crop; off: only resize.

    Returns:
        float32 [B,S,S,3] RGB 0..255 and uint8 [B,S,S,1] in {0,1,255}.
    """
    values = ops.reshape(ops.cast(values, "uint8"), (-1, 1, 1))
    mask = class_mask(ops.convert_to_tensor(canvases["label"]), values, ops.where)  # [B,P,P]
    size = ops.cast(canvases["size"], "float32")
    window = Window(ops.zeros_like(size), size, ops.zeros_like(draws[:, :1]) > 0)
    if augment:
        shown = ops.round(size / zoom(draws[:, 1:2]))
        start = ops.floor(draws[:, 2:] * (size - shown + 1))
        crop = Window(start, shown, draws[:, :1] < 0.5)
        # A crop that lost the whole object is given up for the uncropped photo.
        kept = ops.any(_nearest(mask, crop, out_size) == FOREGROUND, axis=(1, 2))[:, None]
        window = Window(
            ops.where(kept, crop.start, window.start),
            ops.where(kept, crop.shown, window.shown),
            crop.flip,
        )
    image = _bilinear(canvases["image"], window, out_size)
    return image, _nearest(mask, window, out_size)[..., None]


def _positions(window, out_size, nearest):
    """Source rows [B,S] and columns [B,S] of the pixels of a window, corners on corners."""
    positions = []
    for axis in (0, 1):
        start, last = window.start[:, axis, None], window.shown[:, axis, None] - 1
        at = ops.arange(out_size, dtype="float32") * (last / (out_size - 1))
        if nearest:
            at = ops.floor(at + 0.5)
        if axis == 1:
            at = ops.where(window.flip, last - at, at)
        positions.append(start + at)
    return positions


def _bilinear(images, window, out_size):
    """[B,P,P,3] at rows x columns of a window, as two matrix products: [B,S,S,3]."""
    side = ops.arange(images.shape[1], dtype="float32")
    down, across = (
        ops.maximum(0.0, 1 - ops.absolute(at[..., None] - side))  # [B,S,P]
        for at in _positions(window, out_size, nearest=False)
    )
    images = ops.cast(images, "float32")
    narrow = ops.einsum("bjq,bpqc->bpjc", across, images)
    return ops.einsum("bip,bpjc->bijc", down, narrow)


def _nearest(masks, window, out_size):
    """[B,P,P] at the nearest pixels of a window: [B,S,S]."""
    rows, columns = (ops.cast(at, "int32") for at in _positions(window, out_size, nearest=True))
    masks = ops.take_along_axis(masks, rows[:, :, None], axis=1)
    return ops.take_along_axis(masks, columns[:, None, :], axis=2)
