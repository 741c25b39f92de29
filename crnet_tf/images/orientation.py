"""Which way up a photo is: the orientation that cameras write into its EXIF data."""

from PIL import Image

from crnet_tf.images.opening import DECODE_ERRORS

_EXIF_ORIENTATION = 0x0112
_TURNS = {  # what makes a photo of this orientation upright; it is already with any other
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn(image: Image.Image) -> Image.Transpose | None:
    """What makes a photo upright, None where it is or where its EXIF data cannot be read."""
    try:
        return _TURNS.get(image.getexif().get(_EXIF_ORIENTATION))
    except DECODE_ERRORS:
        return None


def upright(image: Image.Image) -> Image.Image:
    """A decoded photo, turned as its EXIF data say."""
    # Pillow's exif_transpose also writes the EXIF data anew, and fails on some tags.
    needed = turn(image)
    return image if needed is None else image.transpose(needed)
