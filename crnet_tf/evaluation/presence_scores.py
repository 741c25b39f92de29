"""How well `answers.presence` tells photos with the object from those without it."""

import numpy as np


def auroc(positive, negative) -> float:
    """Chance that a photo with the object scores above one without it (ties: a half)."""
    negative = np.sort(negative)
    below = np.searchsorted(negative, positive, "left")
    not_above = np.searchsorted(negative, positive, "right")
    return float(np.mean(below + not_above) / 2 / len(negative))


def summary(positives: list[dict], negatives: list[dict]) -> dict:
    """Presence section of an evaluation.

    Args:
        positives, negatives: lines of `episodes.jsonl`, with `presence` and `predicted` (the
            share of the photo answered as the object).
    """
    return {
        "auroc": auroc(
            *([line["presence"] for line in lines] for lines in (positives, negatives))
        ),
        "negatives": len(negatives),
        "false_positive_rate": float(np.mean([line["predicted"] > 0 for line in negatives])),
        "mean_false_area": float(np.mean([line["predicted"] for line in negatives])),
    }
