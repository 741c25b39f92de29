"""How photos are prepared for the weights of a backbone."""

import keras
from keras import layers, ops

from crnet_tf.network.layers import register

# mean and standard deviation of RGB 0..255, and whether the network was trained on BGR.
PREPROCESSING = {
    "caffe": ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), True),
    "torch": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), False),  # the network does it itself
}


@register
class Normalize(layers.Layer):
    """RGB 0..255 [B,H,W,3] -> what the weights were trained on ("caffe" or "torch")."""

    def __init__(self, preprocessing, **kwargs):
        super().__init__(**kwargs)
        self.preprocessing = preprocessing

    def compute_output_spec(self, image):
        return keras.KerasTensor(image.shape, self.compute_dtype)

    def call(self, image):
        mean, std, bgr = PREPROCESSING[self.preprocessing]
        mean = ops.convert_to_tensor(mean, dtype=image.dtype)
        std = ops.convert_to_tensor(std, dtype=image.dtype)
        image = (image - mean) / std
        return ops.flip(image, axis=-1) if bgr else image

    def get_config(self):
        return {**super().get_config(), "preprocessing": self.preprocessing}
