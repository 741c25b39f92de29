"""mIoU and FB-IoU by hand on small masks."""

import numpy as np
import pytest

from crnet_tf.network import metrics


def test_areas_by_hand():
    prediction = np.array([[1, 1], [0, 0]])
    mask = np.array([[1, 0], [1, 0]])
    np.testing.assert_array_equal(metrics.areas(prediction, mask), [[1, 3], [1, 3]])


def test_void_counts_nowhere():
    mask = np.array([[1, 255], [0, 255]])
    for value in (0, 1):
        prediction = np.array([[1, value], [0, value]])
        np.testing.assert_array_equal(metrics.areas(prediction, mask), [[1, 1], [1, 1]])


def test_areas_above_are_those_of_each_threshold():
    """Values on a threshold are not above it."""
    rng, thresholds = np.random.default_rng(0), np.float32([0.1, 0.5, 0.9])
    probability = rng.choice(np.float32([0, 0.1, 0.3, 0.5, 0.7, 0.9, 1]), (6, 9))
    mask = rng.choice([0, 1, 255], (6, 9))
    found = metrics.areas_above(probability, mask, thresholds)
    assert found.dtype == np.int64
    expected = [metrics.areas(probability > t, mask) for t in thresholds]
    np.testing.assert_array_equal(found, expected)
    void = metrics.areas_above(probability, np.full_like(mask, 255), thresholds)
    np.testing.assert_array_equal(void, np.zeros((3, 2, 2)))


def test_areas_add_up_over_episodes():
    rng = np.random.default_rng(0)
    prediction, mask = rng.integers(0, 2, (2, 8, 4, 4))
    parts = sum(metrics.areas(p, m) for p, m in zip(prediction, mask, strict=True))
    whole = metrics.areas(prediction.reshape(-1, 4), mask.reshape(-1, 4))
    np.testing.assert_array_equal(parts, whole)


def test_mean_iou_adds_up_before_it_divides():
    """Two episodes of one class with IoU 1/2 and 0/8: 1/10 of all, not 1/4."""
    episodes = np.array([[[0, 0], [1, 2]], [[0, 0], [0, 8]]])
    assert metrics.mean_iou({7: episodes.sum(0)}) == pytest.approx(0.1)


def test_mean_iou_weighs_classes_alike_and_fb_iou_ignores_them():
    totals = {1: np.array([[8, 10], [1, 4]]), 2: np.array([[80, 100], [30, 40]])}
    assert metrics.mean_iou(totals) == pytest.approx((0.25 + 0.75) / 2)
    assert metrics.fb_iou(totals) == pytest.approx((88 / 110 + 31 / 44) / 2)


def test_sizes_must_agree():
    with pytest.raises(ValueError, match=r"expected a prediction of the mask's size \(2, 2\)"):
        metrics.areas(np.zeros((2, 3)), np.zeros((2, 2)))
