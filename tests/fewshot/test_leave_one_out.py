"""Supports that are asked for in the light of the others say where the object begins."""

import numpy as np
import pytest
from helpers.networks import eager, lively, photo  # noqa: F401

from crnet_tf.fewshot.learner import Learner
from crnet_tf.fewshot.leave_one_out import common_threshold, shifted
from crnet_tf.options import Options

SUPPORTS = [photo(1), photo(2, 33, 47), photo(3, 60, 41)]
QUERY = photo(9, 45, 37)


@pytest.fixture(scope="module")
def network():
    return lively()


def row(*pixels, dtype=float):
    return np.array([pixels], dtype)


# === The threshold ===


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        ((0.42, 0.44, 0.38, 0.01), 0.4),  # the object alone is above it
        ((0.67, 0.68, 0.63, 0.01), 0.65),
        ((0.6, 0.6, 0.4, 0.4), 0.5),  # of 0.4 to 0.55 the nearest to a half
        ((0.24, 0.25, 0.18, 0.01), 0.5),  # too far away
    ],
)
def test_the_threshold_that_cuts_the_object_out_best(probability, expected):
    mask = row(1, 1, 0, 255, dtype=np.uint8)
    found = common_threshold([(row(*probability), mask)])
    assert found == pytest.approx(expected)


def test_where_nothing_is_found_it_stays_a_half():
    mask = row(1, 0, dtype=np.uint8)
    assert common_threshold([(row(0.32, 0.01), mask)]) == 0.3
    assert common_threshold([(row(0.01, 0.9), mask)]) == 0.5


def test_areas_are_summed_over_photos_that_count_alike():
    """The faint object wants less than 0.35, the sure one among what is faint more."""
    faint = row(*[0.35] * 4, *[0.01] * 6), row(*[1] * 4, *[0] * 6)
    sure = row(*[0.7] * 5, *[0.35] * 5), row(*[1] * 5, *[0] * 5)
    assert common_threshold([faint, sure]) == 0.3  # 9/14 against 5/9
    assert common_threshold([faint, sure, sure]) == 0.5  # 14/24 against 10/14
    large = tuple(np.repeat(part, 100, axis=0) for part in sure)
    assert common_threshold([faint, large]) == 0.3


def test_probabilities_are_moved_to_where_the_threshold_is_a_half():
    probability = np.linspace(0, 1, 11, dtype=np.float32)
    moved = shifted(probability, 0.2)
    assert moved.dtype == np.float32
    assert moved[2] == pytest.approx(0.5) and moved[0] == 0 and moved[-1] == 1
    assert np.all(np.diff(moved) > 0)
    assert shifted(probability, 0.5) is probability


# === In the light of the others ===


@pytest.mark.parametrize(("kshot", "scales"), [("fusion", "1,1.25"), ("mean", "1")])
def test_each_support_is_asked_for_in_the_light_of_the_others(network, kshot, scales):
    options = {"kshot": kshot, "test_scales": scales}
    learner = Learner(network, Options(leave_one_out=True, **options))
    plain = Learner(network, Options(**options))
    predictor, answers = learner.fit(SUPPORTS), []
    for i, support in enumerate(SUPPORTS):
        maps = plain.fit(SUPPORTS[:i] + SUPPORTS[i + 1 :]).maps(support)
        for frame, steps in zip(plain.frames, maps, strict=True):
            answers.append((steps[-1], frame.mask(support.mask).numpy()[..., 0]))
    assert predictor.threshold == common_threshold(answers)


def test_the_answer_is_the_plain_one_moved(network, monkeypatch):
    monkeypatch.setattr("crnet_tf.fewshot.learner.common_threshold", lambda answers: 0.3)
    learner = Learner(network, Options(leave_one_out=True))
    (plain,) = Learner(network).fit(SUPPORTS).maps(QUERY)
    (moved,) = learner.fit(SUPPORTS).maps(QUERY)
    np.testing.assert_allclose(moved, shifted(plain, 0.3), atol=1e-6)
    assert np.abs(moved - plain).max() > 0.05


def test_a_single_support_is_cut_at_a_half(network):
    assert Learner(network, Options(leave_one_out=True)).fit(SUPPORTS[:1]).threshold == 0.5
