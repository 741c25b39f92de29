"""Answers -> PNG files, in graph code that an exported model takes along."""

import tensorflow as tf

from crnet_tf.fewshot.answers import restored
from export.graph import decode


def png_files(
    maps, sizes, threshold: float, mask_scale: int, photos=None, max_pixels=0, there=None
):
    """Answers as PNG files: maps [B,s,s,N] of each test scale, int32 [B,2] heights and widths.

    Args:
        mask_scale: what the classes 1..N of the mask are multiplied with.
        photos: strings [B], files of the photos whose edges are followed; None: smooth ones.
        max_pixels: see `decode.photo`.
        there: bool [B,N], the classes that the mask may show; default: all.

    Returns:
        Masks: strings [B]; probabilities in 0..255: strings [B,N].
    """
    count = maps[0].shape[-1]
    if there is None:
        there = tf.ones([tf.shape(sizes)[0], count], tf.bool)

    def one(element):
        maps, size, there, *file = element
        photo = decode.photo(*file, max_pixels)[None] if file else None
        mask, files = _files(maps, size, there, photo, threshold)
        return _png(mask * tf.constant(mask_scale, tf.uint8)), files

    specs = tf.TensorSpec([], tf.string), tf.TensorSpec([count], tf.string)
    # One after the other: a batch of large photos holds one of them at its full size.
    elements = (tuple(maps), sizes, there, *([] if photos is None else [photos]))
    return tf.map_fn(one, elements, fn_output_signature=specs, parallel_iterations=1)


def _files(maps, size, there, photo, threshold):
    """Maps [s,s,N] of each test scale -> what is decided uint8 [H,W,1], PNG files [N].

    Two classes at a time are held at the photo's size, however many there are.
    """
    count = maps[0].shape[-1]

    def add(n, best, mask, files):
        one = [value[None, ..., n, None] for value in maps]
        one = restored(one, (size[0], size[1]), photo=photo)[0]
        found = tf.where(there[n], one, 0)
        mask = tf.where(found > best, tf.cast(n + 1, tf.uint8), mask)
        files = files.write(n, _png(tf.cast(tf.round(255 * one), tf.uint8)))
        return n + 1, tf.maximum(best, found), mask, files

    shape = [size[0], size[1], 1]
    start = (
        tf.constant(0),
        tf.fill(shape, tf.constant(threshold, tf.float32)),
        tf.zeros(shape, tf.uint8),
        tf.TensorArray(tf.string, count),
    )
    _, _, mask, files = tf.while_loop(
        lambda n, *_: n < count, add, start, parallel_iterations=2
    )
    return mask, files.stack()


def _png(pixels):
    # A photo's size is large: by default, files would take longer than the network.
    return tf.io.encode_png(pixels, compression=1)
