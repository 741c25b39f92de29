"""Answers out of k supports: fused, restored, decided, and is it there at all?"""

import numpy as np
import pytest
import tensorflow as tf
from helpers.networks import SIZE, eager, episode, lively  # noqa: F401

from crnet_tf.data.frames import Frame
from crnet_tf.fewshot import answers, deciding
from crnet_tf.network import metrics, parts


def restored(maps, size, letterbox=False):
    """Maps [T,s,s] -> [T,H,W]."""
    return answers.at_own_size(maps[..., None], size, letterbox)[..., 0].numpy()


def decided(probabilities, **options):
    """Of classes first."""
    return answers.decided(np.moveaxis(probabilities, 0, -1), **options).numpy()


# === Fusion ===


def test_weights_are_the_agreements_of_each_step():
    """By hand: 2 supports, 2 steps, one pixel."""
    given = np.array([[0.2, 0.4], [0.8, 1.0]], np.float32)[..., None, None]
    agreement = np.array([[0.25, 0.0], [0.75, 0.5]])
    found = answers.fused(given, agreement)
    np.testing.assert_allclose(found[:, 0, 0], [0.25 * 0.2 + 0.75 * 0.8, 1.0], atol=1e-6)


def test_supports_that_all_fail_count_alike():
    given = np.array([[0.2], [0.8]], np.float32)[..., None, None]
    found = answers.fused(given, np.zeros((2, 1)))
    np.testing.assert_allclose(found[:, 0, 0], [0.5], atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"prototype_weight": 5.0}], ids=str)
def test_several_photos_are_answered_as_each_alone(changes):
    network, inputs = lively(**changes), episode(batch=3)
    state = network.encode_support(inputs["support_image"], inputs["support_mask"])
    features = network.parts.encoder(inputs["query_image"][:2])
    photos = parts.branch_input(network.parts, features)
    together = answers.answered(network.parts, state, photos, 2, SIZE)
    assert together.shape == (3, 2, SIZE, SIZE) and np.std(together) > 0.01
    for b in range(2):
        one = {name: value[b : b + 1] for name, value in photos.items()}
        alone = answers.answered(network.parts, state, one, 2, SIZE)
        np.testing.assert_allclose(together[:, b], alone[:, 0], atol=1e-5)


def test_one_photo_beside_many_partners_is_many_pairs():
    ablations = {}, {"cross_reference": False}, {"condition": False}, {"prototype_weight": 5.0}
    for changes in ablations:
        other = lively(**changes)
        features = [other.parts.encoder(noise(seed)) for seed in (1, 2, 3, 4)]
        masks = np.zeros((3, 33, 33, 1), np.uint8)
        masks[:, :20, 5:25] = 1
        batch = {"support": tf.concat(features[:3], 0), "category": tf.concat(features[1:], 0)}
        state = parts.state_of_features(other.parts, batch, masks)
        photo = parts.branch_input(other.parts, features[3])
        together = parts.branch_logits(other.parts, state, photo, steps=2)
        for k in range(3):
            one = {name: value[k : k + 1] for name, value in state.tensors().items()}
            partner = parts.SupportState(**one)
            alone = parts.branch_logits(other.parts, partner, photo, steps=2)
            np.testing.assert_allclose(together[k], alone[0], atol=1e-5)
        repeated = {name: tf.repeat(value, 3, axis=0) for name, value in photo.items()}
        many = parts.branch_logits(other.parts, partner, repeated, steps=2)
        np.testing.assert_allclose(many[1], alone[0], atol=1e-5)


def noise(seed):
    return np.random.default_rng(seed).uniform(0, 255, (1, 33, 33, 3)).astype(np.float32)


# === At the photo's own size ===


@pytest.mark.parametrize("letterbox", [False, True])
def test_restoring_to_the_same_square_changes_nothing(letterbox):
    maps = np.random.default_rng(0).normal(size=(3, 41, 41)).astype(np.float32)
    found = restored(maps, (41, 41), letterbox)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, maps)


@pytest.mark.parametrize("letterbox", [False, True])
@pytest.mark.parametrize("shape", [(90, 130), (130, 90)])
def test_what_goes_in_comes_back_to_its_place(letterbox, shape):
    truth = np.zeros(shape, np.uint8)
    truth[20:60, 30:75] = 1
    frame = Frame(473, letterbox)
    seen = tf.cast(frame.mask(truth) == 1, tf.float32)[None, ..., 0]
    found = restored(seen, shape, letterbox)
    assert found.shape == (1, *shape)
    area = metrics.areas(found[0] > 0.5, truth)
    assert metrics.class_iou(area) > 0.9


def test_maps_of_a_letterbox_stand_for_the_square_of_the_longer_side():
    maps = np.zeros((2, 3, 3), np.float32)
    maps[1] = [[0, 1, 2]] * 3
    found = restored(maps, (3, 5), letterbox=True)
    assert found.shape == (2, 3, 5)
    np.testing.assert_allclose(found[1], [[0, 0.5, 1, 1.5, 2]] * 3)
    high = restored(maps, (5, 3), letterbox=True)
    np.testing.assert_allclose(high[1], [[0, 0.5, 1]] * 5)  # the right part is padding
    squashed = restored(maps, (5, 3))
    np.testing.assert_allclose(squashed[1], [[0, 1, 2]] * 5)


def test_padding_does_not_count():
    """The crop scores as PFENet's padded square does, whatever is said in the padding."""
    maps = np.random.default_rng(1).uniform(size=(1, 41, 41)).astype(np.float32)
    truth = np.random.default_rng(0).integers(0, 2, (30, 47), np.uint8)
    padded = np.full((47, 47), 255, np.uint8)
    padded[:30] = truth
    square = restored(maps, (47, 47))[0] > 0.5
    crop = restored(maps, truth.shape, letterbox=True)[0] > 0.5
    expected = metrics.areas(square, padded)
    np.testing.assert_array_equal(metrics.areas(crop, truth), expected)
    square[30:] = ~square[30:]
    np.testing.assert_array_equal(metrics.areas(square, padded), expected)


def test_scales_are_averaged_at_the_photos_own_size():
    random = np.random.default_rng(0)
    maps = [random.uniform(size=(2, side, side, 3)).astype(np.float32) for side in (33, 41)]
    found = answers.restored(maps, (50, 20)).numpy()
    assert found.shape == (2, 50, 20, 3)
    each = [answers.at_own_size(value, (50, 20)) for value in maps]
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)


def test_a_graph_of_fixed_sizes_restores_alike():
    """It does not use TensorFlow's own resize, which other runtimes have not."""
    maps = [np.random.default_rng(0).uniform(size=(1, 33, 33, 2)).astype(np.float32)]
    tf.config.run_functions_eagerly(False)
    fixed = tf.function(lambda m: answers.restored([m], (50, 20)))(maps[0])
    np.testing.assert_allclose(fixed, answers.restored(maps, (50, 20)), atol=1e-5)


# === Several classes ===


def test_the_most_probable_class_wins_where_it_is_more_probable_than_a_half():
    probabilities = np.array(
        [
            [[0.9, 0.6, 0.5, 0.1], [0.51, 0.0, 0.3, 0.7]],
            [[0.2, 0.7, 0.4, 0.3], [0.50, 0.9, 0.2, 0.8]],
        ]
    )
    found = decided(probabilities)
    assert found.dtype == np.uint8
    assert found.tolist() == [[1, 2, 0, 0], [1, 2, 0, 2]]
    assert decided(probabilities, threshold=0.75).tolist() == [[1, 0, 0, 0], [0, 2, 0, 2]]
    assert decided(probabilities, threshold=0).tolist() == [[1, 2, 1, 2], [1, 2, 1, 2]]


def test_one_class_alone_is_the_plain_threshold():
    probability = np.random.default_rng(0).uniform(size=(1, 9, 7))
    np.testing.assert_array_equal(decided(probability), probability[0] > 0.5)


def test_more_classes_than_a_byte_has_values():
    probabilities = np.zeros((300, 1, 2))
    probabilities[255, 0, 0] = probabilities[299, 0, 1] = 0.9
    assert decided(probabilities).tolist() == [[256, 300]]


# === Is it there? ===


def test_resemblance_is_the_cosine_of_the_most_similar_cell():
    network = lively()
    network.parts.centre.mean.assign(np.zeros(64))
    last_level, prototypes = np.zeros((2, 2, 3, 64), np.float32), np.zeros((2, 64), np.float32)
    last_level[0, 0, 1, :2], last_level[0, 1, 2, :2] = (3, 4), (5, 0)
    prototypes[0, 0], prototypes[1, 1] = 1, 2

    def resemblance(objects):
        return answers.resemblance(network.parts, objects, last_level).numpy()

    np.testing.assert_allclose(resemblance(prototypes[:1]), [1, 0], atol=1e-6)
    np.testing.assert_allclose(resemblance(prototypes[1:]), [0.8, 0], atol=1e-6)
    # Mean over the supports, each with its own cell.
    np.testing.assert_allclose(resemblance(prototypes), [0.9, 0], atol=1e-6)
    np.testing.assert_array_equal(resemblance(0 * prototypes), [0, 0])


@pytest.mark.parametrize("sizes", [(5, 5, 5), (5, 9, 5)], ids=["alike", "in tiles"])
def test_a_class_is_there_where_it_is_likely_and_not_explained_by_surer_ones(sizes):
    maps = [np.zeros((size, size)) for size in sizes]
    maps[0][0], maps[1][0], maps[2][-1] = 0.9, 0.8, 0.7  # the first row twice
    for presences, least, wanted in [
        ((0.9, 0.8, 0.7), 0.4, [True, False, True]),
        ((0.8, 0.9, 0.7), 0.4, [False, True, True]),
        ((0.3, 0.8, 0.2), 0.4, [False, True, False]),  # what is not there explains nothing
        ((0.3, 0.2, 0.1), 0.0, [True, False, True]),
    ]:
        found = deciding.there(maps, presences, 0.5, least)
        assert found.tolist() == wanted
        alike = np.stack([one[:5, :5] for one in maps], axis=-1)[None]
        if sizes == (5, 5, 5):  # in a graph too
            given = tf.constant(alike, tf.float32), tf.constant([presences], tf.float32)
            assert answers.there(*given, 0.5, least).numpy().tolist() == [wanted]
    maps[1][2] = 0.8  # half of it is its own
    assert deciding.there(maps, (0.9, 0.8, 0.7), 0.5, 0.4).all()


def test_one_class_is_always_there_unless_somebody_says_where_it_is_not():
    assert deciding.least_presence(["cup"], []) == 0
    assert deciding.least_presence(["cup"], [1]) == deciding.LEAST
    assert deciding.least_presence(["cup", "mug"], []) == deciding.LEAST
    assert deciding.there([np.zeros((3, 3))], [0.0], 0.5, 0.0).all()
