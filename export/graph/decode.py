"""Encoded photos and masks -> pixels, in graph code that an exported model takes along.

The size in a file's header is checked before the file is decoded: a small file that promises
a gigantic photo fails with InvalidArgument and takes no memory. So does a JPEG of very many
scans, each of which would cost a pass over all pixels.
"""

import tensorflow as tf

from crnet_tf.data import records

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
HEADER_BYTES = 33  # of a PNG: its signature and the chunk IHDR
PALETTE, WITH_ALPHA = 3, 4  # IHDR's colour types; the second: from this one on
MOST_SCANS = 100  # of a JPEG; encoders write a dozen at most


def photo(content, max_pixels: int):
    """Bytes of a JPEG or PNG (string scalar) -> uint8 [H,W,3] RGB.

    Rotation by EXIF is not applied, transparency is dropped.

    Raises:
        InvalidArgumentError: neither JPEG nor PNG, damaged, of more than `max_pixels`, or of
            more than `MOST_SCANS`.
    """
    known = is_png(content) | (tf.strings.substr(content, 0, len(JPEG)) == JPEG)
    content = after(
        content,
        tf.debugging.Assert(
            known,
            [
                "photo: expected the bytes of a JPEG or PNG file, received",
                tf.strings.length(content),
                "bytes of something else.",
            ],
        ),
    )
    content = _checked(content, _size(content), max_pixels, "photo")
    scans = tf.cond(is_png(content), lambda: tf.constant(0, tf.int64), lambda: _scans(content))
    few = tf.debugging.Assert(
        scans <= MOST_SCANS,
        [f"photo: expected a JPEG of at most {MOST_SCANS} scans, received", scans],
    )
    content = after(content, few)
    return records.decoded(content)


def mask(content, max_pixels: int):
    """Bytes of a grey PNG (string scalar) -> uint8 [H,W,1].

    In a file of 0 and 255 alone, 255 is foreground; beside a 1, it is void.

    Raises:
        InvalidArgumentError: no PNG, one of a palette or with transparency, damaged, or of
            more than `max_pixels`.
    """
    content = after(
        content,
        tf.debugging.Assert(
            is_png(content),
            ["mask: expected the bytes of a PNG file, received something else."],
        ),
    )
    content = _checked(content, _png_size(content), max_pixels, "mask")
    colour_type = tf.io.decode_raw(tf.strings.substr(content, 25, 1), tf.uint8)[0]
    content = after(
        content,
        tf.debugging.Assert(
            colour_type != PALETTE,
            ["mask: expected a grey PNG, received a palette. Save it as 8-bit grey."],
        ),
    )
    pixels = tf.io.decode_png(content, channels=1)
    # Under transparency there may be anything: often the object's own white, everywhere.
    opaque = tf.cond(
        colour_type >= WITH_ALPHA,
        lambda: tf.reduce_all(tf.io.decode_png(content, channels=4)[..., 3] == 255),
        lambda: tf.constant(True),
    )
    pixels = after(
        pixels,
        tf.debugging.Assert(
            opaque,
            ["mask: expected a grey PNG, received transparency. Fill the background black."],
        ),
    )
    foreground = tf.cast(pixels == 255, tf.uint8)
    two_valued = tf.reduce_all((pixels == 0) | (pixels == 255))
    return tf.where(two_valued, foreground, pixels)


def after(tensor, *checks):
    """The same tensor, once the checks have passed (None: passed already, eagerly)."""
    with tf.control_dependencies([check for check in checks if check is not None]):
        return tf.identity(tensor)


def is_png(content):
    """Whether a string scalar begins as PNG files do, with a whole header."""
    starts = tf.strings.substr(content, 0, len(PNG)) == PNG
    return starts & (tf.strings.length(content) >= HEADER_BYTES)


def _size(content):
    return tf.cond(
        is_png(content),
        lambda: _png_size(content),
        lambda: tf.image.extract_jpeg_shape(content)[:2],
    )


def _scans(content):
    """Headers of scans in a JPEG: FF DA, length, components; the length follows from these."""
    values = tf.io.decode_raw(content, tf.uint8)
    first, second, high, low, components = (values[n : n - 4 or None] for n in range(5))
    marked = (first == 0xFF) & (second == 0xDA) & (high == 0)
    return tf.math.count_nonzero(marked & (low == 6 + 2 * components) & (components <= 4))


def _png_size(content):
    """Height and width, int32 [2]: IHDR is the first chunk and begins with both."""
    numbers = tf.io.decode_raw(tf.strings.substr(content, 16, 8), tf.int32, little_endian=False)
    return tf.reverse(tf.reshape(numbers, [2]), [0])


def _checked(content, size, max_pixels, name):
    pixels = tf.reduce_prod(tf.cast(size, tf.int64))
    fits = tf.reduce_all(size > 0) & (pixels <= max_pixels)
    return after(
        content,
        tf.debugging.Assert(
            fits,
            [
                f"{name}: expected at most {max_pixels} pixels, received height and width",
                size,
                "in the header of the file. Shrink it.",
            ],
        ),
    )
