"""The mask of a class -> its objects: connected pieces without specks, touching ones split."""

import numpy as np

LEAST = 0.0002  # of a photo: smaller pieces are specks
CORE = 0.5  # of the greatest distance from the edge that a piece has
_AROUND = np.ones((3, 3), bool)  # pieces that meet at a corner are one


def numbered(mask: np.ndarray, least: float, split: bool = False) -> np.ndarray:
    """Which object each pixel is of: int [h,w], 0 for none; objects have numbers from 1 on,
    maybe with gaps.

    Args:
        mask: bool [h,w].
        least: px; what has fewer is left out.
        split: pieces are split where they are narrow between two wide parts.
    """
    from scipy import ndimage  # slow, and few ask for it

    pieces, count = ndimage.label(mask, _AROUND)
    if split:
        for number, around in enumerate(ndimage.find_objects(pieces), 1):
            parts = _parts(pieces[around] == number)
            pieces[around] += np.where(parts > 1, count + parts - 1 - number, 0)
            count += max(0, parts.max() - 1)
    return np.where(np.bincount(pieces.ravel())[pieces] >= least, pieces, 0)


def _parts(inside):
    """A piece bool [h,w] as int [h,w] of parts 1, 2 ... around its cores, far from its edge:
    every pixel is of the nearest one. (SciPy's watershed, `watershed_ift`, parted two discs
    7 px beside where they meet; scikit-image's, from h-maxima, counted no better: see
    docs/guides/formats.md.)"""
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    cores, count = ndimage.label(distance > CORE * distance.max(), _AROUND)
    if count < 2:
        return inside.astype(int)
    _, nearest = ndimage.distance_transform_edt(cores == 0, return_indices=True)
    return np.where(inside, cores[tuple(nearest)], 0)
