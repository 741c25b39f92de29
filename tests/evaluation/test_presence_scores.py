"""How well a score tells photos with the object from those without it."""

import itertools

import numpy as np
import pytest

from crnet_tf.evaluation import presence_scores


def test_auroc_by_hand_with_ties():
    # Of nine pairs 0.9 wins three, 0.5 wins one and ties one, 0.2 ties one.
    assert presence_scores.auroc([0.9, 0.5, 0.2], [0.2, 0.5, 0.6]) == pytest.approx(
        6 / 9 - 1 / 9
    )


def test_auroc_is_the_share_of_pairs_in_order():
    random = np.random.default_rng(0)
    positive, negative = random.integers(0, 6, 30), random.integers(0, 5, 17)
    won = [np.sign(p - n) for p, n in itertools.product(positive, negative)]
    assert presence_scores.auroc(positive, negative) == pytest.approx(np.mean(won) / 2 + 0.5)
    assert presence_scores.auroc(negative, positive) == pytest.approx(0.5 - np.mean(won) / 2)


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [([0.6, 0.9], [0.5, 0.1, 0.2], 1), ([0.1], [0.2, 0.3], 0), ([0.4] * 3, [0.4] * 2, 0.5)],
)
def test_perfect_reversed_and_blind(positive, negative, expected):
    assert presence_scores.auroc(positive, negative) == expected


def lines(scores, predicted):
    return [{"presence": s, "predicted": p} for s, p in zip(scores, predicted, strict=True)]


def test_summary_by_hand():
    positives = lines([0.9, 0.6], [0.3, 0.2])
    negatives = lines([0.7, 0.2, 0.6, 0.1], [0.2, 0, 0.1, 0])
    assert presence_scores.summary(positives, negatives) == {
        "auroc": pytest.approx((4 + 2.5) / 8),
        "negatives": 4,
        "false_positive_rate": 0.5,
        "mean_false_area": pytest.approx(0.075),
    }
