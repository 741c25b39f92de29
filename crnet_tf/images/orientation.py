"""Which way up a photo is: the orientation that cameras write into its EXIF data."""

from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.images.opening import DECODE_ERRORS, PathLike, opened

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
_ON_ITS_SIDE = (5, 6, 7, 8)


def turn(image: Image.Image) -> Image.Transpose | None:
    """What makes a photo upright, None where it is or where its EXIF data cannot be read."""
    return _TURNS.get(_orientation(image))


def upright(image: Image.Image) -> Image.Image:
    """A decoded photo, turned as its EXIF data say."""
    # Pillow's exif_transpose also writes the EXIF data anew, and fails on some tags.
    needed = turn(image)
    return image if needed is None else image.transpose(needed)


def upright_size(photo: PathLike) -> tuple[int, int]:
    """A photo's (H, W) px once it is upright; of its pixels none is read.

    Raises what `opening.opened` raises.
    """
    orientation, (width, height) = _of_header(photo)
    return (width, height) if orientation in _ON_ITS_SIDE else (height, width)


def check_alike(photo: PathLike, label: Image.Image, path: PathLike) -> None:
    """Raises InputError where only one of a photo and its label map is turned by EXIF data, or
    each otherwise, and their sizes do not tell whether the two fit.

    Args:
        label: the label map of the file `path`, not turned yet.
    """
    of_photo, size = _of_header(photo)
    of_label = _orientation(label)
    if _TURNS.get(of_photo) is _TURNS.get(of_label):
        return
    # A map without EXIF data of a photo that lies on its side: the upright one has its size.
    if of_label not in _TURNS and of_photo in _ON_ITS_SIDE and size[0] != size[1]:
        return
    raise InputError(
        f"{path}: expected a mask that is turned as its photo is, received EXIF orientation "
        f"{_said(of_label)}, where {photo} has {_said(of_photo)}. Save both upright, "
        "without an EXIF orientation, and look at them together."
    )


def _said(orientation):
    return orientation if orientation in _TURNS else "none (not turned)"


def _orientation(image):
    try:
        return image.getexif().get(_EXIF_ORIENTATION)
    except DECODE_ERRORS:
        return None


def _of_header(photo):
    """EXIF orientation and (width, height) of a file. Of a PNG that has EXIF data behind its
    pixels none: they would have to be decoded."""
    with opened(photo, "a photo (JPEG, PNG or another format Pillow reads)") as (_, image):
        exif = image.format != "PNG" or "exif" in image.info
        return _orientation(image) if exif else None, image.size
