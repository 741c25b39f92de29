"""Edges of an answer that follow those of its photo.

Answers come off a grid of 1/8 of the network's input, so that their edges are smooth and a
few pixels off. The guided filter (He, Sun, Tang, ECCV 2010) describes an answer around every
pixel as a line of the photo's colours. Its lines are found at half the network's input size
and drawn at the photo's own (the fast guided filter: He, Sun, 2015).
"""

import tensorflow as tf

from crnet_tf.network.resizing import mean_around

REACH = 1 / 19  # of the photo's side: how far around a pixel a line is looked for
FLATNESS = 1e-4  # variance of a colour in 0..1 below which nothing is an edge


def small_side(side: int) -> int:
    """Side at which the lines of maps of so many pixels are found."""
    return (side + 1) // 2


def lines(maps, guide, mean=mean_around):
    """What an answer is around each pixel, as a line of the photo's colours.

    Args:
        maps: float32 [B,h,w,N], small. guide: [B,h,w,3] or [1,h,w,3], the photo in 0..1.
        mean: what does as `mean_around`.

    Returns:
        Slopes of red, green and blue and the offset, each [B,h,w,N].
    """
    colours, around = tf.split(guide, 3, axis=-1), _means(guide.shape[1], mean)
    pairs = [(row, column) for row in range(3) for column in range(row + 1)]
    means = around([*colours, *(colours[i] * colours[j] for i, j in pairs)])
    average, *products = around([maps, *(one * maps for one in colours)])
    variance = {
        (i, j): product - means[i] * means[j]
        for (i, j), product in zip(pairs, means[3:], strict=True)
    }
    slopes = _solved(
        [[variance[row, column] for column in range(row + 1)] for row in range(3)],
        [one - its * average for one, its in zip(products, means[:3], strict=True)],
    )
    return around([*slopes, average - drawn(slopes, means[:3])])


def drawn(slopes, colours):
    """Sum of slopes [...,N] times colours [...,1]."""
    return tf.add_n([slope * one for slope, one in zip(slopes, colours, strict=True)])


def _means(side, mean):
    """What takes the mean around each pixel of several tensors [B,h,w,C] at once."""
    reach = max(1, round(REACH * side))

    def around(several):
        together = mean(tf.concat(several, axis=-1), reach)
        return tf.split(together, [one.shape[-1] for one in several], axis=-1)

    return around


def _solved(variance, covariance):
    """Three slopes from the lower half of the colours' covariances and theirs with the answer.

    By hand as L D L^T: no runtime but TensorFlow solves batches of 3 x 3, and a determinant
    would lose grey photos, whose colours vary together, to rounding.
    """
    pivots, factors, given = [], [], []
    for row, right in zip(variance, covariance, strict=True):
        row, own = list(row), []
        for column, pivot in enumerate(pivots):
            for k in range(column):
                row[column] -= own[k] * pivots[k] * factors[column][k]
            own.append(row[column] / pivot)
        for k, factor in enumerate(own):
            row[-1] -= factor * factor * pivots[k]
            right -= factor * given[k]
        pivots.append(row[-1] + FLATNESS)
        factors.append(own)
        given.append(right)
    slopes = [right / pivot for right, pivot in zip(given, pivots, strict=True)]
    for lower in (2, 1):
        for upper in range(lower):
            slopes[upper] -= factors[lower][upper] * slopes[lower]
    return slopes
