"""Similarity maps: how much the cells of a photo resemble an object, and its background.

They are inputs of the condition module (against the support) and of each refinement step
(against what the last step was sure of in the photo itself). Unlike features they mean the
same for a class that training never saw. PFENet (Tian et al., TPAMI 2020) has one such map;
comparing the photo with itself is the self-support of Fan et al., ECCV 2022.
"""

from keras import ops

from crnet_tf.network.layers import masked_average
from crnet_tf.network.prototypes import apart, unit_levels

# Power of the last step's probability in the averages of its own photo: sure cells count.
CONFIDENCE = 4
FLOOR = 0.05  # of a map's standard deviation: a photo without contrast stays without


def maps_against_support(cells, averages: dict, widths: list[int]):
    """Cosines to a support's object and background, of each of L levels.

    Args:
        cells: [B,h,w,F], each level of length 1.
        averages: `foreground` and `background` [B,1,1,F]; see `Prototypes.averages`.
        widths: channels of the levels.

    Returns:
        float32 [B,h,w,4L]: 2L cosines, and the same standardised within the photo.
    """
    return _maps(cells, [averages["foreground"], averages["background"]], widths)


def maps_against_itself(cells, cache, averages: dict, widths: list[int]):
    """Cosines to the object and background that a cache found in the photo itself, alone and
    joined with the support's; 0 where the cache is empty.

    Args:
        cache: [B,h,w,2], probabilities of background and foreground.

    Returns:
        float32 [B,h,w,8L].
    """
    shares = ops.split(cache**CONFIDENCE, 2, axis=-1)
    own = [unit_levels(masked_average(cells, share), widths) for share in shares]
    supports = [unit_levels(averages[n], widths) for n in ("background", "foreground")]
    joined = [one + other for one, other in zip(own, supports, strict=True)]
    known = ops.minimum(1.0, ops.sum(cache, axis=-1, keepdims=True))
    return _maps(cells, [*own, *joined], widths) * known


def count_against_itself(widths: list[int]) -> int:
    """Channels of `maps_against_itself`."""
    return 8 * len(widths)


def _maps(cells, prototypes, widths):
    cosines = []
    for prototype in prototypes:
        products = apart(cells * unit_levels(prototype, widths), widths)
        cosines += [ops.sum(product, axis=-1, keepdims=True) for product in products]
    cosines = ops.concatenate(cosines, axis=-1)
    mean = ops.mean(cosines, axis=(1, 2), keepdims=True)
    spread = ops.std(cosines, axis=(1, 2), keepdims=True)
    return ops.concatenate([cosines, (cosines - mean) / (spread + FLOOR)], axis=-1)
