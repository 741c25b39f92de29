"""The threshold with which k supports find each other best, for what they find in other photos.

A network is less sure of a class it was not trained on, and how much less differs between
classes: with a fixed threshold of a half much of one is missed and another is overrun. Each
support is asked for in the light of the others, where the truth is known. Ours.
"""

import numpy as np

from crnet_tf.images.mask_values import VOID
from crnet_tf.network.metrics import areas_above

HALF = 0.5
# No farther from a half: of a thing that cannot be told from its surroundings, the best cut
# would take the whole photo.
THRESHOLDS = np.arange(6, 15) / 20


def common_threshold(answers: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """One of `THRESHOLDS`: that of the highest IoU, areas of all photos summed as shares.

    Args:
        answers: (probability float [H,W], mask uint8 [H,W] in {0,1,255}) of each photo.

    Returns:
        Of equal ones the nearest to a half, so a half where nothing is found at all.
    """
    shares = sum(
        areas_above(probability, mask, THRESHOLDS)[:, 1] / np.sum(mask != VOID)
        for probability, mask in answers
    )
    iou = shares[:, 0] / np.maximum(shares[:, 1], 1e-9)
    best = np.flatnonzero(iou == iou.max())
    return float(THRESHOLDS[best[np.argmin(np.abs(THRESHOLDS[best] - HALF))]])


def shifted(probability, threshold: float):
    """Probabilities (array or tensor) of which `threshold` has become a half; 0 and 1 stay.

    The odds are divided by those of the threshold.
    """
    if threshold == HALF:
        return probability
    scaled = probability * ((1 - threshold) / threshold)
    return scaled / (scaled - (probability - 1))  # differences: int8 files keep them in float
