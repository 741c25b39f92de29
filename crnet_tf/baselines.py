"""What a few-shot segmenter has to beat, from the same encoder and the same episodes."""

import tensorflow as tf

from crnet_tf import backbones
from crnet_tf.layers import resize_align_corners
from crnet_tf.model import CRNet

# "all_foreground": everything is the object. "prototype": see below.
BASELINES = ("all_foreground", "prototype")


def prototype(network: CRNet, support, mask, query):
    """Cosine to the foreground's minus cosine to the background's masked average.

    Args:
        support, query: encoder features [B,h,w,F]; the last level of them is compared.
        mask: [B,S,S,1] in {0,1,255} of the support.

    Returns:
        float32 [B,h,w,1], positive where the query is more like the foreground.
    """
    config = network.config
    levels = backbones.FEATURE_LEVELS[config.backbone][config.feature_levels]
    last = network.parts.encoder.get_layer(config.backbone).get_layer(levels[-1])
    support, query = (
        tf.cast(value[..., -last.output.shape[-1] :], tf.float32) for value in (support, query)
    )

    def similarity(value):
        weights = tf.cast(mask == value, tf.float32)
        weights = resize_align_corners(weights, tuple(support.shape[1:3]))
        average = tf.reduce_sum(support * weights, axis=(1, 2), keepdims=True)
        cosine = tf.nn.l2_normalize(query, -1) * tf.nn.l2_normalize(average, -1)
        return tf.reduce_sum(cosine, axis=-1, keepdims=True)

    return similarity(1) - similarity(0)
