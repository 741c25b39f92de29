"""Photos, masks and maps at another size, corners on corners, by TensorFlow's operations.

A network resizes by `network/resizing.py`, which every backend of Keras has.
"""

import tensorflow as tf


def bilinear(images, size):
    """[B,h,w,C] -> float32 [B,H,W,C]; `size` is (H, W), a tensor where known only then."""
    return tf.raw_ops.ResizeBilinear(images=images, size=size, align_corners=True)


def nearest(masks, size):
    """uint8 [B,h,w,1] -> [B,H,W,1] of the nearest pixels, without new values."""
    return tf.raw_ops.ResizeNearestNeighbor(images=masks, size=size, align_corners=True)


def resize_image(image, size: int | tuple[int, int]):
    """[h,w,3] -> float32 [H,W,3], bilinear; `size` is (H, W), or the side of a square."""
    height, width = _sides(size)
    return tf.ensure_shape(bilinear(image[None], (height, width))[0], [height, width, 3])


def resize_mask(mask, size: int | tuple[int, int]):
    """[h,w,1] -> uint8 [H,W,1], as `nearest`; `size` as above."""
    pixels = tf.cast(mask[..., 0], tf.uint8)
    sides = _sides(size)
    for axis, length in enumerate(sides):
        step = tf.cast(tf.shape(mask)[axis] - 1, tf.float32) / max(length - 1, 1)
        chosen = tf.cast(tf.range(length, dtype=tf.float32) * step + 0.5, tf.int32)
        # Whole rows, then whole columns as rows: a third of ResizeNearestNeighbor's time.
        pixels = tf.transpose(tf.gather(pixels, chosen))
    return tf.ensure_shape(pixels[..., None], [*sides, 1])


def _sides(size):
    return (size, size) if isinstance(size, int) else tuple(size)
