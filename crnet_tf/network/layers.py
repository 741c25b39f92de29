"""The building blocks that the modules of the paper share, and those of Sec. 4.4.

Letters: B batch, H W pixels, h w = 1/8 of them, C channels. Both branches of the network
call the same instance of a block: they share every parameter.
"""

import keras
from keras import layers, ops

from crnet_tf.network.resizing import resize_align_corners, resize_area

register = keras.saving.register_keras_serializable("crnet_tf")


def conv(channels, kernel=3, rate=1, strides=1, activation="relu", name=None):
    """The paper's convolution: 3x3, ReLU, size kept (Sec. 5.1)."""
    return layers.Conv2D(
        channels,
        kernel,
        strides=strides,
        dilation_rate=rate,
        padding="same",
        activation=activation,
        kernel_initializer="he_normal" if activation else "lecun_normal",
        name=name,
    )


def classifier(name="classifier"):
    """3x3 convolution to the two classes, float32 in any precision, near 0 at first."""
    small = keras.initializers.RandomNormal(stddev=0.01)  # CANet's, for every layer
    return layers.Conv2D(
        2, 3, padding="same", kernel_initializer=small, name=name, dtype="float32"
    )


@register
class ResizeAlignCorners(layers.Layer):
    """`resize_align_corners` as a layer: [...,h,w,C] -> [...,H,W,C]."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = tuple(size)

    def compute_output_spec(self, images):
        shape = (*images.shape[:-3], *self.size, images.shape[-1])
        return keras.KerasTensor(shape, self.compute_dtype)

    def call(self, images):
        return resize_align_corners(images, self.size)

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@register
class Unread(layers.Layer):
    """Passes a tensor on beside an input that an ablation does not read.

    Keras 3.12 refuses inputs that lead nowhere.
    """

    def compute_output_spec(self, tensor, unread):
        return keras.KerasTensor(tensor.shape, tensor.dtype)

    def call(self, tensor, unread):
        return tensor


def as_foreground(mask):
    """Mask in {0,1,255} -> float32 1 on the foreground, 0 on background and void."""
    return ops.cast(ops.equal(mask, 1), "float32")


def resize_foreground(mask, size: tuple[int, int]):
    """Foreground of a mask [...,h,w,1] in {0,1,255} -> float32 [...,H,W,1]: bilinearly, corners
    on corners, or by area where it lies between the centres of the cells."""
    foreground = as_foreground(mask)
    weights = resize_align_corners(foreground, size)
    missed = ops.sum(weights, axis=(-3, -2), keepdims=True) == 0
    return ops.where(missed, resize_area(foreground, size), weights)


def masked_average(features, weights):
    """Mean of features [...,h,w,C], each cell counted by its weight [...,h,w,1] from 0 to 1:
    float32 [...,1,1,C], 0 where no cell counts."""
    total = ops.sum(ops.cast(features, "float32") * weights, axis=(-3, -2), keepdims=True)
    area = ops.sum(weights, axis=(-3, -2), keepdims=True)
    return total / ops.maximum(area, 1e-6)


def unit(features):
    """The same, float32, of length 1 along the channels."""
    features = ops.cast(features, "float32")
    squared = ops.sum(ops.square(features), axis=-1, keepdims=True)
    return features * ops.rsqrt(ops.maximum(squared, 1e-12))


@register
class MaskBackground(layers.Layer):
    """Paints everything but the foreground in the mean colour (Sec. 4.4, input level).

    Call: image [B,H,W,3] RGB 0..255, mask [B,H,W,1] in {0,1,255} -> image. The mean colour
    is what the encoder's normalisation maps to 0.
    """

    def __init__(self, mean_rgb, **kwargs):
        super().__init__(**kwargs)
        self.mean_rgb = tuple(float(value) for value in mean_rgb)

    def compute_output_spec(self, image, mask):
        return keras.KerasTensor(image.shape, self.compute_dtype)

    def call(self, image, mask):
        mean = ops.convert_to_tensor(self.mean_rgb, dtype=image.dtype)
        return mean + (image - mean) * ops.cast(as_foreground(mask), image.dtype)

    def get_config(self):
        return {**super().get_config(), "mean_rgb": self.mean_rgb}


@register
class MaskedAverage(layers.Layer):
    """Foreground average pooling (Sec. 4.4, feature level).

    Call: features [B,h,w,C], mask [B,H,W,1] in {0,1,255} -> [B,1,1,C]. The mask is resized by
    `resize_foreground`, so cells on its border weigh less.
    """

    def compute_output_spec(self, features, mask):
        shape = (features.shape[0], 1, 1, features.shape[-1])
        return keras.KerasTensor(shape, self.compute_dtype)

    def call(self, features, mask):
        weights = resize_foreground(mask, features.shape[1:3])  # [B,h,w,1]
        return ops.cast(masked_average(features, weights), self.compute_dtype)


@register
class Residual(layers.Layer):
    """x + conv(ReLU(conv(ReLU(x)))), CANet's block without batch norm: [B,h,w,C] kept."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        # === Layers ===
        self.first = conv(channels, name="first")
        self.second = conv(channels, activation=None, name="second")

    def build(self, shape):
        self.first.build(shape)
        self.second.build(shape)

    def call(self, features):
        return features + self.second(self.first(ops.relu(features)))

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


@register
class Condition(layers.Layer):
    """Adds the category to a feature map (Sec. 4.4, Fig. 4).

    Call: features [B,h,w,C], category vector [B,1,1,C], and where there are some similarity
    maps [B,h,w,M] -> [B,h,w,C]. Bilinear upsampling of a 1x1 map, the paper's words, is the
    same as repeating it.
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        # === Layers ===
        self.fuse = conv(channels, name="fuse")
        self.residual = Residual(channels, name="residual")

    def build(self, features_shape, category_shape, maps_shape=None):
        *size, channels = features_shape
        maps = maps_shape[-1] if maps_shape else 0
        self.fuse.build((*size, channels + category_shape[-1] + maps))
        self.residual.build((*size, self.channels))

    def compute_output_spec(self, features, category, maps=None):
        shape = (*features.shape[:-1], self.channels)
        return keras.KerasTensor(shape, self.compute_dtype)

    def call(self, features, category, maps=None):
        inputs = [features, ops.broadcast_to(category, ops.shape(features))]
        if maps is not None:
            inputs.append(ops.cast(maps, features.dtype))
        return self.residual(self.fuse(ops.concatenate(inputs, axis=-1)))

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}
