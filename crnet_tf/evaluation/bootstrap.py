"""Is one method better than another on the same episodes? Paired differences with intervals.

Episodes are drawn again with replacement, class by class, the same ones for both methods; each
draw gives a difference of scores, and the middle 95 % of these are the interval (percentile
bootstrap, Efron 1979). What both methods find hard or easy cancels out.
"""

import dataclasses

import numpy as np

RESAMPLES = 2000
INTERVAL = (2.5, 97.5)  # percentiles


@dataclasses.dataclass(frozen=True)
class Difference:
    """A score of one method less that of another.

    Attributes:
        value: of all episodes. low, high: ends of the interval of 95 %.
    """

    value: float
    low: float
    high: float

    def __str__(self):
        """In percent, with its interval."""
        said = (100 * value for value in (self.value, self.low, self.high))
        return "{:+.1f} ({:+.1f} to {:+.1f})".format(*said)


def mean_iou_difference(
    class_ids: np.ndarray,
    areas: np.ndarray,
    other_areas: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Difference of mIoU (mean over the classes of summed areas, as `metrics.mean_iou`).

    Args:
        class_ids: int [E], the class of each episode.
        areas, other_areas: int [E,2,2] of the same episodes, as `metrics.areas`.
        resamples: number of draws. seed: of the draws.

    Raises:
        ValueError: the two are not of the same episodes.
    """
    if not len(class_ids) == len(areas) == len(other_areas) or not len(class_ids):
        raise ValueError(
            "mean_iou_difference: expected areas of the same episodes, received "
            f"{len(class_ids)} classes, {len(areas)} and {len(other_areas)} areas."
        )
    both = np.stack([areas, other_areas], axis=1)[:, :, 1].astype(np.float64)  # [E,2,2]
    random, scores, drawn = np.random.default_rng(seed), [], []
    for class_id in np.unique(class_ids):
        of_class = both[class_ids == class_id]
        scores.append(_iou(of_class.sum(axis=0)))
        # How often each episode is drawn says the same as a list of those drawn.
        counts = random.multinomial(
            len(of_class), [1 / len(of_class)] * len(of_class), resamples
        )
        drawn.append(_iou(np.tensordot(counts, of_class, axes=1)))
    value, spread = (np.mean(found, axis=0) for found in (scores, drawn))
    low, high = np.percentile(spread[:, 0] - spread[:, 1], INTERVAL)
    return Difference(float(value[0] - value[1]), float(low), float(high))


def _iou(areas):
    """Intersections and unions [...,2] -> IoU [...]."""
    return areas[..., 0] / np.maximum(areas[..., 1], 1)
