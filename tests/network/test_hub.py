"""Presets of keras-hub as backbones, where the package is installed."""

import dataclasses
import json
import sys

import numpy as np
import pytest
from helpers import networks

from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.network import backbones, hub, model
from crnet_tf.network.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """The folder of a small ResNet with weights of its own, and the network."""
    keras_hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    network = keras_hub.models.ResNetBackbone(
        [64], [7], [64, 8, 16, 32], [1, 1, 1, 1], [1, 2, 2, 2], "basic_block"
    )
    folder = tmp_path_factory.mktemp("hub") / "resnet"
    network.save_to_preset(str(folder))
    # Half the grey is taken away, as a preset says that photos are prepared.
    converter = keras_hub.layers.ImageConverter(scale=1 / 127.5, offset=-1)
    converter.save_to_preset(str(folder))
    return folder, network


def build(folder, **changes):
    config = dataclasses.replace(
        networks.TINY,
        backbone=f"hub:{folder}",
        backbone_weights="imagenet",
        train_backbone=False,
        **changes,
    )
    return model.build_crnet(config)


def test_the_encoder_has_the_stages_and_the_preprocessing_of_the_preset(preset):
    folder, network = preset
    encoder = build(folder, feature_levels="canet").parts.encoder
    photo = np.random.default_rng(0).uniform(0, 255, (1, 65, 65, 3)).astype("float32")
    found = np.asarray(encoder(photo))
    assert found.shape == (1, 9, 9, 24)
    import keras

    pyramid = keras.Model(network.inputs, network.pyramid_outputs)(photo / 127.5 - 1)
    np.testing.assert_allclose(found[..., :8], pyramid["P3"], atol=1e-5)
    np.testing.assert_allclose(found[:, ::2, ::2, 8:], pyramid["P4"], atol=1e-5)


def test_a_checkpoint_needs_the_folder_no_more(preset, tmp_path):
    folder, _ = preset
    network = build(folder)
    network.save(tmp_path / "hub.keras")
    moved = folder.rename(folder.with_name("moved"))
    try:
        loaded = load_checkpoint(tmp_path / "hub.keras")
    finally:
        moved.rename(folder)
    for was, now in zip(network.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_reduced_levels_are_three(preset):
    reduced = build(preset[0], feature_levels="reduced", level_channels="4,5,6")
    assert reduced.parts.encoder.output_shape[-1] == 15


def test_a_folder_that_is_no_preset_is_named(preset, tmp_path):
    with pytest.raises(InputError, match=f"hub:{tmp_path}"):
        hub.describe(f"hub:{tmp_path}")


def test_a_preset_without_feature_maps_is_refused(preset, tmp_path):
    import keras_hub

    tokens = keras_hub.models.DINOV2Backbone(14, 1, 8, 1, 8, image_shape=(28, 28, 3))
    tokens.save_to_preset(str(tmp_path / "tokens"))
    with pytest.raises(InputError, match="dinov2_weights"):
        hub.describe(f"hub:{tmp_path / 'tokens'}")


def test_without_the_package_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BlockedError, match=r"crnet-tf\[hub\]"):
        hub.describe("hub:anywhere")


def test_levels_that_cannot_be_continued_have_no_last_stage(monkeypatch):
    levels = backbones.levels_of("dinov2_small", "canet")
    with pytest.raises(InputError, match="prototype_levels: expected own"):
        backbones.build_backbone("dinov2_small", (None, None, 3), levels, last_stage=True)


def test_another_backbone_is_no_choice():
    with pytest.raises(InputError, match=r"expected one of .*tiny.* or hub:\.\.\., received"):
        dataclasses.replace(networks.TINY, backbone="resnet")


def test_the_description_is_text(preset):
    said = json.loads(hub.describe(f"hub:{preset[0]}"))
    assert said["offset"] == -1 and said["network"]["class_name"] == "ResNetBackbone"
