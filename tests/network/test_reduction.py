"""Reduced levels: measured on photos, kept in a file, put into an encoder."""

import numpy as np
import pytest
from helpers.networks import TINY, build, eager  # noqa: F401

from crnet_tf.config import Config
from crnet_tf.network import reduction
from crnet_tf.network.reduction import ReduceLevels

LEVELS = {"feature_levels": "reduced", "level_channels": "6,5,4"}


@pytest.fixture(scope="module")
def encoder():
    return build(**LEVELS).parts.encoder


@pytest.fixture
def photos():
    random = np.random.default_rng(0)
    return [random.uniform(0, 255, (33, 33, 3)).astype("float32") for _ in range(8)]


def test_a_cell_loses_the_mean_and_keeps_what_varies_most():
    layer = ReduceLevels([1, 2])
    levels = [np.float32([[[[3, 4]]]]), np.float32([[[[0, 2, 0]]]])]
    layer.build([level.shape for level in levels])
    layer.means[0].assign([0.6, 0])
    layer.bases[0].assign([[0], [1]])
    layer.bases[1].assign([[1, 0], [0, 1], [0, 0]])
    np.testing.assert_allclose(layer(levels), [[[[0.8, 0, 1]]]], atol=1e-6)


def test_a_level_of_every_other_cell_comes_to_the_others_grid():
    layer = ReduceLevels([1, 1])
    coarse = np.float32([[1, 0], [0, 1]])[None, :, :, None] * np.float32([1, 1])
    levels = [np.ones((1, 3, 3, 1), "float32"), coarse]
    layer.build([level.shape for level in levels])
    layer.bases[1].assign([[1], [0]])
    found = np.array(layer(levels))[0, :, :, 1] * np.sqrt(2)
    np.testing.assert_allclose(found, [[1, 0.5, 0], [0.5, 0.5, 0.5], [0, 0.5, 1]], atol=1e-6)


def test_the_components_are_those_in_which_photos_differ_most(encoder, photos):
    measured = reduction.measure(encoder, photos)
    assert [measured[f"basis{n}"].shape[1] for n in range(3)] == [6, 5, 4]
    for number in range(3):
        basis = measured[f"basis{number}"]
        squared = basis.T @ basis
        np.testing.assert_allclose(squared / squared[0, 0], np.eye(len(squared)), atol=1e-4)
    assert all(0 < measured[f"kept{n}"] < 1 for n in range(3))
    reduction.put(encoder, measured)
    features = np.concatenate([np.array(encoder(p[None])).reshape(-1, 15) for p in photos])
    first, last = features[:, 0].var(), features[:, 5].var()
    assert first > last > 0  # of level 0, by how much they vary
    assert np.abs(features.mean(axis=0)).max() < 0.3  # little left that all photos have
    variances = [part.var(axis=0).mean() for part in np.split(features, [6, 11], axis=1)]
    np.testing.assert_allclose(variances, 1, rtol=0.5)


def test_a_file_gives_another_encoder_the_same_components(encoder, photos, tmp_path):
    measured = reduction.measure(encoder, photos)
    file = tmp_path / "levels.npz"
    reduction.save(measured, file)
    other = build(seed=1, **LEVELS).parts.encoder
    reduction.load(other, file)
    np.testing.assert_array_equal(other.get_layer("reduce").bases[2], measured["basis2"])


def test_what_does_not_fit_is_named(encoder, photos, tmp_path):
    file = tmp_path / "levels.npz"
    reduction.save(reduction.measure(encoder, photos), file)
    wider = build(**LEVELS | {"level_channels": "7,5,4"}).parts.encoder
    with pytest.raises(ValueError, match=r"\(64, 7\) of level 0, received \(64, 6\)"):
        reduction.load(wider, file)
    with pytest.raises(FileNotFoundError, match="crnet reduce"):
        reduction.load(wider, tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(ValueError, match="text.npz"):
        reduction.load(wider, tmp_path / "text.npz")


def test_too_few_cells_for_so_many_components_are_refused(photos):
    with pytest.raises(ValueError, match="at least 240 cells for 60 components, received 25"):
        reduction.measure(
            build(**LEVELS | {"level_channels": "60,5,4"}).parts.encoder, photos[:1]
        )


@pytest.mark.parametrize("flag", [{"train_backbone": True}, {"multi_level": False}])
def test_levels_that_change_cannot_be_reduced(flag):
    with pytest.raises(ValueError, match="feature_levels.*frozen backbone"):
        Config(feature_levels="reduced", **flag)
    with pytest.raises(ValueError, match="level_channels.*96,x"):
        Config(level_channels="96,x")
    assert TINY.feature_levels != "reduced"
