"""Is the object in the photo at all? A score, and how well it tells the two cases apart.

Few-shot benchmarks ask only about photos that hold the object; users do not. On negative
episodes, whose query holds not one pixel of the class, a good score is low. The answer itself
is a poor witness: it finds something everywhere. Frozen features tell better, less what all
photos have in common (`prototypes.Centre`).
"""

import numpy as np


def presence(prototypes: np.ndarray, query: np.ndarray) -> float:
    """Cosine of the query's most similar cell to the object, mean over the supports.

    Args:
        prototypes: [K,F], the object's average feature in each support, centred.
        query: [h,w,F] features, centred.
    """
    prototypes, query = _normalised(prototypes), _normalised(query)
    return float((query @ prototypes.T).max(axis=(0, 1)).mean())


def _normalised(features):
    return features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-6)


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
