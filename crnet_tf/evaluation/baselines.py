"""What a few-shot segmenter has to beat, from the same encoder and the same episodes."""

import numpy as np
import tensorflow as tf

from crnet_tf.data.frames import Frame
from crnet_tf.fewshot.features import PhotoEncoder
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network.layers import masked_average, resize_foreground
from crnet_tf.network.resizing import resize_align_corners

# "all_foreground": everything is the object. "prototype": see below. "prior": PFENet's mask
# (`prior_mask`), mean of the supports, at its middle. The last: mean of both.
BASELINES = ("all_foreground", "prototype", "prior", "prototype+prior")
# Cosines that differ by less differ by rounding, which must not be stretched to a prior.
LEAST_SPREAD = 1e-5


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
        priors = prior_mask(encoder, supports, query, frame).numpy()
        found["prior"] = 2 * priors.mean(axis=0, keepdims=True) - 1
    if "prototype+prior" in names:
        found["prototype+prior"] = _unit(found["prototype"]) + _unit(found["prior"])
    return {name: found[name] for name in names}


def _unit(margin):
    """Scaled to a largest magnitude of 1: margins of two kinds can then be added."""
    return margin / max(float(np.abs(margin).max()), 1e-7)


def prototype(support, mask, query):
    """Cosine to the foreground's minus cosine to the background's masked average.

    Args:
        support: [K,h,w,F] features of the last level; the averages are over all supports.
        mask: [K,S,S,1] in {0,1,255}.
        query: [h,w,F].

    Returns:
        float32 [h,w], positive where the query is more like the foreground.
    """

    *cells, channels = support.shape  # [K,h,w,F]
    together = tf.reshape(support, [1, -1, channels])

    def similarity(value):
        weights = resize_align_corners(tf.cast(mask == value, tf.float32), cells[1:])
        average = masked_average(together, tf.reshape(weights, [1, -1, 1]))[0, 0]
        cosine = tf.nn.l2_normalize(query, -1) * tf.nn.l2_normalize(average, -1)
        return tf.reduce_sum(cosine, -1)

    return similarity(1) - similarity(0)


def prior_mask(
    encoder: PhotoEncoder, supports: list[LabelledPhoto], query: LabelledPhoto, frame: Frame
) -> tf.Tensor:
    """PFENet's training-free prior: float32 [K,h,w] in 0..1 of a query, one a support.

    A query cell is likely the object where some cell of the support's object resembles it: the
    largest cosine between last-level features, stretched to 0..1 over the query (Tian et al.,
    TPAMI 2020, Sec. 3.2).
    """
    wanted = encoder.last_level(query, frame)
    return tf.stack(
        [
            _stretched(encoder.last_level(photo, frame), frame.mask(photo.mask), wanted)
            for photo in supports
        ]
    )


def _stretched(support, mask, query):
    foreground = resize_foreground(mask, tuple(support.shape[:2]))[..., 0]
    # A thin object may fill no cell to the half.
    cells = foreground >= tf.minimum(0.5, tf.reduce_max(foreground))
    wanted = tf.boolean_mask(support, cells)
    channels = query.shape[-1]
    cosine = tf.matmul(
        tf.nn.l2_normalize(tf.reshape(query, [-1, channels]), -1),
        tf.nn.l2_normalize(wanted, -1),
        transpose_b=True,
    )
    nearest = tf.reshape(tf.reduce_max(cosine, axis=1), query.shape[:2])
    above = nearest - tf.reduce_min(nearest)
    spread = tf.reduce_max(above)
    return tf.where(spread < LEAST_SPREAD, 0.0, above / tf.maximum(spread, LEAST_SPREAD))
