"""How well boundaries are met."""

import numpy as np
import pytest

from crnet_tf.evaluation import boundaries


def square(start, stop, size=100):
    mask = np.zeros((size, size), bool)
    mask[start:stop, start:stop] = True
    return mask


def test_the_object_itself_is_perfect():
    truth = np.uint8(square(20, 80))
    assert boundaries.scores(truth == 1, truth) == {"boundary_f": 1.0, "boundary_iou": 1.0}


def test_a_boundary_a_few_pixels_off_loses_all_though_the_mask_is_good():
    truth = np.uint8(square(20, 80))  # a diagonal of 141 px: near is 1.1 px, the rim 3 px
    near, far = square(21, 79), square(24, 76)
    assert boundaries.scores(near, truth)["boundary_f"] > 0.99  # corners are 1.4 px away
    # By hand: rims of 3 px of squares of 58 and 60, of which the inner two are the same.
    rims = [60**2 - 54**2, 58**2 - 52**2]
    common = 58**2 - 54**2
    expected = common / (sum(rims) - common)
    assert boundaries.scores(near, truth)["boundary_iou"] == pytest.approx(expected)
    assert boundaries.scores(far, truth) == {"boundary_f": 0.0, "boundary_iou": 0.0}


def test_a_rim_of_void_belongs_to_the_nearer_side():
    label = np.zeros((100, 100), np.uint8)
    label[18:82, 18:82] = 255
    label[22:78, 22:78] = 1
    assert boundaries.scores(square(20, 80), label)["boundary_iou"] == pytest.approx(1.0)


@pytest.mark.parametrize("found,f_score", [(False, 1.0), (True, 0.0)])
def test_nothing_there(found, f_score):
    label = np.zeros((50, 50), np.uint8)
    scores = boundaries.scores(square(10, 20, 50) & found, label)
    assert scores["boundary_f"] == f_score == scores["boundary_iou"]


def test_classes_count_alike():
    lines = [
        {"class_id": c, "boundary_f": f, "boundary_iou": f / 2}
        for c, f in [(1, 0.2), (1, 0.4), (2, 0.9)]
    ]
    found = boundaries.summary(lines)
    assert found == pytest.approx({"boundary_f": 0.6, "boundary_iou": 0.3})
