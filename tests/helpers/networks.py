"""Tiny networks, photos and episodes that the tests of several rooms share."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from crnet_tf.config import Config
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network import model

SIZE = 33
TINY = Config(
    backbone="tiny",
    backbone_weights="none",
    image_size=SIZE,
    channels=8,
    global_kernel=3,
    aspp_rates="1,2",
    refine_steps=3,
)


def episode(batch=2, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.zeros((batch, SIZE, SIZE, 1), "uint8")
    mask[:, 8:24, 4:20] = 1
    mask[:, 24:26] = 255
    return {
        "support_image": rng.uniform(0, 255, (batch, SIZE, SIZE, 3)).astype("float32"),
        "support_mask": mask,
        "query_image": rng.uniform(0, 255, (batch, SIZE, SIZE, 3)).astype("float32"),
    }


def build(seed=0, **changes):
    keras.utils.set_random_seed(seed)
    return model.build_crnet(dataclasses.replace(TINY, **changes))


def targets(inputs):
    return {"support_mask": inputs["support_mask"], "query_mask": inputs["support_mask"][::-1]}


def photo(seed, height=40, width=52):
    """A noisy photo with an orange rectangle, and its mask with some void."""
    random = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    top, left = random.integers(1, height // 3), random.integers(0, width // 3)
    mask[top : top + height // 2, left : left + width // 2] = 1
    mask[0] = 255
    image = random.integers(0, 120, (height, width, 3)).astype(np.uint8)
    image[mask == 1] += np.array([130, 60, 0], np.uint8)
    return LabelledPhoto(image, mask, f"photo {seed}")


def lively(seed=0, **changes):
    """The tiny network with answers and presence that are not all alike, and a centre."""
    network = build(seed, **changes)
    kernel = network.parts.refinement.classifier.kernel
    kernel.assign(30 * kernel)
    mean = network.parts.centre.mean
    mean.assign(np.random.default_rng(seed).uniform(0, 0.5, mean.shape))
    network.parts.likelihood.measured.assign([0.9, 0.05, 0.05])
    return network


def with_prototypes():
    """The tiny network, calibrated, with prototypes."""
    return lively(calibrated_threshold=0.45, prototype_weight=2.0)


@pytest.fixture(autouse=True)
def eager():
    """Tracing costs more than a few runs of a tiny network."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def encoded(network, monkeypatch):
    """Number of photos that went through the encoder."""
    shapes, encoder = [], network.parts.encoder

    def count(image, **arguments):
        shapes.append(image.shape)
        return encoder(image, **arguments)

    counting = dataclasses.replace(network.parts, encoder=_Counting(encoder, count))
    monkeypatch.setattr(network, "parts", counting)
    return shapes


class _Counting:
    """An encoder whose calls are seen."""

    def __init__(self, encoder, call):
        self._encoder, self._call = encoder, call

    def __call__(self, image, **arguments):
        return self._call(image, **arguments)

    def __getattr__(self, name):
        return getattr(self._encoder, name)


@pytest.fixture(scope="module")
def deep():
    """A VGG-16 of CANet's levels, with the last stage for prototypes."""
    return build_deep("canet", prototype_levels="deep", prototype_weight=3.0)


def build_deep(levels, **changes):
    keras.utils.set_random_seed(0)
    settings = {"image_size": 65, "channels": 4, "refine_steps": 1, "backbone_weights": "none"}
    # A ResNet takes ten times as long to build.
    settings |= {"backbone": "vgg16", "feature_levels": levels}
    return model.build_crnet(Config(**settings | changes))
