"""Edges of answers follow those of the photo."""

import numpy as np
import pytest
import tensorflow as tf

from crnet_tf.fewshot import answers, edges

SIZE = 65


def disc(height, width, radius=0.3):
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(rows / (height - 1) - 0.5, columns / (width - 1) - 0.5) < radius


def pictured(mask, noise=4):
    """A photo in which the object is red before green."""
    photo = np.where(mask[..., None], [200, 60, 50], [60, 140, 70])
    noise = np.random.default_rng(0).normal(0, noise, photo.shape)
    return np.uint8(np.clip(photo + noise, 0, 255))


def coarse(mask):
    """What a network on a grid of 9 x 9 cells would answer of it, [1,SIZE,SIZE,1]."""
    small = tf.image.resize(np.float32(mask)[None, ..., None], (9, 9), "area")
    return answers.at_own_size(0.15 + 0.7 * small, (SIZE, SIZE))


def iou(found, mask):
    return np.sum(found & mask) / np.sum(found | mask)


@pytest.mark.parametrize("letterbox", [False, True])
@pytest.mark.parametrize("shape", [(120, 160), (97, 65)])
def test_an_answer_takes_the_edges_of_its_photo(shape, letterbox):
    mask = disc(*shape)
    seen = mask
    if letterbox:
        longer = max(shape)
        seen = np.pad(mask, [(0, longer - shape[0]), (0, longer - shape[1])])
    maps = coarse(seen)
    smooth = answers.restored([maps], shape, letterbox)[0, ..., 0].numpy()
    followed = answers.restored([maps], shape, letterbox, pictured(mask)[None])
    assert followed.shape == (1, *shape, 1)
    assert iou(smooth > 0.5, mask) < 0.9
    assert iou(followed[0, ..., 0].numpy() > 0.5, mask) > 0.97


def test_a_photo_without_edges_leaves_an_answer_as_smooth_as_it_was():
    grey = np.full((80, 80, 3), 128, np.uint8)
    maps = coarse(disc(80, 80))
    smooth = answers.restored([maps], (80, 80))[0, ..., 0].numpy()
    followed = answers.restored([maps], (80, 80), photo=grey[None])[0, ..., 0].numpy()
    assert iou(followed > 0.5, smooth > 0.5) > 0.9


@pytest.mark.parametrize("channels", [[0, 1, 2], [0, 0, 0]], ids=["colour", "grey"])
def test_an_answer_that_is_a_line_of_the_colours_comes_back_as_it_was(channels):
    generator = np.random.default_rng(1)
    guide = generator.uniform(size=(1, 31, 31, 3)).astype(np.float32)[..., channels]
    maps = guide @ np.float32([[0.2, 0.0], [0.5, 0.3], [-0.3, 0.1]]) + np.float32([0.1, 0.4])
    *slopes, offset = edges.lines(maps, guide)
    found = edges.drawn(slopes, tf.split(guide, 3, axis=-1)) + offset
    np.testing.assert_allclose(found, maps, atol=2e-3)


def test_each_photo_of_a_batch_and_each_class_is_by_itself():
    masks = [disc(90, 110), disc(90, 110, 0.2)]
    photos = np.stack([pictured(mask) for mask in masks])
    maps = tf.concat([tf.concat([coarse(m), coarse(~m)], -1) for m in masks], 0)
    together = answers.restored([maps], (90, 110), photo=photos)
    for b in range(2):
        for n in range(2):
            one = answers.restored(
                [maps[b : b + 1, ..., n : n + 1]], (90, 110), photo=photos[b : b + 1]
            )
            np.testing.assert_allclose(together[b, ..., n], one[0, ..., 0], atol=1e-5)
