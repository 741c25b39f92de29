"""Augmentation in keras.ops, many photos at once: the twin of `episodes.flip_scale_crop`.

Photos lie in canvases of one size (`photo_pack.canvases`). The window that an output shows is
given by the source position of each of its rows and columns, so that flip, scale, crop and
resize are one bilinear sampling: the same pixels as TensorFlow's, from the same random numbers.
"""

from keras import ops

from crnet_tf.folds import VOID

MAX_SCALE = 1.5  # CANet resizes the support to 1..1.5 times the crop


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
    label = ops.cast(canvases["label"], "int32")
    foreground = ops.equal(label, ops.reshape(ops.cast(values, "int32"), (-1, 1, 1)))
    mask = ops.where(label == VOID, VOID, ops.cast(foreground, "int32"))  # [B,P,P]
    whole = _window(canvases["size"], ops.zeros_like(draws), out_size)
    window = whole
    if augment:
        window = _window(canvases["size"], draws, out_size)
        flip = draws[:, 0] < 0.5
        # A crop that lost the whole object is given up for the uncropped photo.
        kept = ops.any(_nearest(mask, window, flip, canvases["size"]) == 1, axis=(1, 2))
        kept = ops.reshape(kept, (-1, 1))
        window = [ops.where(kept, a, b) for a, b in zip(window, whole, strict=True)]
    else:
        flip = ops.zeros_like(draws[:, 0]) > 0
    image = _bilinear(canvases["image"], window, flip, canvases["size"])
    mask = _nearest(mask, window, flip, canvases["size"])
    return image, ops.cast(mask, "uint8")[..., None]


def _window(size, draws, out_size):
    """Source positions [B,S] of output rows and columns, in the flipped photo."""
    scaled = ops.round(out_size * (1 + (MAX_SCALE - 1) * draws[:, 1]))  # [B]
    pixel = ops.arange(out_size, dtype="float32")
    positions = []
    for axis in (0, 1):
        start = ops.floor(draws[:, 2 + axis] * (scaled - out_size + 1))
        step = (ops.cast(size[:, axis], "float32") - 1) / (scaled - 1)
        positions.append((start[:, None] + pixel) * step[:, None])
    return positions


def _mirrored(columns, flip, size):
    """Columns of the flipped photo -> those of the photo."""
    last = ops.cast(size[:, 1:], columns.dtype) - 1  # [B,1]
    return ops.where(flip[:, None], last - columns, columns)


def _bilinear(images, window, flip, size):
    """[B,P,P,3] at rows x columns of a window, as two matrix products: [B,S,S,3]."""
    rows, columns = window
    side = ops.arange(images.shape[1], dtype="float32")
    across, down = (
        ops.maximum(0.0, 1 - ops.absolute(at[..., None] - side))  # [B,S,P]
        for at in (_mirrored(columns, flip, size), rows)
    )
    images = ops.cast(images, "float32")
    narrow = ops.einsum("bjq,bpqc->bpjc", across, images)
    return ops.einsum("bip,bpjc->bijc", down, narrow)


def _nearest(masks, window, flip, size):
    """[B,P,P] at the nearest pixels of a window: [B,S,S]."""
    rows, columns = (ops.cast(ops.floor(at + 0.5), "int32") for at in window)
    columns = _mirrored(columns, flip, size)
    masks = ops.take_along_axis(masks, rows[:, :, None], axis=1)
    return ops.take_along_axis(masks, columns[:, None, :], axis=2)
