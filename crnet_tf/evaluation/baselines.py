"""What a few-shot segmenter has to beat, from the same encoder and the same episodes."""

import numpy as np
import tensorflow as tf

from crnet_tf.fewshot.learner import Learner
from crnet_tf.fewshot.prior import prior_mask
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network.layers import resize_align_corners

# "all_foreground": everything is the object. "prototype": see below. "prior": PFENet's mask
# (`prior.prior_mask`), mean of the supports, at its middle. The last: mean of both.
BASELINES = ("all_foreground", "prototype", "prior", "prototype+prior")


def answers(
    learner: Learner,
    supports: list[LabelledPhoto],
    query: LabelledPhoto,
    names: tuple[str, ...],
) -> dict[str, np.ndarray]:
    """Maps float32 [1,h,w], positive where foreground, of the named baselines."""
    found, needed = {}, {part for name in names for part in name.split("+")}
    encoder, frame = learner.encoder, learner.frame
    if "all_foreground" in needed:
        found["all_foreground"] = np.ones((1, 1, 1), np.float32)
    if "prototype" in needed:
        found["prototype"] = prototype(
            np.stack([encoder.last_level(photo, frame) for photo in supports]),
            np.stack([frame.mask(photo.mask) for photo in supports]),
            encoder.last_level(query, frame),
        ).numpy()[None]
    if "prior" in needed:
        priors = prior_mask(encoder, supports, query, frame)[..., 1].numpy()
        found["prior"] = 2 * priors.mean(axis=0, keepdims=True) - 1
    if "prototype+prior" in names:
        found["prototype+prior"] = _unit(found["prototype"]) + _unit(found["prior"])
    return {name: found[name] for name in names}


def _unit(margin):
    """Scaled to a largest magnitude of 1: margins of two kinds can then be added."""
    return margin / max(float(np.abs(margin).max()), 1e-7)


@tf.function
def prototype(support, mask, query):
    """Cosine to the foreground's minus cosine to the background's masked average.

    Args:
        support: [K,h,w,F] features of the last level; the averages are over all supports.
        mask: [K,S,S,1] in {0,1,255}.
        query: [h,w,F].

    Returns:
        float32 [h,w], positive where the query is more like the foreground.
    """

    def similarity(value):
        weights = tf.cast(mask == value, tf.float32)
        weights = resize_align_corners(weights, tuple(support.shape[1:3]))
        average = tf.reduce_sum(support * weights, axis=(0, 1, 2))
        cosine = tf.nn.l2_normalize(query, -1) * tf.nn.l2_normalize(average, -1)
        return tf.reduce_sum(cosine, -1)

    return similarity(1) - similarity(0)
