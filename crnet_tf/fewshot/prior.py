"""The object's average feature."""

import tensorflow as tf

from crnet_tf.network.layers import as_foreground, resize_area


def object_average(features, mask):
    """Average of features [...,h,w,F] over the object of a mask [...,S,S,1]: [...,F]."""
    share = resize_area(as_foreground(mask), features.shape[-3:-1])
    area = tf.reduce_sum(share, (-3, -2))
    return tf.reduce_sum(features * share, (-3, -2)) / tf.maximum(area, 1e-6)
