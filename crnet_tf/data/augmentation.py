"""How training photos are varied: flipped, scaled, cropped, their colours rotated.

For one photo inside tf.data; `augmentation_on_device` does the same to a batch in keras.ops.
"""

import tensorflow as tf

from crnet_tf.data.augmentation_on_device import zoom
from crnet_tf.data.resizing import resize_image, resize_mask
from crnet_tf.images.mask_values import FOREGROUND


def flip_scale_crop(image, mask, size: int, seed, foreground=FOREGROUND):
    """CANet's augmentation, alike for photo and mask: flip, scale 1..1.5, random crop.

    What the crop would show of the scaled photo is cut out first, in whole pixels, and only
    that is resized. A crop that lost the whole object, the mask's value `foreground`, is given
    up for the uncropped photo.

    Returns:
        float32 [size,size,3], uint8 [size,size,1].
    """
    flip, scale, top, left = tf.unstack(tf.random.stateless_uniform([4], seed))
    whole = tf.shape(mask)[:2]
    shown = tf.cast(tf.round(tf.cast(whole, tf.float32) / zoom(scale)), tf.int32)
    room = tf.cast(whole - shown + 1, tf.float32)
    start = tf.cast(tf.stack([top, left]) * room, tf.int32)

    def flipped(pixels):
        return tf.cond(flip < 0.5, lambda: tf.reverse(pixels, [1]), lambda: pixels)

    def cut(pixels):
        begin, length = tf.concat([start, [0]], 0), tf.concat([shown, [-1]], 0)
        return flipped(tf.slice(pixels, begin, length))

    cropped = resize_mask(cut(mask), size)
    return tf.cond(
        tf.reduce_any(cropped == foreground),
        lambda: (resize_image(cut(image), size), cropped),
        lambda: (resize_image(flipped(image), size), resize_mask(flipped(mask), size)),
    )


def rotate_colours(episode: dict, seed) -> dict:
    """One random rotation (or reflection) of RGB about mid-grey for a whole episode."""
    rotation, _ = tf.linalg.qr(tf.random.stateless_normal([3, 3], seed))

    def rotate(image):
        return tf.clip_by_value(tf.tensordot(image - 127.5, rotation, 1) + 127.5, 0, 255)

    images = {key: rotate(episode[key]) for key in ("support_image", "query_image")}
    return episode | images
