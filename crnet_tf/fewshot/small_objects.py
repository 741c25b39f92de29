"""Small things: their supports are cropped around them, and photos searched in tiles too.

A thing that covers one percent of a photo is three cells of the network's features wide. In a
crop around it, or in a quarter of the photo, it is as large as the things of other photos.

    cropped     supports, each cropped around its object where that is small
    tiles       overlapping parts of a square; `cut` takes one out of a photo
    joined      answers to the whole photo and to its tiles -> one answer of twice the size
"""

import numpy as np

from crnet_tf.images import aligned
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.images.mask_values import FOREGROUND
from crnet_tf.options import Options

SMALL = 0.05  # share of a photo that a small object covers at most
CONTEXT = 2.0  # side of a crop, in the object's longer side
TILE = 0.625  # side of a tile, in the photo's: two of them overlap by a quarter of the photo


def cropped(supports: list[LabelledPhoto], options: Options) -> list[LabelledPhoto]:
    """Supports, each `zoomed` where the options say so."""
    if options.small_objects == "off":
        return supports
    return [zoomed(support) for support in supports]


def zoomed(support: LabelledPhoto) -> LabelledPhoto:
    """A support cropped around its object with some context, where the object is small."""
    if share(support) >= SMALL:
        return support
    found = np.nonzero(support.mask == FOREGROUND)
    side = CONTEXT * max(np.ptp(places) + 1 for places in found)
    places = zip(found, support.mask.shape, strict=True)
    part = tuple(_around(pixels, side, length) for pixels, length in places)
    return LabelledPhoto(support.image[part], support.mask[part], support.name)


def share(support: LabelledPhoto) -> float:
    """How much of a photo its object covers."""
    return float(np.mean(support.mask == FOREGROUND))


def are_small(supports: list[LabelledPhoto]) -> bool:
    """Whether the object of most supports is small."""
    return float(np.median([share(one) for one in supports])) < SMALL


def _around(pixels, side, length):
    """`side` pixels of `length` around the middle of some, as a slice."""
    side = min(length, round(side))
    start = (pixels.min() + pixels.max() + 1 - side) // 2
    start = int(np.clip(start, 0, length - side))
    return slice(start, start + side)


def tiles(size: int) -> list[tuple[slice, slice]]:
    """Four overlapping parts of a square of `size`."""
    side = round(TILE * size)
    ends = slice(0, side), slice(size - side, size)
    return [(rows, columns) for rows in ends for columns in ends]


def cut(photo: LabelledPhoto, tile: tuple[slice, slice], size: int) -> LabelledPhoto:
    """The part of a photo that a tile of a square of `size` is of, the photo being squashed."""
    shape = photo.image.shape[:2]
    part = tuple(
        slice(round(one.start * length / size), round(one.stop * length / size))
        for one, length in zip(tile, shape, strict=True)
    )
    return LabelledPhoto(photo.image[part], None, photo.name)


def joined(whole: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """The answer to a photo, of those to it and to its tiles.

    Args:
        whole: probabilities [T,S,S]. parts: the same of each of the tiles.

    Returns:
        float32 [T,R,R], of R = `joined_size(S)`: the mean of the whole's and of the tiles',
        which count less towards their borders, where they see less around them.
    """
    size = joined_size(whole.shape[-1])
    total, weights = np.zeros((len(whole), size, size), np.float32), 0
    for (rows, columns), part in zip(tiles(size), parts, strict=True):
        side = rows.stop - rows.start
        ramp = np.minimum(np.arange(side) + 1, side - np.arange(side))
        weight = np.zeros((size, size), np.float32)
        weight[rows, columns] = np.minimum(ramp[:, None], ramp)
        total[:, rows, columns] += resized(part, side) * weight[rows, columns]
        weights = weights + weight
    return (resized(whole, size) + total / weights) / 2


def joined_size(size: int) -> int:
    """Side of a joined answer, of answers of side `size`."""
    return 2 * size - 1


def resized(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps [T,s,s] -> float32 [T,side,side]."""
    return aligned.bilinear(maps[..., None], (side, side))[..., 0]
