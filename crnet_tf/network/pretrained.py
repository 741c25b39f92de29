"""Pretrained weights of the backbones: reading them, and what else belongs to them."""

import pathlib

import keras
import numpy as np

from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.network import hub

FLOAT16_ROUNDING = 2.0**-11  # relative: `compact` keeps an encoder's weights as float16


def preprocessing_of(name: str, weights: str) -> str:
    """Preprocessing that belongs to `weights` when the user did not say it.

    An .npz may say so itself (entry "preprocessing"). Otherwise Keras' own ResNet-50 and
    VGG-16 are "caffe"; VGG-16 in .npz is torchvision's, which is "torch", as are `tiny` and
    `dinov2_small`. A preset of keras-hub prepares photos itself ("none").
    """
    if hub.is_hub(name):
        return "none"
    if name in ("tiny", "dinov2_small"):
        return "torch"
    default = "torch" if name == "vgg16" and weights.endswith(".npz") else "caffe"
    return _entry(weights, "preprocessing") or default


def stride_of(weights: str) -> str:
    """Stride ("1x1" or "3x3") that belongs to `weights` when the user did not say it.

    An .npz may say so itself (entry "stride"); all others are taken for "1x1".
    """
    return _entry(weights, "stride") or "1x1"


def _entry(weights, key):
    """What an .npz file says of itself under a key; None where one of them is not there."""
    if not weights.endswith(".npz") or not pathlib.Path(weights).exists():
        return None
    with files.open_npz(weights) as arrays:
        return str(arrays[key]) if key in arrays else None


def sums(encoder: keras.Model) -> np.ndarray:
    """Magnitudes of each frozen array, summed: float64 [N], by which others are noticed."""
    frozen = encoder.non_trainable_variables
    return np.array([np.abs(np.asarray(v, np.float64)).sum() for v in frozen])


def same_weights(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether two `sums` are of the same weights, of which one may have been rounded."""
    return np.allclose(found, wanted, rtol=FLOAT16_ROUNDING)


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
            "of a .npz, .h5 or .weights.h5 file (docs/guides/train.md)."
        )
    if path.suffix == ".npz":
        _load_npz(trunk, path)
    elif path.suffix == ".h5":
        _load_h5(trunk, path)
    else:
        raise InputError(
            f"backbone_weights: expected a .npz, .h5 or .weights.h5 file, received {weights!r}."
        )


def _imagenet_weights(name):
    if name == "tiny":
        raise InputError(
            "backbone_weights: the tiny backbone has no ImageNet weights. "
            "Use --backbone_weights=none with --train_backbone."
        )
    application = {"resnet50": keras.applications.ResNet50, "vgg16": keras.applications.VGG16}
    try:
        return application[name](include_top=False, weights="imagenet").get_weights()
    except Exception as error:
        raise ConnectionError(
            f"The ImageNet weights of {name} could not be downloaded ({error}). Give a file "
            "instead: --backbone_weights=path/to/weights.npz (docs/guides/train.md), "
            "or train from scratch: --backbone_weights=none --train_backbone."
        ) from error


def _load_npz(trunk, path):
    with files.open_npz(path) as arrays:
        for layer in trunk.layers:
            for variable in layer.weights:
                path = variable.path  # within a block there are several of one name
                key = path[path.index(f"{layer.name}/") :]
                if key not in arrays:
                    raise InputError(
                        f"{path} does not fit {trunk.name}: it has no {key!r}. Expected keys "
                        "<layer>/<variable> with the layer names of keras.applications; "
                        f"received {', '.join(arrays.files[:3])} ..."
                    )
                if arrays[key].shape != tuple(variable.shape):
                    raise InputError(
                        f"{path} does not fit {trunk.name}: {key} expected shape "
                        f"{tuple(variable.shape)}, received {arrays[key].shape}."
                    )
                variable.assign(arrays[key].astype("float32"))


def _load_h5(trunk, path):
    try:
        trunk.load_weights(str(path))
    except Exception as error:
        raise InputError(
            f"{path} does not fit {trunk.name}: {error}. Expected a weights file of "
            f"keras.applications' {trunk.name} without top ('notop')."
        ) from error
