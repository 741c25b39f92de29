"""Is the thing in a photo at all? What `answers.presence` needs and calibration measures.

Centre      cells [...,F] -> what tells them from those of all photos
Likelihood  how similar a photo's most similar cell is -> how likely it shows the thing
"""

import numpy as np
from keras import layers, ops

from crnet_tf.network.layers import register


@register
class Centre(layers.Layer):
    """Takes from cells [...,F] what all photos have in common: their average cell.

    Middle levels, of which no value is negative, have much in common; what is left tells an
    object from another. The average is 0 until `calibrate` or a training's end has measured it.
    """

    def __init__(self, channels, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.mean = self.add_weight(
            shape=(channels,), initializer="zeros", trainable=False, name="mean"
        )
        self.built = True

    def call(self, cells):
        return ops.cast(cells, "float32") - self.mean

    def load_own_variables(self, store):
        """Checkpoints of before there was a centre have none."""
        if len(store.keys()):
            super().load_own_variables(store)


@register
class Likelihood(layers.Layer):
    """Similarity to a thing -> probability that the photo shows it, as likely as not a priori.

    A logistic function of how much the photo resembles the thing more than it resembles what
    else it may be: most photos without a thing (`MIDDLE`), or a rival, which is what was
    falsely found in photos that do not show it. The similarity to the mean of k supports
    varies less than that to one of them, so k supports make it steeper.

    What it holds was measured for the model that comes along, until `calibrate` or a training's
    end has measured it for another network.
    """

    # Similarity of as likely as not; 1/slope with any number of supports, and for 1/k of them.
    MIDDLE, SPREAD, SPREAD_OF_ONE = MEASURED = (0.254, 0.032, 0.045)

    def __init__(self, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.measured = self.add_weight(
            shape=(3,), initializer="zeros", trainable=False, name="measured"
        )
        self.measured.assign(np.float32(self.MEASURED))
        self.built = True

    def call(self, similarity, rival, shots):
        """Float32 [B] of similarities [B] to the thing and to a rival, and of k."""
        middle, spread, of_one = ops.split(ops.convert_to_tensor(self.measured), 3)
        margin = similarity - ops.maximum(middle, rival)
        return ops.sigmoid(margin / (spread + of_one / ops.cast(shots, "float32")))

    def load_own_variables(self, store):
        """Checkpoints of before presence was a probability have none."""
        if len(store.keys()):
            super().load_own_variables(store)
