"""Similarity maps by hand, and what the network does with them."""

import numpy as np
import pytest
from helpers.networks import build, eager, episode, lively  # noqa: F401

from crnet_tf.config import Config
from crnet_tf.network import similarity

OURS = {
    "feature_levels": "reduced",
    "level_channels": "6,6,6",
    "similarity": True,
    "gate": "residual",
    "mask_image": False,
}
WIDTHS = [2, 1]


def cells_of(*rows):
    """A photo [1,1,W,3] of cells, of levels of 2 and 1 channels, each of length 1."""
    return np.float32([[rows]])


def test_maps_are_the_cosines_of_each_level_and_the_same_standardised():
    cells = cells_of([1, 0, 1], [0, 1, -1], [0.6, 0.8, 1])
    averages = {
        "foreground": np.float32([[[[2, 0, 5]]]]),
        "background": np.float32([[[[0, 3, -1]]]]),
    }
    maps = np.array(similarity.maps_against_support(cells, averages, WIDTHS))
    assert maps.shape == (1, 1, 3, 4 * len(WIDTHS))
    cosines = np.float32([[1, 1, 0, -1], [0, -1, 1, 1], [0.6, 1, 0.8, -1]])
    np.testing.assert_allclose(maps[0, 0, :, :4], cosines, atol=1e-6)
    expected = (cosines - cosines.mean(0)) / (cosines.std(0) + similarity.FLOOR)
    np.testing.assert_allclose(maps[0, 0, :, 4:], expected, atol=1e-5)


def test_a_cache_names_the_cells_that_the_photo_is_compared_with():
    cells = cells_of([1, 0, 1], [0, 1, 1], [0, 1, -1])
    averages = {
        "foreground": np.float32([[[[1, 0, 1]]]]),
        "background": np.float32([[[[0, 1, 1]]]]),
    }
    cache = np.float32([[[[0, 1], [1, 0], [0.5, 0.5]]]])  # background, foreground
    maps = np.array(similarity.maps_against_itself(cells, cache, averages, WIDTHS))
    assert maps.shape == (1, 1, 3, similarity.count_against_itself(WIDTHS))
    # Own background, level by level: the second cell, and a sixteenth of the third.
    own = np.float32([[0, 1 + 1 / 16], [1, 1 - 1 / 16]])
    np.testing.assert_allclose(maps[0, 0, 0, 0], 0, atol=1e-6)
    np.testing.assert_allclose(maps[0, 0, 1, 0], 1, atol=1e-6)
    assert own[1, 1] > 0  # the second level's sum keeps its sign
    np.testing.assert_allclose(maps[0, 0, :, 1], [1, 1, -1], atol=1e-6)


def test_an_empty_cache_says_nothing():
    random = np.random.default_rng(0)
    cells = random.normal(size=(2, 3, 3, 3)).astype("float32")
    averages = {
        n: random.normal(size=(2, 1, 1, 3)).astype("float32")
        for n in ("foreground", "background")
    }
    empty = np.zeros((2, 3, 3, 2), "float32")
    assert not np.any(similarity.maps_against_itself(cells, empty, averages, WIDTHS))


@pytest.fixture(scope="module")
def ours():
    return lively(**OURS)


def test_both_heads_and_the_query_alone_answer_alike(ours):
    inputs = episode()
    state = ours.encode_support(inputs["support_image"], inputs["support_mask"])
    alone = ours.query_logits(state, inputs["query_image"])[:, -1]
    np.testing.assert_allclose(alone, ours(inputs)["query"], atol=1e-4)
    assert state.foreground.shape == (2, 1, 1, 18)


def test_what_the_support_shows_changes_the_answer_through_the_maps_alone(ours):
    inputs = episode()
    state = ours.encode_support(inputs["support_image"], inputs["support_mask"])
    swapped = type(state)(**state.tensors() | {"foreground": state.background})
    one, other = (ours.query_logits(s, inputs["query_image"], 1) for s in (state, swapped))
    assert np.abs(one - other).max() > 1e-3


def test_a_step_sees_the_photo_in_the_light_of_its_cache(ours):
    """Cells that look alike, one of them in the cache: the maps tell the step of the other."""
    parts, random = ours.parts, np.random.default_rng(0)
    features = random.normal(size=(1, 5, 5, 16)).astype("float32")
    cells = random.normal(size=(1, 5, 5, 18)).astype("float32")
    averages = {
        n: random.normal(size=(1, 1, 1, 18)).astype("float32")
        for n in ("foreground", "background")
    }
    cache = np.zeros((1, 5, 5, 2), "float32")
    cache[..., 0], cache[0, 0, 0] = 1, (0, 1)

    def answer(cells):
        return np.array(
            parts.refinement(
                features, steps=1, first_cache=cache, cells=cells, averages=averages
            )
        )

    other = cells.copy()
    other[0, 4, 4] = cells[0, 0, 0]
    assert np.abs(answer(cells) - answer(other))[0, 0, 4, 4].max() > 1e-3


def test_without_a_condition_module_maps_have_no_place():
    with pytest.raises(ValueError, match="similarity.*condition"):
        Config(similarity=True, condition=False)


def test_the_support_branch_is_left_out_where_its_loss_does_not_count():
    network = build(**OURS, support_weight=0.0)
    outputs = network(episode(), training=True)
    assert {*outputs} == {"query_steps", "query_cooccurrent"}
    both = build(**OURS)(episode(), training=True)
    np.testing.assert_allclose(outputs["query_steps"], both["query_steps"], atol=1e-4)
