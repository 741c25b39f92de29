"""Strokes grow to the thing that they are on."""

import numpy as np
import pytest

from crnet_tf.common.errors import InputError

pytest.importorskip("cv2")

from crnet_tf.images.growing import LONGEST, grown


def scene(height=80, width=120):
    """A noisy photo with two red squares, and which pixels are in the left one."""
    image = np.random.default_rng(0).integers(0, 60, (height, width, 3)).astype(np.uint8)
    left = np.zeros((height, width), bool)
    left[height // 4 : -height // 4, width // 12 : width // 3] = True
    image[left | left[:, ::-1]] += np.array([180, 0, 0], np.uint8)
    return image, left


def strokes(image, on, beside=None):
    known = np.full(image.shape[:2], 255, np.uint8)
    known[on] = 1
    if beside:
        known[beside] = 0
    return known


def iou(mask, wanted):
    return ((mask == 1) & wanted).sum() / ((mask == 1) | wanted).sum()


def test_a_thing_is_cut_out_of_what_looks_otherwise_and_kept_apart_by_a_second_stroke():
    image, left = scene()
    on = np.s_[38:42, 20:30]
    assert iou(grown(image, strokes(image, on)), left | left[:, ::-1]) > 0.95
    known = strokes(image, on, np.s_[10:70, 80:110])
    mask = grown(image, known)
    assert iou(mask, left) > 0.95
    assert (mask[known == 1] == 1).all() and not mask[known == 0].any()
    np.testing.assert_array_equal(grown(image, known), mask)


def test_strokes_correct_a_mask_only_where_they_are():
    image, left = scene()
    right, wrong = left[:, ::-1], np.zeros_like(left)
    wrong[2:12, 50:70] = wrong[65:75, 50:70] = True
    mask = np.uint8(left | wrong)
    below = strokes(image, np.s_[0:0], np.s_[68:72, 58:62])
    without = grown(image, below, mask)
    np.testing.assert_array_equal(without[:60], mask[:60])
    assert not without[62:].any()
    added = grown(image, strokes(image, np.s_[38:42, 90:100]), mask)
    assert iou(added, left | right | wrong) > 0.95
    assert added[wrong].all()


def test_a_large_photo_has_a_mask_of_its_size():
    image, left = scene(2 * LONGEST, 3 * LONGEST)
    mask = grown(image, strokes(image, np.s_[440:500, 200:400]))
    assert mask.shape == left.shape and iou(mask, left | left[:, ::-1]) > 0.95


def test_a_photo_that_is_painted_over_is_what_was_painted():
    image, _ = scene()
    assert grown(image, np.ones(image.shape[:2], np.uint8)).all()


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (np.zeros((80, 120), np.uint8), r"received the values \[0\]"),
        (np.full((80, 120), 7, np.uint8), r"received the values \[7\]"),
        (np.ones((40, 60), np.uint8), r"\[80, 120\], as large as the photo"),
    ],
)
def test_other_strokes_are_refused(known, said):
    image, _ = scene()
    with pytest.raises(InputError, match=said):
        grown(image, known)


def test_other_masks_are_refused():
    image, left = scene()
    known = strokes(image, left)
    with pytest.raises(InputError, match=r"mask: expected 0 and 1, received \[0, 7\]"):
        grown(image, known, np.uint8(7 * left))
    with pytest.raises(InputError, match=r"mask: expected uint8 \[80, 120\]"):
        grown(image, known, np.uint8(left)[:40])
