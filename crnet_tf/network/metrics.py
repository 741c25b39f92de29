"""Integer intersections and unions first, ratios last (OSLSM; FB-IoU: co-FCN).

Areas of episodes of one class are added up before any ratio is taken: mIoU is not the mean
of the episodes' IoUs.
"""

import numpy as np

from crnet_tf.images.mask_values import VOID


def areas(prediction: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Intersection and union of background and foreground.

    Args:
        prediction: [H,W] in {0,1} or bool.
        mask: [H,W] in {0,1,255}; 255 counts nowhere.

    Returns:
        int64 [2,2]: rows background, foreground; columns intersection, union.
    """
    prediction, mask = np.asarray(prediction), np.asarray(mask)
    if prediction.shape != mask.shape:
        raise ValueError(
            f"areas: expected a prediction of the mask's size {mask.shape}, "
            f"received {prediction.shape}."
        )
    valid = mask != VOID
    predicted, true = prediction[valid].astype(bool), mask[valid] == 1
    both, either = np.sum(predicted & true), np.sum(predicted | true)
    return np.array([[valid.sum() - either, valid.sum() - both], [both, either]], np.int64)


def areas_above(
    probability: np.ndarray, mask: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """`areas` of `probability > t` for every t of ascending thresholds: int64 [N,2,2].

    Args:
        probability: [H,W]. mask: [H,W] in {0,1,255}; 255 counts nowhere.
    """
    valid, count = mask != VOID, len(thresholds) + 1
    # A pixel is above as many thresholds as are below it.
    exceeded = np.searchsorted(thresholds, probability[valid])
    cells = np.bincount(2 * exceeded + (mask[valid] == 1), minlength=2 * count)
    totals = cells.reshape(count, 2).sum(axis=0)  # background, object
    beside, both = cells.reshape(count, 2)[::-1].cumsum(axis=0)[-2::-1].T
    left = totals[0] - beside
    background, foreground = (left, totals.sum() - both), (both, totals[1] + beside)
    return np.stack([np.stack(background, -1), np.stack(foreground, -1)], axis=1)


def class_iou(totals: np.ndarray) -> float:
    """Foreground IoU of summed areas [2,2]."""
    return float(totals[1, 0] / max(totals[1, 1], 1))


def mean_iou(totals_by_class: dict[int, np.ndarray]) -> float:
    """Mean over classes of the foreground IoU; dict class id -> summed areas [2,2]."""
    return float(np.mean([class_iou(totals) for totals in totals_by_class.values()]))


def mean_iou_of(class_ids: np.ndarray, areas: np.ndarray) -> float:
    """`mean_iou` of episodes: their classes int [E] and areas [E,2,2]."""
    return mean_iou({c: areas[class_ids == c].sum(axis=0) for c in np.unique(class_ids)})


def fb_iou(totals_by_class: dict[int, np.ndarray]) -> float:
    """Mean of foreground and background IoU, classes ignored (Sec. 6.2, "IoU")."""
    totals = sum(totals_by_class.values())
    return float(np.mean(totals[:, 0] / np.maximum(totals[:, 1], 1)))
