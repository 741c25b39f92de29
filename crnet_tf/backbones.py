"""The Siamese encoder's backbones at 1/8 resolution, and loading of pretrained weights.

`keras.applications` networks are cloned with the strides of the last stages replaced by
dilation (DeepLab at 1/8; the same weights fit), then cut at the asked feature levels.
"""

import pathlib
import zipfile

import keras
import numpy as np
from keras import layers, ops

from crnet_tf.layers import conv, register

# Last layers of two stages at 1/8 resolution; presets as in `Config.feature_levels`.
FEATURE_LEVELS = {
    "resnet50": {
        "paper": ("conv4_block6_out", "conv5_block3_out"),
        "canet": ("conv3_block4_out", "conv4_block6_out"),
    },
    "vgg16": {
        "paper": ("block4_conv3", "block5_conv3"),
        "canet": ("block3_conv3", "block4_conv3"),
    },
    "tiny": {"paper": ("stage3", "stage4"), "canet": ("stage3", "stage4")},
}

# mean and standard deviation of RGB 0..255, and whether the network was trained on BGR.
PREPROCESSING = {
    "caffe": ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), True),
    "torch": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False),
}


@register
class Normalize(layers.Layer):
    """RGB 0..255 [B,H,W,3] -> what the weights were trained on ("caffe" or "torch")."""

    def __init__(self, preprocessing, **kwargs):
        super().__init__(**kwargs)
        self.preprocessing = preprocessing

    def call(self, image):
        mean, std, bgr = PREPROCESSING[self.preprocessing]
        mean = ops.convert_to_tensor(mean, dtype=image.dtype)
        std = ops.convert_to_tensor(std, dtype=image.dtype)
        image = (image - mean) / std
        return ops.flip(image, axis=-1) if bgr else image

    def get_config(self):
        return {**super().get_config(), "preprocessing": self.preprocessing}


def preprocessing_of(name: str, weights: str) -> str:
    """Preprocessing that belongs to `weights` when the user did not say it.

    An .npz may say so itself (entry "preprocessing"). Otherwise Keras' own ResNet-50 and
    VGG-16 are "caffe"; VGG-16 in .npz is torchvision's, which is "torch", as is `tiny`.
    """
    if name == "tiny":
        return "torch"
    if weights.endswith(".npz") and pathlib.Path(weights).exists():
        with _open_npz(weights) as arrays:
            if "preprocessing" in arrays:
                return str(arrays["preprocessing"])
        return "torch" if name == "vgg16" else "caffe"
    return "caffe"


def build_backbone(
    name: str,
    input_shape: tuple[int, int, int],
    feature_levels: tuple[str, ...],
    weights: str = "none",
    preprocessing: str = "auto",
    trainable: bool = False,
) -> keras.Model:
    """Encoder: image [B,H,W,3] float32 RGB 0..255 -> features [B,h,w,F] at 1/8.

    Args:
        name: "resnet50", "vgg16" or "tiny".
        input_shape: (H, W, 3), static.
        feature_levels: layer names whose outputs are concatenated.
        weights: "imagenet", "none", or a file; see `load_weights`.
        preprocessing: "auto", "caffe" or "torch".
        trainable: keep batch norm layers (always in inference mode); a frozen backbone has
            them folded into its convolutions, which is exact and up to 1.8x faster.

    Raises:
        ValueError: weights do not fit; FileNotFoundError, ConnectionError: not reachable.
    """
    if preprocessing == "auto":
        preprocessing = preprocessing_of(name, weights)
    if name == "tiny":
        trunk = _tiny(input_shape)
    else:
        trunk = _dilated(name, input_shape)
    load_weights(trunk, name, weights)
    if not trainable:
        trunk = fold_batch_norm(trunk)
    image = keras.Input(input_shape, name="image")
    levels = [trunk.get_layer(level).output for level in feature_levels]
    features = keras.Model(trunk.input, levels, name=name)(
        Normalize(preprocessing, name="normalize")(image)
    )
    features = features if isinstance(features, list) else [features]
    if len(features) > 1:
        features = [layers.Concatenate(name="levels")(features)]
    encoder = keras.Model(image, features[0], name="encoder")
    encoder.trainable = trainable
    return encoder


def load_weights(trunk: keras.Model, name: str, weights: str) -> None:
    """Fills `trunk` from "imagenet", a file (.npz, .h5, .weights.h5), or not at all ("none").

    An .npz holds `<layer>/<variable>` arrays with the layer names of keras.applications.
    """
    if weights == "none":
        return
    if weights == "imagenet":
        trunk.set_weights(_imagenet_weights(name))
        return
    path = pathlib.Path(weights)
    if not path.exists():
        raise FileNotFoundError(
            f"backbone_weights: no file {weights!r}. Expected 'imagenet', 'none', or the path "
            "of a .npz, .h5 or .weights.h5 file (BUILD.md, Pretrained weights)."
        )
    if path.suffix == ".npz":
        _load_npz(trunk, path)
    elif path.suffix == ".h5":
        _load_h5(trunk, path)
    else:
        raise ValueError(
            f"backbone_weights: expected a .npz, .h5 or .weights.h5 file, received {weights!r}."
        )


def _imagenet_weights(name):
    if name == "tiny":
        raise ValueError(
            "backbone_weights: the tiny backbone has no ImageNet weights. "
            "Use --backbone_weights=none with --train_backbone."
        )
    application = {"resnet50": keras.applications.ResNet50, "vgg16": keras.applications.VGG16}
    try:
        return application[name](include_top=False, weights="imagenet").get_weights()
    except Exception as error:
        raise ConnectionError(
            f"The ImageNet weights of {name} could not be downloaded ({error}). Give a file "
            "instead: --backbone_weights=path/to/weights.npz (BUILD.md, Pretrained weights), "
            "or train from scratch: --backbone_weights=none --train_backbone."
        ) from error


def _open_npz(path):
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read as an .npz archive of weights ({error}). It is damaged or "
            "of another kind: copy it again."
        ) from error


def _load_npz(trunk, path):
    with _open_npz(path) as arrays:
        for layer in trunk.layers:
            for variable in layer.weights:
                key = f"{layer.name}/{variable.name}"
                if key not in arrays:
                    raise ValueError(
                        f"{path} does not fit {trunk.name}: it has no {key!r}. Expected keys "
                        "<layer>/<variable> with the layer names of keras.applications; "
                        f"received {', '.join(arrays.files[:3])} ..."
                    )
                if arrays[key].shape != tuple(variable.shape):
                    raise ValueError(
                        f"{path} does not fit {trunk.name}: {key} expected shape "
                        f"{tuple(variable.shape)}, received {arrays[key].shape}."
                    )
                variable.assign(arrays[key].astype("float32"))


def _load_h5(trunk, path):
    try:
        trunk.load_weights(str(path))
    except Exception as error:
        raise ValueError(
            f"{path} does not fit {trunk.name}: {error}. Expected a weights file of "
            f"keras.applications' {trunk.name} without top ('notop')."
        ) from error


def _dilated(name, input_shape):
    """keras.applications network with the last strides turned into dilation."""
    if name == "resnet50":
        strided = keras.applications.ResNet50(
            include_top=False, weights=None, input_shape=input_shape, name=name
        )
        clone = _dilate_resnet_layer
    else:
        strided = keras.applications.VGG16(
            include_top=False, weights=None, input_shape=input_shape, name=name
        )
        clone = _dilate_vgg_layer
    return keras.models.clone_model(strided, clone_function=clone)


def _dilate_resnet_layer(layer):
    """Stages conv4 and conv5: stride 1, every 3x3 dilated by 2 and 4."""
    config = layer.get_config()
    dilation = {"conv4": 2, "conv5": 4}.get(layer.name.split("_")[0])
    if dilation and isinstance(layer, layers.Conv2D):
        config["strides"] = (1, 1)
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

    def call(self, x, training=None, mask=None):
        return x


def fold_batch_norm(trunk: keras.Model) -> keras.Model:
    """Same network with every `<name>_bn` merged into its `<name>_conv`; names stay."""
    norms = [layer for layer in trunk.layers if isinstance(layer, layers.BatchNormalization)]
    if not norms:
        return trunk

    def without_norm(layer):
        if isinstance(layer, layers.BatchNormalization):
            return FoldedBatchNorm(name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    folded = keras.models.clone_model(trunk, clone_function=without_norm)
    for layer in folded.layers:
        if layer.weights:
            layer.set_weights(trunk.get_layer(layer.name).get_weights())
    for norm in norms:
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
