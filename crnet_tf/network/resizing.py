"""The aligned resize: corners on corners, as `align_corners=True` of PyTorch.

resize_align_corners, resize_area   sizes known when the graph is built; keras.ops, exact,
                                    differentiable and portable to every runtime
bilinear, nearest                   of TensorFlow, which JAX runs do not load: also sizes
                                        known only at run time
"""

import numpy as np
from keras import ops

from crnet_tf.images.aligned import nearest_pixels


def interpolation_matrix(size: int, new_size: int) -> np.ndarray:
    """Bilinear weights float32 [new_size, size] of one axis, corners on corners.

    Source pixel of output pixel i is i (size-1)/(new_size-1), as `align_corners=True` of
    PyTorch, which the field's code uses throughout.
    """
    position = np.linspace(0, size - 1, new_size)
    distance = np.abs(position[:, None] - np.arange(size)[None, :])
    return np.maximum(0, 1 - distance).astype("float32")


def area_matrix(size: int, new_size: int) -> np.ndarray:
    """Weights float32 [new_size, size] of one axis: mean over what each new pixel covers."""
    edges = np.linspace(0, size, new_size + 1)[:, None]
    pixels = np.arange(size)
    covered = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return (np.maximum(0, covered) * new_size / size).astype("float32")


def resize_area(images, size: tuple[int, int]):
    """Resize [...,h,w,C] -> [...,H,W,C] by area, as `tf.image.resize(..., "area")`."""
    return _resize(images, size, area_matrix)


def resize_align_corners(images, size: tuple[int, int]):
    """Bilinear resize [...,h,w,C] -> [...,H,W,C] with aligned corners."""
    return _resize(images, size, interpolation_matrix)


def bicubic_matrix(size: int, new_size: int) -> np.ndarray:
    """Bicubic weights float32 [new_size, size] of one axis, edges on edges, as PyTorch's
    `interpolate(mode="bicubic")`: Keys' kernel with a = -0.75, the border repeated."""
    position = (np.arange(new_size) + 0.5) * size / new_size - 0.5
    first = np.floor(position).astype(int)
    weights = np.zeros((new_size, size))
    for step in (-1, 0, 1, 2):
        pixel = np.clip(first + step, 0, size - 1)
        np.add.at(weights, (np.arange(new_size), pixel), _keys(position - (first + step)))
    return weights.astype("float32")


def _keys(distance, a=-0.75):
    d = np.abs(distance)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    return np.where(d <= 1, near, a * (d**3 - 5 * d**2 + 8 * d - 4))


def resize_bicubic(images, size: tuple[int, int]):
    """Bicubic resize [...,h,w,C] -> [...,H,W,C], edges on edges."""
    return _resize(images, size, bicubic_matrix)


def mean_around(images, reach: int):
    """Mean over the pixels up to `reach` rows and columns away, itself too, of [...,h,w,C]."""
    for axis in (-3, -2):
        pixels = np.arange(images.shape[axis])
        near = np.float32(np.abs(pixels[:, None] - pixels) <= reach)
        images = _along(images, axis, near / near.sum(axis=1, keepdims=True))
    return images


def between(cells, size: tuple[int, int]):
    """Every other cell [B,h',w',F] -> all [B,h,w,F]; the last of an even number repeats the
    one before."""
    odd = tuple(2 * side - 1 for side in cells.shape[1:3])
    missing = [[0, whole - side] for whole, side in zip(size, odd, strict=True)]
    resized = resize_align_corners(cells, odd)
    return ops.pad(resized, [[0, 0], *missing, [0, 0]], mode="symmetric")


def _resize(images, size, matrix):
    """Two matrix products, one an axis."""
    for axis, new in zip((-3, -2), size, strict=True):
        if images.shape[axis] != new:
            images = _along(images, axis, matrix(images.shape[axis], new))
    return images


def _along(images, axis, weights):
    """Weights [new,old] applied along an axis of `old` pixels."""
    weights = ops.convert_to_tensor(weights, dtype=images.dtype)
    # A plain 2-D product: a batched one (einsum) crashes oneDNN at some sizes.
    return ops.moveaxis(ops.tensordot(images, weights, axes=[[axis], [1]]), -1, axis)


def bilinear(images, size):
    """float32 [N,h,w,C] -> [N,H,W,C] with aligned corners, of sizes that may be tensors.

    TensorFlow's own operation, but in a graph of fixed sizes, which may be bound for another
    runtime: ONNX's may miss by a pixel.
    """
    from crnet_tf.data import resizing  # of TensorFlow

    if _fixed(images, size):
        return resize_align_corners(images, size)
    return resizing.bilinear(images, size)


def nearest(masks, size):
    """uint8 [N,h,w,1] -> [N,H,W,1] with aligned corners, of sizes that may be tensors."""
    import tensorflow as tf

    from crnet_tf.data import resizing

    if not _fixed(masks, size):
        return resizing.nearest(masks, size)
    for axis, new in zip((1, 2), size, strict=True):
        old = masks.shape[axis]
        if old != new:  # no runtime but TensorFlow has such an operation for uint8
            masks = tf.gather(masks, nearest_pixels(old, new), axis=axis)
    return masks


def _fixed(images, size):
    """Whether a graph is traced that fixes the sizes before and after."""
    import tensorflow as tf

    sides = *images.shape[1:3], *size
    return not tf.executing_eagerly() and all(isinstance(side, int) for side in sides)
