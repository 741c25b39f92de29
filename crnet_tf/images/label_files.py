"""Label maps of a user as files -> arrays of class ids or colours, and what is counted in them.

Pillow only, no TensorFlow: palette label maps must be read as indices, which TensorFlow's own
decoder does not do (it paints them RGB).
"""

import functools

import numpy as np

from crnet_tf.common.errors import InputError
from crnet_tf.images.label_pictures import (
    LabelPicture,
    colour_keys,
    colours_of,
    colours_of_keys,
    near,
    no_label,
    read_picture,
)
from crnet_tf.images.mask_values import VOID
from crnet_tf.images.opening import JPEGS, PathLike
from crnet_tf.images.photos import header_size
from crnet_tf.images.png_files import voc_palette

_DARK = 40  # greys of a palette up to here are ids: nobody would see them as colours


def read_label(path: PathLike, photo: PathLike | None = None) -> np.ndarray:
    """Reads a label map: uint8 [H,W] class ids, 255 void; turned upright, as its photo is.

    A palette image (mode P, as in PASCAL VOC) gives its indices, a grey one of 1, 2, 4 or 8
    bits its values. Where the colours of a palette say other ids than its indices, because a
    program has numbered them anew, the grey ones among them are read, others refused.

    Args:
        photo: see `read_picture`.

    Raises:
        What `read_picture` raises; InputError: it is in colours, a lossy format, or is
        transparent where it has ids.
    """
    return read_numbered(path, photo)[0]


def read_numbered(
    path: PathLike, photo: PathLike | None = None
) -> tuple[np.ndarray, dict[int, tuple[int, ...]]]:
    """`read_label`, and {id: (R, G, B)} of those that occur in a file with a palette; raises
    as it."""
    picture = _ids_in(path, photo)
    if _is_voc_anew(picture):
        raise InputError(
            f"{path}: expected a palette whose numbers are class ids, received the colours of "
            f"PASCAL VOC under the numbers {_listed(picture.used())}, where VOC has "
            f"{_listed(voc_ids(picture.palette[picture.used()]))}: a program that makes PNGs "
            "smaller may have numbered them anew. Export the map again and leave the palette "
            "as it is, or name the classes by colours (pipelines.build_folder "
            "--format=labelmaps with a table NAME,R,G,B)."
        )
    ids = _checked_ids(_grey_ids(picture), picture, path)
    if picture.palette is None or ids is not picture.pixels:
        return ids, {}
    used = picture.used().tolist()
    return ids, dict(zip(used, map(tuple, picture.palette[used].tolist()), strict=True))


def read_voc_label(path: PathLike, photo: PathLike | None = None) -> np.ndarray:
    """`read_label` of a data set in PASCAL VOC's colours: where all colours are VOC's, they
    decide, whatever their numbers; also without a palette, in RGB.

    Raises: as `read_label`.
    """
    picture = read_picture(path, photo)
    if picture.is_coloured and picture.format not in JPEGS:
        keys, inverse = np.unique(colour_keys(picture.pixels), return_inverse=True)
        ids = voc_ids(colours_of_keys(keys))
        if (ids >= 0).all():
            ids = ids.astype(np.uint8)[inverse].reshape(picture.pixels.shape[:2])
            return _checked_ids(ids, picture, path)
    picture = _ids_in(path, photo)
    if not _is_voc_anew(picture):
        return _checked_ids(_grey_ids(picture), picture, path)
    ids = np.maximum(voc_ids(picture.palette), 0).astype(np.uint8)[picture.pixels]
    return _checked_ids(ids, picture, path)


def read_colours(path: PathLike, photo: PathLike | None = None) -> np.ndarray:
    """Reads a label map in colours: uint8 [H,W,3], black where it is transparent.

    Raises:
        What `read_picture` raises; InputError: it is a JPEG, or transparent parts have a
        colour of their own, so that it is open whether they count.
    """
    picture = read_picture(path, photo)
    check_lossless(picture, path)
    colours = colours_of(picture)
    if picture.visible is None:
        return colours
    hidden = colours[~picture.visible]
    if not (near(hidden, 0) | near(hidden, 255)).all():
        raise _transparent(path)
    return np.where(picture.visible[..., None], colours, np.uint8(0))


def check_lossless(
    picture: LabelPicture, path: PathLike, lossy: tuple[str, ...] = JPEGS
) -> None:
    """Raises InputError for a picture of a format that is, or often is, lossy."""
    if picture.format in lossy:
        kind = "JPEG" if picture.format in JPEGS else picture.format
        raise InputError(
            f"{path}: expected a label map in a lossless format (PNG), received {kind}, whose "
            "compression changes class ids at every border. Export the labels again as PNG."
        )


def voc_ids(colours: np.ndarray) -> np.ndarray:
    """int [N]: the ids that PASCAL VOC's colours uint8 [N,3] stand for, -1 for any other."""
    return np.array([_voc_table().get(key, -1) for key in colour_keys(colours).tolist()], int)


def check_size(
    photo: PathLike, size: tuple[int, int], stored: tuple[int, int] | None = None
) -> None:
    """Raises ValueError where a label map of this size (H, W) cannot be the photo's.

    Before it is drawn: as large as a damaged file says it might not fit into memory. Which
    side is upright shows once the photo is read, by `make_example`.

    Args:
        stored: the photo's size (H, W); default: as its file says.
    """
    stored = stored or header_size(photo)
    if tuple(size) not in (stored, stored[::-1]):
        raise other_size(photo, photo, stored, size)


def other_size(name, photo, expected, received) -> InputError:
    """What is raised where a label map is not of its photo's size; both are (H, W)."""
    return InputError(
        f"{name}: expected a label map of its photo's size, {expected[1]}x{expected[0]} "
        f"({photo}), received {received[1]}x{received[0]}. Export the two at one size; a photo "
        "with an EXIF rotation counts upright."
    )


def runs(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values [R] and lengths int64 [R] of the runs of equal values, row after row.

    Label maps are long runs of one value. `array` is not empty.
    """
    values = array.ravel()
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]), values.size - 1)
    return values[ends], np.diff(ends, prepend=-1)


def value_counts(label: np.ndarray) -> np.ndarray:
    """int64 [256]: how often each value occurs in uint8 [H,W]."""
    if not label.size:
        return np.zeros(256, np.int64)
    # Less than half the time of counting each pixel.
    return np.bincount(*runs(label), 256).astype(np.int64)


def _ids_in(path, photo):
    """The picture of a label map whose pixels may be ids."""
    picture = read_picture(path, photo)
    if picture.is_coloured:
        raise no_label(path, "RGB")
    check_lossless(picture, path, (*JPEGS, "WEBP"))
    return picture


def _grey_ids(picture):
    """The pixels, or the greys of a palette where those are ids: a program that makes files
    smaller has put a grey map's values into a palette."""
    if picture.palette is None:
        return picture.pixels
    greys = picture.palette[:, 0]
    used = greys[picture.used()]
    grey = (picture.palette[picture.used()] == used[:, None]).all()
    hidden = (used <= _DARK) | (used == VOID)
    if grey and hidden.all() and ((used > 0) & (used <= _DARK)).any():
        return greys[picture.pixels]
    return picture.pixels


def _is_voc_anew(picture):
    """Whether a palette has VOC's colours alone, and under other numbers than VOC."""
    if picture.palette is None:
        return False
    used = picture.used()
    colours = picture.palette[used]
    ids = voc_ids(colours)
    told_apart = len(np.unique(ids)) == len(used)
    return bool((ids >= 0).all() and told_apart and (ids != used).any())


def _checked_ids(ids, picture, path):
    if picture.visible is not None and ids[~picture.visible].any():
        raise _transparent(path)
    return ids


def _transparent(path):
    return InputError(
        f"{path}: expected a label map without transparency, received one that is transparent "
        "where it has labels: whether those count is open. Export it again without alpha."
    )


@functools.cache
def _voc_table():
    palette = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    return {key: number for number, key in enumerate(colour_keys(palette).tolist())}


def _listed(values):
    return ", ".join(map(str, values[:10])) + (" ..." if len(values) > 10 else "")
