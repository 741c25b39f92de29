"""The training-free prior: where the query resembles the support's object."""

import numpy as np
import pytest
import tensorflow as tf
from helpers.networks import eager, lively, photo  # noqa: F401

from crnet_tf.data import frames
from crnet_tf.evaluation.baselines import _stretched, prior_mask
from crnet_tf.fewshot.features import FeatureCache, PhotoEncoder, base_frame
from crnet_tf.images.labelled import LabelledPhoto


@pytest.fixture(scope="module")
def encoder():
    return PhotoEncoder(lively(), FeatureCache(1e9))


def test_the_last_level_is_what_a_one_level_encoder_gives():
    both, last = lively(), lively(multi_level=False)
    last.parts.encoder.set_weights(both.parts.encoder.get_weights())
    image = np.float32(photo(1).image[None, :33, :33])
    features = both.parts.encoder(image)
    expected = last.parts.encoder(image)
    assert features.shape[-1] > expected.shape[-1]
    last_level = both.parts.prototypes.last_level
    np.testing.assert_allclose(last_level(features), expected, atol=1e-5)
    np.testing.assert_array_equal(last.parts.prototypes.last_level(expected), expected)


def test_a_cell_is_as_likely_as_its_nearest_cell_of_the_object():
    """By hand: 2x2 cells of 2 channels; the object is the upper left cell alone."""
    support = tf.constant([[[2.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    mask = tf.constant([[1, 0], [0, 255]], tf.uint8)[..., None]
    query = tf.constant([[[5.0, 0.0], [0.0, 3.0]], [[1.0, 1.0], [-1.0, 0.0]]])
    cosine = np.array([[1, 0], [np.sqrt(0.5), -1]])
    expected = (cosine + 1) / 2
    np.testing.assert_allclose(_stretched(support, mask, query), expected, atol=1e-6)


def test_of_several_cells_the_nearest_counts():
    support = tf.constant([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [-1.0, 0.0]]])
    query = tf.constant([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, -1.0], [-1.0, -1.0]]])
    mask = tf.constant([[1, 1], [0, 255]], tf.uint8)[..., None]
    found = _stretched(support, mask, query)
    np.testing.assert_allclose(found, [[1, 1], [0, 0]], atol=1e-6)


def test_a_photo_of_one_colour_has_no_prior_but_zeros():
    found = _stretched(
        tf.ones((3, 3, 2)), tf.ones((9, 9, 1), tf.uint8), tf.ones((3, 3, 2))
    ).numpy()
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, 0)


def test_rounding_is_not_stretched_to_a_prior():
    query = np.ones((3, 3, 2), np.float32)
    query[0, :, 0] += np.float32(1e-6)
    support = tf.constant([[[1.0, 0.5]] * 3] * 3)
    found = _stretched(support, tf.ones((9, 9, 1), tf.uint8), query).numpy()
    np.testing.assert_array_equal(found, 0)


def test_one_prior_a_support_in_their_order(encoder):
    frame, query = base_frame(encoder.network), photo(9)
    supports = [photo(1), photo(2)]
    priors = prior_mask(encoder, supports, query, frame).numpy()
    cells = encoder.photo(query, frame).shape[:2]
    assert priors.shape == (2, *cells) and priors.dtype == np.float32
    np.testing.assert_array_equal(priors.min((1, 2)), 0)
    np.testing.assert_allclose(priors.max((1, 2)), 1, atol=1e-6)
    for one, one_prior in zip(supports, priors, strict=True):
        np.testing.assert_allclose(
            prior_mask(encoder, [one], query, frame)[0], one_prior, atol=1e-6
        )
    assert np.abs(priors[0] - priors[1]).max() > 1e-3


def test_the_object_is_likely_in_its_own_photo(encoder):
    frame, one = frames.Frame(65), photo(1)
    (one_prior,) = prior_mask(encoder, [one], one, frame).numpy()
    mask = frame.mask(one.mask).numpy()[::8, ::8, 0]
    np.testing.assert_allclose(one_prior[mask == 1], 1, atol=1e-4)
    assert one_prior[mask == 0].mean() < 0.95


@pytest.mark.parametrize("left", range(18, 26))
def test_a_thin_object_still_has_cells_of_its_own(encoder, left):
    """Also between the centres of the cells, which lie 8 px of the input apart."""
    one = photo(1)
    mask = np.zeros_like(one.mask)
    mask[:, left : left + 2] = 1
    thin = LabelledPhoto(one.image, mask)
    (one_prior,) = prior_mask(encoder, [thin], photo(9), base_frame(encoder.network)).numpy()
    everything = LabelledPhoto(one.image, np.ones_like(mask))
    (other,) = prior_mask(encoder, [everything], photo(9), base_frame(encoder.network)).numpy()
    assert np.isfinite(one_prior).all() and np.abs(one_prior - other).max() > 1e-3


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_the_prior_is_float32_in_any_precision(precision):
    encoder = PhotoEncoder(lively(precision=precision), FeatureCache(1e9))
    priors = prior_mask(encoder, [photo(1)], photo(9), base_frame(encoder.network))
    assert priors.dtype == tf.float32 and np.isfinite(priors.numpy()).all()
