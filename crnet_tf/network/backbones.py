"""The Siamese encoder's backbones: CNNs at 1/8 resolution, and DINOv2 at 1/14.

`keras.applications` networks are cloned with the strides of the last stages replaced by
dilation (DeepLab at 1/8; the same weights fit), then cut at the asked feature levels.
"""

import functools
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from crnet_tf.common.errors import InputError
from crnet_tf.network import hub
from crnet_tf.network.dinov2 import build_dinov2
from crnet_tf.network.layers import conv, register
from crnet_tf.network.preprocessing import Normalize
from crnet_tf.network.pretrained import load_weights, preprocessing_of, stride_of
from crnet_tf.network.reduction import ReduceLevels

# Last layers of stages; presets as in `Config.feature_levels`.
FEATURE_LEVELS = {
    "resnet50": {
        "paper": ("conv4_block6_out", "conv5_block3_out"),
        "canet": ("conv3_block4_out", "conv4_block6_out"),
        "reduced": ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
    },
    "vgg16": {
        "paper": ("block4_conv3", "block5_conv3"),
        "canet": ("block3_pool", "block4_conv3"),
        "reduced": ("block3_pool", "block4_conv3", "block5_conv3"),
    },
    "dinov2_small": {
        "paper": ("level11", "level12"),
        "canet": ("level9", "level11"),
        "reduced": ("level9", "level11", "level12"),
    },
    hub.KIND: hub.LEVELS,
    "tiny": {
        "paper": ("stage3", "stage4"),
        "canet": ("stage3", "stage4"),
        "reduced": ("stage3_down", "stage3", "stage4"),
    },
}


def levels_of(name: str, which: str) -> tuple[str, ...]:
    """Layers of a backbone that `Config.feature_levels` names."""
    return FEATURE_LEVELS[hub.kind_of(name)][which]


STAGED = ("resnet50", "vgg16")  # the last stages are dilated to 1/8
FIXED = ("dinov2_small", hub.KIND)  # cannot be continued from one level to the next

# Which convolution of a ResNet stage's first block strides. 1x1: He et al.'s, as in
# keras.applications. 3x3: v1.5, as in the Model Garden and torchvision. Weights fit either way.
STRIDES = ("1x1", "3x3")


class Backbone(NamedTuple):
    """A pretrained network, cut.

    Attributes:
        encoder: image [B,H,W,3] float32 RGB 0..255 -> features [B,h,w,F] at 1/8 or 1/14.
        last_stage: what comes after, at every other cell: features -> [B,h/2,w/2,F']; None
            where it was not asked for, or the features end with it.
    """

    encoder: keras.Model
    last_stage: keras.Model | None


def build_backbone(
    name: str,
    input_shape: tuple[int, int, int],
    feature_levels: tuple[str, ...],
    weights: str = "none",
    preprocessing: str = "auto",
    trainable: bool = False,
    stride: str = "auto",
    last_stage: bool = False,
    level_channels: tuple[int, ...] = (),
    hub_description: str = "",
) -> Backbone:
    """The encoder of a network, and its last stage where asked for.

    Args:
        name: "resnet50", "vgg16", "dinov2_small", "tiny" or "hub:FOLDER".
        input_shape: (H, W, 3), static.
        feature_levels: layer names whose outputs are concatenated.
        weights: "imagenet", "none", or a file; see `pretrained.load_weights`.
        preprocessing: "auto", "caffe" or "torch".
        stride: "auto", "1x1" or "3x3", of the first block of a ResNet's stage.
        trainable: keep batch norm layers (always in inference mode); a frozen backbone has
            them folded into its convolutions, which is exact and up to 1.8x faster.
        last_stage: also the stages after the last of `feature_levels`, frozen.
        level_channels: reduce each level to so many channels, see `ReduceLevels`; frozen.
        hub_description: of a network of keras-hub, see `hub.describe`.

    Raises:
        ValueError: weights or stride do not fit. OSError: weights cannot be reached.
    """
    if preprocessing == "auto":
        preprocessing = preprocessing_of(name, weights)
    stride = stride_of(weights) if stride == "auto" else stride
    _check_stride(stride, name)
    trunk = _published(name, input_shape, weights, hub_description)
    name = hub.kind_of(name)
    deepest = FEATURE_LEVELS[name]["paper"][-1]
    if name in STAGED:
        needed = deepest if last_stage else feature_levels[-1]
        trunk = keras.Model(trunk.input, trunk.get_layer(needed).output)
        resnet = functools.partial(_dilate_resnet_layer, stride=stride)
        dilate = {"resnet50": resnet, "vgg16": _dilate_vgg_layer}[name]
        trunk = _changed(trunk, dilate) if trainable else _folded(trunk, dilate)
    image = keras.Input(input_shape, name="image")
    normalized = Normalize(preprocessing, name="normalize")(image)
    if level_channels:
        levels = _levels_apart(trunk, name, feature_levels, normalized)
        features = ReduceLevels(level_channels, name="reduce")(levels)
    else:
        levels = _cut(trunk, name, feature_levels)(normalized)
        features = layers.Concatenate(name="levels")(levels) if len(levels) > 1 else levels[0]
    encoder = keras.Model(image, features, name="encoder")
    encoder.trainable = trainable
    if not last_stage or feature_levels[-1] == deepest:
        return Backbone(encoder, None)
    if name in FIXED:
        raise InputError(
            "prototype_levels: expected own with dinov2_small or hub:FOLDER, received deep."
        )
    return Backbone(encoder, _rest(trunk, feature_levels[-1], deepest, features.shape[-1]))


def _check_stride(stride, name):
    if stride not in STRIDES or (stride != "1x1" and name != "resnet50"):
        raise InputError(
            f"backbone_stride: expected one of {STRIDES}, and 1x1 where the backbone is not "
            f"resnet50, received {stride!r} for {name}."
        )


def _published(name, input_shape, weights, hub_description):
    """The network as it was published, with its weights where they are wanted."""
    if not hub.is_hub(name):
        trunk = _strided(name, input_shape)
        load_weights(trunk, name, weights)
        return trunk
    trunk = hub.build(hub_description)
    if weights != "none":
        hub.load_weights(trunk, name)
    return trunk


def _cut(trunk, name, levels):
    """A backbone as far as some of its levels, which it gives as a list."""
    outputs = [trunk.get_layer(level).output for level in levels]
    return keras.Model(trunk.input, outputs, name=name)


def _levels_apart(trunk, name, feature_levels, image):
    """Levels of a photo one by one; the last, where all its stage is dilated, at every other
    cell: a quarter of the operations, and the very values that it has there."""
    if name not in STAGED:
        return _cut(trunk, name, feature_levels)(image)
    *upper, last = feature_levels
    found = _cut(trunk, name, upper)(image)
    rest = _rest(trunk, upper[-1], last, found[-1].shape[-1])
    return [*found, rest(found[-1])]


def _rest(trunk, level, deepest, channels):
    """From features that end with `level` to `deepest`, at every other cell."""
    rest = keras.Model(trunk.get_layer(level).output, trunk.get_layer(deepest).output)
    rest = _changed(rest, _at_every_other_cell)
    features = keras.Input((None, None, channels), name="features")
    own = features[..., -rest.input_shape[-1] :]
    if not any(isinstance(layer, layers.MaxPooling2D) for layer in rest.layers):
        own = own[:, ::2, ::2]
    model = keras.Model(features, rest(own), name="last_stage")
    model.trainable = False
    return model


def _at_every_other_cell(layer):
    """Half the dilation: cells that it skipped are not there. A pool strides as it once did."""
    config = layer.get_config()
    if isinstance(layer, layers.MaxPooling2D):
        config["strides"] = (2, 2)
    elif isinstance(layer, layers.Conv2D) and layer.dilation_rate != (1, 1):
        config["dilation_rate"] = tuple(rate // 2 for rate in layer.dilation_rate)
    return layer.__class__.from_config(config)


def _strided(name, input_shape):
    """A network of random weights, of its own strides."""
    if name == "tiny":
        return _tiny(input_shape)
    if name == "dinov2_small":
        return build_dinov2(input_shape)
    network = {"resnet50": keras.applications.ResNet50, "vgg16": keras.applications.VGG16}
    return network[name](include_top=False, weights=None, input_shape=input_shape)


def _changed(network, change):
    """A copy with the same weights whose layers are what `change` makes of them."""
    copy = keras.models.clone_model(network, clone_function=change)
    for layer in copy.layers:
        if layer.weights:
            layer.set_weights(network.get_layer(layer.name).get_weights())
    return copy


def _dilate_resnet_layer(layer, stride):
    """Stages conv4 and conv5: stride 1, every 3x3 dilated by 2 and 4."""
    config = layer.get_config()
    if stride == "3x3" and layer.name == "conv3_block1_1_conv":
        config["strides"] = (1, 1)
    if stride == "3x3" and layer.name == "conv3_block1_2_conv":
        config["strides"] = (2, 2)
    dilation = {"conv4": 2, "conv5": 4}.get(layer.name.split("_")[0])
    if dilation and isinstance(layer, layers.Conv2D):
        config["strides"] = (1, 1)
        if stride == "3x3" and layer.name.endswith("_block1_2_conv"):
            dilation //= 2  # it strided itself, so it looked at the finer grid before
        if layer.kernel_size == (3, 3):
            config["dilation_rate"] = (dilation, dilation)
    return layer.__class__.from_config(config)


def _dilate_vgg_layer(layer):
    """Pools 4 and 5 keep the size; block5 is dilated by 2."""
    config = layer.get_config()
    if layer.name in ("block4_pool", "block5_pool"):
        config.update(strides=(1, 1), padding="same")
    elif layer.name.startswith("block5_conv"):
        config["dilation_rate"] = (2, 2)
    return layer.__class__.from_config(config)


@register
class FoldedBatchNorm(layers.Layer):
    """Stands where a batch norm was folded into the convolution before it: identity."""

    def compute_output_spec(self, x, training=None, mask=None):
        return keras.KerasTensor(x.shape, x.dtype)

    def call(self, x, training=None, mask=None):
        return x


def _folded(network, change):
    """`_changed`, with every `<name>_bn` merged into its `<name>_conv`; names stay."""

    def is_norm(layer):
        return isinstance(layer, layers.BatchNormalization)

    def without_norm(layer):
        return FoldedBatchNorm(name=layer.name) if is_norm(layer) else change(layer)

    folded = _changed(network, without_norm)
    for norm in filter(is_norm, network.layers):
        gamma, beta, mean, variance = (w.astype("float64") for w in norm.get_weights())
        scale = gamma / np.sqrt(variance + norm.epsilon)
        convolution = folded.get_layer(norm.name.removesuffix("_bn") + "_conv")
        kernel, bias = convolution.get_weights()
        convolution.set_weights([kernel * scale, (bias - mean) * scale + beta])
    return folded


def _tiny(input_shape):
    """A small network for the demo and the tests, trained from scratch: 1/8, two levels."""
    image = keras.Input(input_shape)
    x = conv(24, strides=2, name="stage1")(image)
    x = conv(48, strides=2, name="stage2")(x)
    x = conv(64, strides=2, name="stage3_down")(x)
    x = conv(64, name="stage3")(x)
    x = conv(64, rate=2, name="stage4_wide")(x)
    x = conv(64, name="stage4")(x)
    return keras.Model(image, x, name="tiny")
