"""Dilated backbones: the weights of the strided ones, at 1/8 resolution, frozen."""

import keras
import numpy as np
import pytest

from crnet_tf.network import preprocessing, pretrained
from crnet_tf.network.backbones import FEATURE_LEVELS, build_backbone

SHARED_WEIGHTS = {"resnet50": "resnet50_notop_f16.npz", "vgg16": "vgg16_notop_f16.npz"}


def build_encoder(*args, **kwargs):
    return build_backbone(*args, **kwargs).encoder


def photo(size, seed=0):
    """A smooth random picture: noise would amplify rounding through 50 layers."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (1, 5, 5, 3)).astype("float32")
    return keras.ops.convert_to_numpy(keras.ops.image.resize(coarse, (size, size)))


@pytest.mark.parametrize(
    ("name", "channels"), [("resnet50", 3072), ("vgg16", 1024), ("tiny", 128)]
)
def test_features_are_at_one_eighth_with_both_levels(name, channels):
    encoder = build_encoder(name, (None, None, 3), FEATURE_LEVELS[name]["paper"])
    for size, cells in ((65, (8, 9)), (321, (40, 41))):
        shape = encoder.compute_output_shape((None, size, size, 3))
        assert shape[1] == cells[name != "vgg16"] and shape[-1] == channels


@pytest.mark.parametrize(
    "name", [pytest.param("resnet50", marks=pytest.mark.slow), "vgg16", "tiny"]
)
def test_an_encoder_without_a_size_takes_any(name):
    encoder = build_encoder(name, (None, None, 3), FEATURE_LEVELS[name]["paper"])
    assert encoder.output_shape[:3] == (None, None, None)
    image = photo(41)
    fixed = build_encoder(name, (41, 41, 3), FEATURE_LEVELS[name]["paper"])
    fixed.set_weights(encoder.get_weights())
    found = keras.ops.convert_to_numpy(encoder(image))
    np.testing.assert_allclose(found, fixed(image), atol=1e-4 * np.abs(found).max())
    assert encoder.compute_output_shape((None, 41, 41, 3)) == (*fixed.output_shape,)
    assert encoder(photo(65)).shape[1] in (8, 9)


def strided_resnet(size, stride):
    """keras.applications' ResNet-50; with "3x3" its strides moved, as in the Model Garden's."""
    network = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(size, size, 3)
    )

    def moved(layer):
        config = layer.get_config()
        if layer.name.endswith("_block1_1_conv"):
            config["strides"] = (1, 1)
        elif layer.name.endswith("_block1_2_conv") and not layer.name.startswith("conv2"):
            config["strides"] = (2, 2)
        return layer.__class__.from_config(config)

    if stride == "1x1":
        return network
    return keras.models.clone_model(network, clone_function=moved)


def save_weights(path, network, **entries):
    """The weights of a network as .npz, with batch norms that have met some data."""
    rng, arrays = np.random.default_rng(0), {}
    for layer in network.layers:
        for variable in layer.weights:
            value = variable.numpy()
            if isinstance(layer, keras.layers.BatchNormalization):
                value = rng.uniform(0.5, 1.5, value.shape)
            arrays[f"{layer.name}/{variable.name}"] = value
    np.savez(path, **arrays, **entries)


# Last layer of a stage: every how manieth cell of the dilated features the strided one has.
GRIDS = {"conv3_block4_out": 1, "conv4_block6_out": 2, "conv5_block3_out": 4}


def assert_agrees_on_the_grid(weights, stride, size):
    """Dilated features are the strided network's, where that has a cell."""
    strided = strided_resnet(size, stride)
    pretrained.load_weights(strided, "resnet50", weights)
    image = photo(size)
    caffe = image[..., ::-1] - np.array([103.939, 116.779, 123.68], "float32")
    levels = [strided.get_layer(name).output for name in GRIDS]
    wanted = [keras.ops.convert_to_numpy(x) for x in keras.Model(strided.input, levels)(caffe)]
    encoder = build_encoder("resnet50", (size, size, 3), tuple(GRIDS), weights, "caffe")
    ends = np.cumsum([level.shape[-1] for level in wanted])[:-1]
    found = np.split(keras.ops.convert_to_numpy(encoder(image)), ends, axis=-1)
    for level, dilated, step in zip(wanted, found, GRIDS.values(), strict=True):
        assert np.abs(level).max() > 0.1
        on_grid = dilated[:, ::step, ::step]
        np.testing.assert_allclose(on_grid, level, atol=1e-4 * np.abs(level).max())


@pytest.mark.parametrize("stride", ["1x1", pytest.param("3x3", marks=pytest.mark.slow)])
def test_the_dilated_network_agrees_with_the_strided_one_on_its_grid(tmp_path, stride):
    keras.utils.set_random_seed(0)
    path = tmp_path / "w.npz"
    # Without the entry it is keras.applications'; with it, the Model Garden's.
    entries = {"stride": stride} if stride == "3x3" else {}
    save_weights(path, strided_resnet(65, stride), **entries)
    assert_agrees_on_the_grid(str(path), stride, size=65)


def test_an_npz_may_name_its_stride_and_the_user_another(tmp_path):
    np.savez(tmp_path / "w.npz", stride="3x3")
    assert pretrained.stride_of(str(tmp_path / "w.npz")) == "3x3"
    assert pretrained.stride_of("imagenet") == pretrained.stride_of("none") == "1x1"
    levels = FEATURE_LEVELS["resnet50"]["canet"]
    trunk = build_encoder("resnet50", (33, 33, 3), levels, stride="3x3").get_layer("resnet50")
    assert trunk.get_layer("conv3_block1_2_conv").strides == (2, 2)
    for name, stride in (("resnet50", "2x2"), ("vgg16", "3x3"), ("tiny", "3x3")):
        with pytest.raises(ValueError, match=f"backbone_stride: .*received '{stride}'"):
            build_encoder(name, (33, 33, 3), FEATURE_LEVELS[name]["paper"], stride=stride)


@pytest.mark.slow
@pytest.mark.shared
def test_the_same_with_the_real_weights(shared):
    path = shared / "weights" / SHARED_WEIGHTS["resnet50"]
    assert_agrees_on_the_grid(str(path), "1x1", size=65)


@pytest.mark.shared
@pytest.mark.parametrize("name", SHARED_WEIGHTS)
def test_real_weights_load_with_their_preprocessing(shared, name):
    path = str(shared / "weights" / SHARED_WEIGHTS[name])
    encoder = build_encoder(name, (65, 65, 3), FEATURE_LEVELS[name]["paper"], path)
    expected = {"resnet50": "caffe", "vgg16": "torch"}[name]
    assert encoder.get_layer("normalize").preprocessing == expected
    assert np.isfinite(encoder.predict(photo(65), verbose=0)).all()


def test_folding_batch_norm_changes_nothing(tmp_path):
    levels = FEATURE_LEVELS["resnet50"]["paper"]
    rng = np.random.default_rng(0)
    plain = build_encoder("resnet50", (65, 65, 3), levels, trainable=True)
    for layer in plain.get_layer("resnet50").layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    path = tmp_path / "w.npz"
    trunk = plain.get_layer("resnet50")
    np.savez(path, **{f"{x.name}/{w.name}": w.numpy() for x in trunk.layers for w in x.weights})
    folded = build_encoder("resnet50", (65, 65, 3), levels, str(path))
    a, b = (network.predict(photo(65), verbose=0) for network in (plain, folded))
    np.testing.assert_allclose(a, b, atol=2e-4 * np.abs(a).max())
    assert not any("moving" in w.path for w in folded.weights)


def test_a_frozen_backbone_has_nothing_to_train():
    levels = FEATURE_LEVELS["tiny"]["paper"]
    assert build_encoder("tiny", (33, 33, 3), levels).trainable_variables == []
    assert build_encoder("tiny", (33, 33, 3), levels, trainable=True).trainable_variables


def test_normalisation_follows_the_weights():
    image = np.array([[[[123.68, 116.779, 0.0]]]], "float32")
    caffe = keras.ops.convert_to_numpy(preprocessing.Normalize("caffe")(image))
    np.testing.assert_allclose(caffe[0, 0, 0], [-103.939, 0, 0], atol=1e-4)
    torch = keras.ops.convert_to_numpy(preprocessing.Normalize("torch")(image))
    np.testing.assert_allclose(torch[0, 0, 0, 2], -0.406 / 0.225, rtol=1e-4)


def test_an_npz_may_name_its_preprocessing(tmp_path):
    np.savez(tmp_path / "w.npz", preprocessing="torch")
    assert pretrained.preprocessing_of("resnet50", str(tmp_path / "w.npz")) == "torch"


# === Errors ===


def build(weights, name="resnet50"):
    return build_encoder(name, (33, 33, 3), FEATURE_LEVELS[name]["paper"], str(weights))


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match="no file 'nowhere.npz'.*Expected 'imagenet'"):
        build("nowhere.npz")


def test_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    path.touch()
    with pytest.raises(ValueError, match="expected a .npz, .h5 or .weights.h5 file"):
        build(path)


def test_an_npz_that_lacks_a_layer_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", something=np.zeros(3))
    with pytest.raises(ValueError, match="has no 'conv1_conv/kernel'.*received something"):
        build(tmp_path / "w.npz")


def test_a_damaged_npz_is_named(tmp_path):
    (tmp_path / "w.npz").write_bytes(b"PK not really")
    with pytest.raises(ValueError, match="w.npz cannot be read as an .npz archive"):
        build(tmp_path / "w.npz")


def test_an_npz_of_another_shape_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", **{"conv1_conv/kernel": np.zeros((3, 3, 3, 64))})
    with pytest.raises(
        ValueError, match=r"expected shape \(7, 7, 3, 64\), received \(3, 3, 3, 64\)"
    ):
        build(tmp_path / "w.npz")


def test_an_h5_of_another_network_is_refused(tmp_path):
    path = tmp_path / "w.weights.h5"
    build_encoder("tiny", (33, 33, 3), ("stage4",)).save_weights(path)
    with pytest.raises(ValueError, match="does not fit resnet50"):
        build(path)


def test_unreachable_imagenet_weights_name_the_remedy(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    with pytest.raises(ConnectionError, match="no route to host.*--backbone_weights=path"):
        pretrained._imagenet_weights("resnet50")


def test_tiny_has_no_imagenet_weights():
    with pytest.raises(ValueError, match="--backbone_weights=none"):
        build("imagenet", "tiny")
