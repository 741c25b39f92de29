"""Paired intervals: right where the answer is known, narrow where episodes are alike."""

import numpy as np
import pytest

from crnet_tf.evaluation.bootstrap import mean_iou_difference
from crnet_tf.network import metrics


def areas_of(found, size=100):
    """int [E,2,2] of episodes whose object has `size` px, `found` of which are found."""
    both, union = np.asarray(found), np.full(len(found), size)
    return np.stack([np.stack([union, union], -1), np.stack([both, union], -1)], axis=1)


def test_the_difference_is_that_of_the_summed_areas():
    random = np.random.default_rng(0)
    ids = random.integers(1, 4, 60)
    one, other = (areas_of(random.integers(0, 100, 60), size) for size in (100, 130))
    scores = [
        metrics.mean_iou({c: some[ids == c].sum(axis=0) for c in (1, 2, 3)})
        for some in (one, other)
    ]
    found = mean_iou_difference(ids, one, other)
    assert found.value == pytest.approx(scores[0] - scores[1])
    assert found.low < found.value < found.high


def holds_none(difference):
    """Whether no difference at all is in the interval."""
    return difference.low <= 0 <= difference.high


def test_what_both_find_hard_cancels_out():
    """Episodes differ widely; one method is better by a little in each."""
    random = np.random.default_rng(1)
    hard = random.integers(5, 90, 200)
    ids = np.repeat([1, 2], 100)
    found = mean_iou_difference(ids, areas_of(hard + 3), areas_of(hard))
    assert found.value == pytest.approx(0.03) and found.low > 0
    assert found.high - found.low < 1e-9


def test_chance_is_no_difference():
    random = np.random.default_rng(2)
    some = [areas_of(random.integers(0, 100, 300)) for _ in range(2)]
    assert holds_none(mean_iou_difference(np.ones(300, int), *some))


def test_the_interval_covers_the_truth():
    """Of many experiments without a difference about 95 % say so."""
    random = np.random.default_rng(3)
    covered = [
        holds_none(
            mean_iou_difference(
                np.ones(80, int),
                *(areas_of(random.integers(0, 100, 80)) for _ in range(2)),
                resamples=300,
            )
        )
        for _ in range(200)
    ]
    assert 0.88 < np.mean(covered) < 0.99


def test_other_episodes_are_a_fault():
    with pytest.raises(ValueError, match="same episodes"):
        mean_iou_difference(np.ones(2, int), areas_of([1, 2]), areas_of([1]))
