"""How well an answer's boundary lies on the object's: boundary F-score and boundary IoU.

F-score: of DAVIS (Perazzi et al., CVPR 2016), a boundary pixel counts as found within 0.8 % of
the photo's diagonal. Boundary IoU: Cheng et al., CVPR 2021, of the two masks' inner rims, 2 %
of the diagonal wide. Both are far below IoU where a mask only roughly fits.
"""

import numpy as np
from scipy import ndimage

from crnet_tf.images.mask_values import VOID

NEAR, RIM = 0.008, 0.02  # of the diagonal


def scores(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Of one answer.

    Args:
        found: bool [H,W]. truth: uint8 [H,W] in {0,1,255}; the rim of void that VOC draws
            around objects goes to whichever side is nearer, so the boundary is its middle.

    Returns:
        `boundary_f` and `boundary_iou`, 0..1; both 1 where neither has a boundary.
    """
    truth = _without_void(truth) == 1
    diagonal = float(np.hypot(*found.shape))
    return {
        "boundary_f": _f_score(found, truth, NEAR * diagonal),
        "boundary_iou": _boundary_iou(found, truth, max(1, round(RIM * diagonal))),
    }


def summary(lines: list[dict]) -> dict[str, float]:
    """Means over classes of the means over their lines of `episodes.jsonl`."""
    by_class = {}
    for line in lines:
        by_class.setdefault(line["class_id"], []).append(line)
    return {
        name: float(
            np.mean([np.mean([one[name] for one in some]) for some in by_class.values()])
        )
        for name in ("boundary_f", "boundary_iou")
    }


def _without_void(truth):
    void = truth == VOID
    if not void.any() or void.all():
        return truth
    nearest = ndimage.distance_transform_edt(void, return_distances=False, return_indices=True)
    return truth[tuple(nearest)]


def _f_score(found, truth, near):
    outlines = [mask & ~ndimage.binary_erosion(mask, border_value=1) for mask in (found, truth)]
    if not all(outline.any() for outline in outlines):
        return float(not any(outline.any() for outline in outlines))
    distances = [ndimage.distance_transform_edt(~outline) for outline in outlines]
    precision = np.mean(distances[1][outlines[0]] <= near)
    recall = np.mean(distances[0][outlines[1]] <= near)
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def _boundary_iou(found, truth, width):
    rims = [_rim(mask, width) for mask in (found, truth)]
    union = np.count_nonzero(rims[0] | rims[1])
    return np.count_nonzero(rims[0] & rims[1]) / union if union else 1.0


def _rim(mask, width):
    """Pixels of a mask that are so near to its boundary, the photo's border included."""
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return mask & (inside <= width)
