"""Backbones of keras-hub that have a feature pyramid, from the folder of a preset.

    --backbone=hub:FOLDER   ResNet, DenseNet, EfficientNet, CSPNet, MiT ...

The last three stages of the pyramid become `level1` to `level3`, all of the size of the first.
A checkpoint holds the architecture as text (`describe`), so that the folder is needed once; the
package (extra `hub`) is needed wherever the checkpoint is loaded.
"""

import importlib.util
import json

import keras
from keras import layers

from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.network.layers import register
from crnet_tf.network.resizing import resize_align_corners

PREFIX, KIND = "hub:", "hub"
LEVELS = {
    "paper": ("level2", "level3"),
    "canet": ("level1", "level2"),
    "reduced": ("level1", "level2", "level3"),
}


def is_hub(backbone: str) -> bool:
    """Whether a backbone's name is that of a preset."""
    return backbone.startswith(PREFIX)


def kind_of(backbone: str) -> str:
    """What a backbone's network is called: "hub" of a preset, else as the backbone."""
    return KIND if is_hub(backbone) else backbone


@register
class ResizeLike(layers.Layer):
    """[B,h,w,C] -> [B,H,W,C] of another's height and width, corners on corners."""

    def compute_output_spec(self, images, other):
        shape = (*other.shape[:-1], images.shape[-1])
        return keras.KerasTensor(shape, self.compute_dtype)

    def call(self, images, other):
        return resize_align_corners(images, other.shape[1:3])


def describe(backbone: str) -> str:
    """What rebuilds the network of a preset and prepares photos for it, as JSON.

    Args:
        backbone: "hub:FOLDER".

    Raises:
        BlockedError: keras-hub is not installed.
        InputError: no such preset, or it has no pyramid of feature maps.
    """
    network, hub = _preset(backbone, load_weights=False), _package()
    converter = hub.layers.ImageConverter.from_preset(backbone.removeprefix(PREFIX))
    return json.dumps(
        {
            "network": keras.saving.serialize_keras_object(network),
            "scale": _numbers(converter.scale, 1.0),
            "offset": _numbers(converter.offset, 0.0),
        }
    )


def _numbers(given, default):
    if given is None:
        return default
    return [float(value) for value in given] if hasattr(given, "__len__") else float(given)


def build(description: str) -> keras.Model:
    """Photos [B,S,S,3] RGB 0..255 -> `level1`, `level2`, `level3`, of random weights."""
    _package()
    said = json.loads(description)
    pyramid = _pyramid(keras.saving.deserialize_keras_object(said["network"]))
    photo = keras.Input((None, None, 3))
    prepared = layers.Rescaling(said["scale"], said["offset"], name="prepared")(photo)
    first, *coarser = pyramid(prepared)
    levels = [layers.Identity(name="level1")(first)]
    levels += [ResizeLike(name=f"level{n}")(one, first) for n, one in enumerate(coarser, 2)]
    return keras.Model(photo, levels, name=KIND)


def load_weights(network: keras.Model, backbone: str) -> None:
    """Gives what `build` made the weights of its preset."""
    trained = _pyramid(_preset(backbone, load_weights=True))
    network.get_layer("pyramid").set_weights(trained.get_weights())


def _preset(backbone, load_weights):
    folder, hub = backbone.removeprefix(PREFIX), _package()
    try:
        network = hub.models.Backbone.from_preset(folder, load_weights=load_weights)
    except (OSError, ValueError) as error:
        raise InputError(
            f"backbone: expected hub:FOLDER with a preset of keras-hub, received {backbone!r} "
            f"({error}). Save one with backbone.save_to_preset(FOLDER)."
        ) from error
    maps = [one for one in getattr(network, "pyramid_outputs", {}).values()]
    if len(maps) < 3 or any(len(one.shape) != 4 for one in maps):
        raise InputError(
            f"backbone: expected a preset with a pyramid of three feature maps or more, "
            f"received {type(network).__name__} of {folder!r}. Use a CNN such as ResNet; "
            "DINOv2's weights are converted by tools/dinov2_weights.py."
        )
    return network


def _pyramid(network):
    """A backbone as far as the last three stages of its pyramid, which it gives as a list."""
    stages = sorted(network.pyramid_outputs, key=lambda name: int(name.lstrip("P")))
    outputs = [network.pyramid_outputs[name] for name in stages[-3:]]
    return keras.Model(network.inputs, outputs, name="pyramid")


def _package():
    if importlib.util.find_spec("keras_hub") is None:
        raise BlockedError(
            "backbone: hub:FOLDER needs the package keras-hub, which is not installed. "
            "Install it: pip install 'crnet-tf[hub]'."
        )
    import keras_hub

    return keras_hub
