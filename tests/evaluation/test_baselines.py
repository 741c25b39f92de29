"""What a network has to beat: everything, the nearest of two averages, PFENet's prior."""

import dataclasses

import keras
import numpy as np
import pytest
from helpers import networks

from crnet_tf.data.frames import Frame
from crnet_tf.evaluation import baselines
from crnet_tf.fewshot.answers import at_own_size
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network import model

SIZE = networks.SIZE


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return model.build_crnet(networks.TINY)


def labelled(random, void=28):
    """[33,33,1]: foreground in the corner, background, rows of void from `void` on."""
    mask = np.zeros((SIZE, SIZE, 1), np.uint8)
    mask[:16, : random.integers(10, 24)] = 1
    mask[void:] = 255
    return mask


def features_of(mask, noise=0.0, random=None):
    """[5,5,64]: background, foreground and void are three directions."""
    value = np.zeros((5, 5, 64), np.float32)
    for channel, label in enumerate((0, 1, 255)):
        value[..., channel] = 3 * (mask[::8, ::8, 0] == label)
    if noise:
        value += random.normal(0, noise, value.shape)
    return value


def test_the_prototype_finds_features_that_are_the_label():
    random = np.random.default_rng(0)
    support, query = labelled(random), labelled(random)
    found = baselines.prototype(
        features_of(support)[None], support[None], features_of(query)
    ).numpy()
    cells = query[::8, ::8, 0]
    assert found.shape == (5, 5) and found.dtype == np.float32
    assert np.all(found[cells == 1] > 0.5) and np.all(found[cells == 0] < -0.5)
    np.testing.assert_allclose(found[cells == 255], 0, atol=0.2)


def test_a_prototype_is_the_average_over_all_supports():
    """By hand: two supports without a border between cells, weighed by their pixels."""
    masks = np.zeros((2, 5, 5, 1), np.uint8)
    masks[0, :4], masks[1, :1] = 1, 1
    values = np.zeros((2, 5, 5, 2), np.float32)
    values[0, ..., 0], values[1, ..., 1] = 1, 1
    query = np.random.default_rng(0).normal(size=(5, 5, 2)).astype("float32")
    found = baselines.prototype(values, masks, query).numpy()
    foreground, background = np.array([20, 5]), np.array([5, 20])

    def cosine(value):
        return query @ value / np.linalg.norm(query, axis=-1) / np.linalg.norm(value)

    np.testing.assert_allclose(found, cosine(foreground) - cosine(background), atol=1e-5)


def photo(seed, rows=16):
    random = np.random.default_rng(seed)
    mask = np.zeros((40, 60), np.uint8)
    mask[:rows, 5:30] = 1
    return LabelledPhoto(
        random.integers(0, 256, (40, 60, 3)).astype(np.uint8), mask, f"photo {seed}"
    )


@pytest.mark.parametrize("letterbox", [False, True])
def test_answers_are_of_the_last_level_at_the_learners_frame(network, letterbox):
    learner = Learner(network, frame=Frame(41, letterbox))
    supports, query = [photo(0), photo(1)], photo(2)
    found = baselines.answers(learner, supports, query, baselines.BASELINES)
    assert set(found) == set(baselines.BASELINES)
    assert np.all(found["all_foreground"] > 0)
    features = [
        network.parts.encoder(learner.frame.image(p.image)[None])[0].numpy()
        for p in (*supports, query)
    ]
    last = [network.parts.prototypes.last_level(value).numpy() for value in features]
    assert last[0].shape[-1] < features[0].shape[-1]  # two levels are concatenated
    np.testing.assert_array_equal(last[0], features[0][..., -last[0].shape[-1] :])
    masks = np.stack([learner.frame.mask(p.mask) for p in supports])
    expected = baselines.prototype(np.stack(last[:2]), masks, last[2])
    np.testing.assert_allclose(found["prototype"][0], expected, atol=1e-5)
    priors = baselines.prior_mask(learner.encoder, supports, query, learner.frame)
    mean = np.mean(priors, axis=0)
    np.testing.assert_array_equal(found["prior"][0] > 0, mean > 0.5)
    assert np.any(mean > 0.5) and np.any(mean < 0.5)
    restored = at_own_size(found["all_foreground"][..., None], (40, 60), letterbox)
    assert restored.shape == (1, 40, 60, 1) and np.all(restored > 0)


def test_prototype_and_prior_count_alike(network):
    """Neither decides alone, whatever the range of its values."""
    learner = Learner(network)
    names = ("prototype", "prior", "prototype+prior")
    found = baselines.answers(learner, [photo(0)], photo(1), names)
    one, other = (found[name] / np.abs(found[name]).max() for name in names[:2])
    np.testing.assert_allclose(found["prototype+prior"], one + other, atol=1e-6)
    alone = baselines.answers(learner, [photo(0)], photo(1), ("prototype+prior",))
    assert list(alone) == ["prototype+prior"]
    np.testing.assert_array_equal(alone["prototype+prior"], found["prototype+prior"])


def test_only_what_is_asked_for_is_computed(network):
    learner = Learner(network)
    assert baselines.answers(learner, [photo(0)], photo(1), ()) == {}
    one = baselines.answers(learner, [photo(0)], photo(1), ("all_foreground",))
    assert list(one) == ["all_foreground"] and learner.cache.bytes == 0


def test_the_baselines_are_of_the_photos_alone(network):
    """Fine-tuning and fusion change nothing about them."""
    other = networks.build(seed=1)
    other.parts.encoder.set_weights(network.parts.encoder.get_weights())
    found = [
        baselines.answers(Learner(n), [photo(0)], photo(1), ("prototype",))["prototype"]
        for n in (network, other)
    ]
    np.testing.assert_array_equal(*found)


def test_one_level_is_the_last_level():
    settings = dataclasses.replace(networks.TINY, multi_level=False)
    network = model.build_crnet(settings)
    features = np.zeros((2, 5, 5, network.parts.encoder.output_shape[-1]), np.float32)
    assert network.parts.prototypes.last_level(features).shape == features.shape
