"""Photos of run-time sizes -> the network's square, in graph code (see `data/frames.py`)."""

import tensorflow as tf

from crnet_tf.network import resizing
from export.graph import decode


def bounded(tensor, count, most: int, name: str):
    """The same tensor. Raises InvalidArgumentError when `count` is above `most`."""
    check = tf.debugging.Assert(
        count <= most,
        [f"{name}: expected at most {most} in one request, received", count, "Send fewer."],
    )
    return decode.after(tensor, check)


def photos(pixels, size: int):
    """uint8 [N,H,W,3] -> float32 [N,S,S,3], bilinear with aligned corners."""
    resized = resizing.bilinear(tf.cast(pixels, tf.float32), (size, size))
    return tf.ensure_shape(resized, [None, size, size, 3])


def supports(pixels, labels, size: int):
    """Labelled photos, checked and framed.

    Args:
        pixels: uint8 [K,H,W,3]. labels: uint8 [K,H,W], 0 background, 1 foreground, 255 void.

    Returns:
        float32 [K,S,S,3] and uint8 [K,S,S,1] (nearest with aligned corners).

    Raises:
        InvalidArgumentError: K is 0, sizes differ, other values, or no foreground is left.
    """
    labels = decode.after(labels, *_checks(pixels, labels))
    framed = resizing.nearest(labels[..., None], (size, size))
    visible = tf.debugging.Assert(
        tf.reduce_all(tf.reduce_any(framed == 1, axis=[1, 2, 3])),
        [
            "support: expected foreground (1) in every mask that is left at the input size "
            f"of the network, {size}x{size}, received a mask without. Mark the object, or "
            "crop the photo around it."
        ],
    )
    framed = decode.after(framed, visible)
    return photos(pixels, size), tf.ensure_shape(framed, [None, size, size, 1])


def _checks(pixels, labels):
    sizes, expected = tf.shape(labels), tf.shape(pixels)[:3]
    known = (labels == 0) | (labels == 1) | (labels == 255)
    return (
        tf.debugging.Assert(
            expected[0] > 0,
            ["support: expected at least one labelled photo, received none."],
        ),
        tf.debugging.Assert(
            tf.reduce_all(sizes == expected),
            [
                "support: expected masks of the number, height and width of the photos,",
                expected,
                "received",
                sizes,
                "(rotation by EXIF is not applied: turn photos upright first).",
            ],
        ),
        tf.debugging.Assert(
            tf.reduce_all(known),
            ["support: expected mask values 0, 1 and 255 (void), received others."],
        ),
    )


def encoded_photos(contents, sizes: tuple[int, ...], max_pixels: int):
    """Files of any sizes (strings [N]) -> for each size float32 [N,S,S,3]; int32 [N,2] H, W."""

    def one(content):
        pixels = decode.photo(content, max_pixels)
        framed = tuple(photos(pixels[None], size)[0] for size in sizes)
        return framed, tf.shape(pixels)[:2]

    framed = tuple(tf.TensorSpec([size, size, 3]) for size in sizes)
    return _each(one, contents, (framed, tf.TensorSpec([2], tf.int32)))


def encoded_supports(contents, masks, size: int, max_pixels: int):
    """Labelled files (strings [K], [K]) -> what `supports` gives."""
    number, count = tf.shape(contents)[0], tf.shape(masks)[0]
    checks = (
        tf.debugging.Assert(
            number > 0, ["support: expected at least one labelled photo, received none."]
        ),
        tf.debugging.Assert(
            number == count,
            ["support: expected one mask a photo, received", number, "and", count],
        ),
    )

    def one(pair):
        photo, mask = (decode.photo(pair[0], max_pixels), decode.mask(pair[1], max_pixels))
        image, label = supports(photo[None], mask[None, ..., 0], size)
        return image[0], label[0]

    specs = tf.TensorSpec([size, size, 3]), tf.TensorSpec([size, size, 1], tf.uint8)
    return _each(one, (decode.after(contents, *checks), masks), specs)


def _each(function, elements, specs):
    # One after the other: a request of many photos holds one of them decoded.
    return tf.map_fn(function, elements, fn_output_signature=specs, parallel_iterations=1)
