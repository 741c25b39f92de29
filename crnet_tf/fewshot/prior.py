"""PFENet's training-free prior mask, as the first cache of the refinement.

A query cell is likely the object where some cell of the support's object resembles it: the
largest cosine between last-level features, stretched to 0..1 over the query (Tian et al.,
TPAMI 2020, Sec. 3.2). CRNet's refinement starts from zeros; here it starts from that.
"""

import tensorflow as tf

from crnet_tf.data.frames import Frame
from crnet_tf.fewshot.features import PhotoEncoder
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network.layers import as_foreground, resize_area, resize_foreground

# Cosines that differ by less differ by rounding, which must not be stretched to a prior.
LEAST_SPREAD = 1e-5


@tf.function
def object_average(features, mask):
    """Average of features [...,h,w,F] over the object of a mask [...,S,S,1]: [...,F]."""
    share = resize_area(as_foreground(mask), features.shape[-3:-1])
    area = tf.reduce_sum(share, (-3, -2))
    return tf.reduce_sum(features * share, (-3, -2)) / tf.maximum(area, 1e-6)


def prior_mask(
    encoder: PhotoEncoder, supports: list[LabelledPhoto], query: LabelledPhoto, frame: Frame
) -> tf.Tensor:
    """First caches float32 [K,h,w,2] (background, foreground) of a query, one a support, of
    the size of the last level."""
    wanted = encoder.last_level(query, frame)
    return tf.stack(
        [
            _stretched(encoder.last_level(photo, frame), frame.mask(photo.mask), wanted)
            for photo in supports
        ]
    )


@tf.function
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
    prior = tf.where(spread < LEAST_SPREAD, 0.0, above / tf.maximum(spread, LEAST_SPREAD))
    return tf.stack([1 - prior, prior], axis=-1)
