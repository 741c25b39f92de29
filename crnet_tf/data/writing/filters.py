"""Which classes of a label map are big enough to be an episode's subject."""

import numpy as np

from crnet_tf.common.errors import InputError
from crnet_tf.images import label_files
from crnet_tf.images.mask_values import VOID

FILTERS = ("oslsm", "area2048", "none")


def listed_classes(
    label: np.ndarray, filter: str, counts: np.ndarray | None = None
) -> list[int]:
    """Class ids of a label map [H,W] that a small-object filter keeps, ascending.

    Args:
        label: uint8 [H,W] class ids, 0 background, 255 void; both are never listed.
        filter: `oslsm`: more than 2 hits on a grid of stride 32 (OSLSM, the lists of CANet
            and HSNet); `area2048`: at least 2*32*32 pixels (PFENet); `none`: any pixel.
        counts: `label_files.value_counts(label)`, where that is known already.
    """
    if filter not in FILTERS:
        raise InputError(f"filter: expected one of {FILTERS}, received {filter!r}.")
    if filter == "oslsm":
        # OSLSM pads by 15 px and samples the padded map at 16, 48, ...: that is 1, 33, ...
        # of the map itself, and samples in the padding never hit.
        counts, at_least = label_files.value_counts(label[1::32, 1::32]), 3
    else:
        counts = label_files.value_counts(label) if counts is None else counts
        at_least = 2 * 32 * 32 if filter == "area2048" else 1
    return [int(c) for c in np.flatnonzero(counts >= at_least) if c not in (0, VOID)]
