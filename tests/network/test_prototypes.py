"""Prototypes: frozen features as a second opinion, in every answer and in no loss."""

import types

import keras
import numpy as np
import pytest
from helpers import commands
from helpers.networks import build_deep, eager, episode, lively, photo  # noqa: F401

from crnet_tf import calibrate
from crnet_tf.config import Config
from crnet_tf.evaluation import calibration
from crnet_tf.fewshot.learner import Learner
from crnet_tf.network import backbones, model, parts
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.network.prototypes import Prototypes
from crnet_tf.network.resizing import between
from crnet_tf.options import Options

SUPPORT, QUERY = photo(1), photo(9, 45, 37)


def test_a_cell_is_compared_with_the_object_and_with_the_rest():
    """By hand: 1x2 cells of 3 channels, of which the last two are the level."""
    prototypes = Prototypes(2.0, [2])
    support = np.float32([[[[9, 3, 0], [9, 0, 5]]]])
    mask = np.uint8([[[[1], [0]]]])
    query = np.float32([[[[7, 4, 4], [7, 0, -1]]]])
    views = [prototypes.cells(f, prototypes.last_level(f)) for f in (support, query)]
    averages = prototypes.averages(views[0], mask)
    np.testing.assert_allclose(averages["foreground"], [[[[1, 0]]]], atol=1e-6)
    np.testing.assert_allclose(averages["background"], [[[[0, 1]]]], atol=1e-6)
    logits = np.full((1, 3, 1, 2, 2), 0.5, np.float32)
    # As the mean of several supports: shorter, and no weaker for it.
    averages["foreground"] = 0.6 * averages["foreground"]
    found = np.array(prototypes.added(logits, views[1], averages, shots=10**8))
    np.testing.assert_allclose(found[..., 0], logits[..., 0])
    weight = 2 * 10**4  # the root of so many
    np.testing.assert_allclose(found[0, :, 0, :, 1] / weight, [[0, 1]] * 3, atol=1e-4)


def test_the_photo_itself_is_one_more_support():
    """By hand: the cell that the first answer is sure of speaks for the object."""
    prototypes, cells = Prototypes(2.0, [2]), np.float32([[[[1, 0], [0, 1]]]])
    averages = {
        "foreground": np.float32([[[[0.8, 0.6]]]]), "background": np.float32([[[[0, 1]]]])
    }  # fmt: skip
    logits = np.zeros((1, 2, 1, 2, 2), np.float32)
    logits[0, 0, 0, :, 1] = [1.0, -0.5]

    def own(share):
        mean = share**8 @ cells[0, 0]
        return mean / np.linalg.norm(mean)

    for shots, weight in ((1, 2), (4, 2 * 2)):
        # Of the first step alone: 0.8 - 0 and 0.6 - 1 is what the supports say.
        foreground = 1 / (1 + np.exp(-np.array([1, -0.5]) - weight * np.array([0.8, -0.4])))
        one = (shots * np.array([0.8, 0.6]) + own(foreground)) / (shots + 1)
        other = (shots * np.array([0, 1]) + own(1 - foreground)) / (shots + 1)
        found = np.array(prototypes.added(logits, cells, averages, shots))
        added = found[0, :, 0, :, 1] - logits[0, :, 0, :, 1]
        np.testing.assert_allclose(added, [weight * (one - other)] * 2, atol=1e-5)


def test_void_belongs_to_neither_side_and_an_object_of_all_has_no_rest():
    prototypes = Prototypes(1.0, [2])
    cells = np.float32([[[[1, 0], [0, 1]]]])
    for mask, one, other in (
        ([1, 255], [1, 0], [0, 0]), ([255, 0], [0, 0], [0, 1]), ([1, 1], [0.5, 0.5], [0, 0]),
    ):  # fmt: skip
        averages = prototypes.averages(cells, np.uint8(mask).reshape(1, 1, 2, 1))
        np.testing.assert_allclose(np.ravel(averages["foreground"]), one, atol=1e-6)
        np.testing.assert_allclose(np.ravel(averages["background"]), other, atol=1e-6)
        found = prototypes.added(np.zeros((1, 1, 1, 2, 2), np.float32), cells, averages)
        assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("backbone", "stride"),
    [
        pytest.param("resnet50", "1x1", marks=pytest.mark.slow),
        pytest.param("resnet50", "3x3", marks=pytest.mark.slow),
        ("vgg16", "1x1"),
    ],
)
def test_the_last_stage_is_the_backbones_own_at_every_other_cell(backbone, stride):
    levels = backbones.FEATURE_LEVELS[backbone]
    keras.utils.set_random_seed(0)
    cut = backbones.build_backbone(
        backbone, (None, None, 3), levels["canet"], stride=stride, last_stage=True
    )
    keras.utils.set_random_seed(0)
    whole = backbones.build_backbone(backbone, (None, None, 3), levels["paper"], stride=stride)
    assert whole.last_stage is None and not cut.last_stage.trainable_variables
    image = np.random.default_rng(0).uniform(0, 255, (1, 72, 65, 3)).astype("float32")
    found, expected = cut.last_stage(cut.encoder(image)), whole.encoder(image)[:, ::2, ::2]
    expected = expected[..., -found.shape[-1] :]
    assert found.shape[1] == 5 and np.std(expected) > 0
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(np.abs(expected).max()))


def test_deep_prototypes_see_the_stage_that_the_network_does_not(deep):
    features = deep.parts.encoder(np.random.default_rng(0).uniform(0, 255, (1, 65, 65, 3)))
    assert features.shape[-1] == 256 + 512
    assert deep.parts.prototypes.widths == [512, 512]
    cells = parts.branch_input(deep.parts, features)["cells"]
    assert cells.shape == (1, 8, 8, 1024)
    for level in (cells[..., :512], cells[..., 512:]):
        np.testing.assert_allclose(np.linalg.norm(level, axis=-1), 1, atol=1e-4)
    only = build_deep("paper", prototype_levels="deep", prototype_weight=1.0)
    assert only.parts.prototypes.widths == [512]


def test_they_are_no_part_of_training(deep):
    """Neither in a loss nor among what is trained."""
    plain = build_deep("canet")
    assert [v.path for v in deep.trainable_variables] == [
        v.path for v in plain.trainable_variables
    ]
    without, with_them = lively(), lively(prototype_weight=5.0)
    for name, value in without(episode(), training=True).items():
        np.testing.assert_array_equal(value, with_them(episode(), training=True)[name])


def test_a_checkpoint_keeps_them(deep, tmp_path):
    deep.save(tmp_path / "deep.keras")
    loaded = load_checkpoint(tmp_path / "deep.keras")
    assert loaded.config == deep.config
    answers = [Learner(n).fit([SUPPORT]).maps(QUERY)[0] for n in (deep, loaded)]
    np.testing.assert_allclose(*answers, atol=1e-5)


def test_the_mean_of_supports_counts_as_all_of_them(monkeypatch):
    counted, added = [], Prototypes.added

    def watched(self, logits, cells, averages, shots=1):
        counted.append(np.ravel(shots).tolist())
        return added(self, logits, cells, averages, shots)

    monkeypatch.setattr(Prototypes, "added", watched)
    network, supports = lively(prototype_weight=5.0), [photo(2), photo(3), photo(4)]
    for kshot in ("fusion", "mean"):
        Learner(network, Options(kshot=kshot)).fit(supports).maps(QUERY)
    assert counted[-2:] == [[1, 1, 1], [3]]


@pytest.mark.parametrize("kshot", ["fusion", "mean"])
def test_every_answer_is_moved_by_the_similarity(kshot):
    """The Keras graph, `segment` and the learner alike; the mean of several supports too."""
    plain, moved = lively(), lively(prototype_weight=5.0)
    first, second = (n(episode())["query"] for n in (plain, moved))
    assert np.abs(first - second).max() > 0.05
    supports = [photo(2), photo(3)]
    maps = []
    for network in (plain, moved):
        predictor = Learner(network, Options(kshot=kshot)).fit(supports)
        maps.append(predictor.maps(QUERY)[0][-1])
    assert np.abs(maps[0] - maps[1]).max() > 0.01


# === What all photos have in common ===


def test_the_centre_is_taken_away_and_kept_in_checkpoints(tmp_path):
    network = lively()
    mean = network.parts.centre.mean.numpy()
    cells = np.random.default_rng(0).uniform(size=(2, 3, len(mean))).astype(np.float32)
    np.testing.assert_allclose(network.parts.centre(cells), cells - mean)
    network.save(tmp_path / "new.keras")
    loaded = load_checkpoint(tmp_path / "new.keras")
    np.testing.assert_array_equal(loaded.parts.centre.mean, mean)


def test_a_checkpoint_of_before_has_none(tmp_path):
    """As it was written then: without the layer."""
    network = lively()
    del network.centre
    network.save(tmp_path / "old.keras")
    loaded = load_checkpoint(tmp_path / "old.keras")
    assert not np.any(loaded.parts.centre.mean)
    np.testing.assert_array_equal(
        loaded.parts.refinement.classifier.kernel, network.parts.refinement.classifier.kernel
    )


# === Added to a trained network ===


def test_calibrate_gives_them_to_a_trained_network(tmp_path, capsys):
    trained = lively(1)
    trained.save(tmp_path / "best.keras")
    commands.run(
        calibrate, f"--checkpoint={tmp_path}/best.keras", "--prototype_weight=4",
        "--threshold=0.3",
    )  # fmt: skip
    found = load_checkpoint(tmp_path / "best.keras")
    assert found.config.prototype_weight == 4 and found.config.calibrated_threshold == 0.3
    expected = lively(1, prototype_weight=4.0, calibrated_threshold=0.3)
    np.testing.assert_allclose(
        found(episode())["query"], expected(episode())["query"], atol=1e-5
    )


def test_deep_ones_bring_the_last_stage_of_the_same_weights(tmp_path):
    files = [str(tmp_path / name) for name in ("own.weights.h5", "other.weights.h5")]
    vgg = keras.applications.VGG16(include_top=False, weights=None)
    vgg.save_weights(files[0])
    vgg.set_weights([2 * array for array in vgg.get_weights()])
    vgg.save_weights(files[1])
    trained = build_deep("canet", backbone_weights=files[0])
    found = calibration.with_prototypes(trained, 3.0, "deep")
    built = model.build_crnet(found.config)
    pairs = [(found.parts.prototypes.last_stage, built.parts.prototypes.last_stage)]
    pairs += [
        (getattr(found.parts, name), getattr(trained.parts, name))
        for name in ("encoder", "projection", "cross_reference", "condition", "refinement")
    ]
    for one, other in pairs:
        for value, expected in zip(one.weights, other.weights, strict=True):
            np.testing.assert_array_equal(value, expected)
    with pytest.raises(ValueError, match="expected those that the network was trained on"):
        calibration.with_prototypes(trained, 3.0, "deep", files[1])


def test_a_backbone_that_is_trained_has_no_deep_ones():
    with pytest.raises(
        ValueError, match="prototype_levels: expected own with --train_backbone"
    ):
        Config(train_backbone=True, prototype_levels="deep")


def test_cells_in_between_stand_where_they_did_also_of_an_even_number():
    """Every other cell of a ramp: an even number ends with a cell like the one before."""
    last_stage = types.SimpleNamespace(output_shape=(None, None, None, 1))
    layer = Prototypes(1.0, [1], last_stage)
    for count, wanted in ((5, [1, 2, 3, 4, 5]), (6, [1, 2, 3, 4, 5, 5])):
        ramp = np.float32([[[[i + 1] for i in range(0, count, 2)]]])
        features = np.ones((1, 1, count, 1), np.float32)
        cells = between(ramp, (1, count))
        np.testing.assert_allclose(np.ravel(cells), wanted)
        assert layer.cells(features, ramp).shape == (1, 1, count, 2)
