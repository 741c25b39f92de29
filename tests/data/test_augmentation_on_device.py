"""Augmentation in keras.ops gives the pixels of the one in TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf

from crnet_tf.data import augmentation, augmentation_on_device, episodes, resizing

SIZE, CLASS = 33, 7


def canvas(count, side=60):
    """Photos of many shapes with an object, void beside it and another class."""
    rng = np.random.default_rng(0)
    image = np.zeros((count, side, side, 3), np.uint8)
    label = np.zeros((count, side, side), np.uint8)
    size = rng.integers(40, side + 1, (count, 2)).astype(np.int32)
    for n, (height, width) in enumerate(size):
        image[n, :height, :width] = rng.integers(0, 256, (height, width, 3))
        top, left = rng.integers(0, 25, 2)
        label[n, top : top + 12, left : left + 14] = CLASS
        label[n, top + 12 : top + 15, left : left + 14] = 255
        label[n, 36:39, 5:30] = 3
    return {"image": image, "label": label, "size": size}


def of_tensorflow(photos, seed=None):
    """The same photos one by one through `episodes`; the random numbers of each."""
    images, masks, draws = [], [], []
    for n, (height, width) in enumerate(photos["size"]):
        image = photos["image"][n, :height, :width]
        mask = episodes.binary_mask(photos["label"][n, :height, :width, None], CLASS)
        if seed is None:
            image, mask = resizing.resize_image(image, SIZE), resizing.resize_mask(mask, SIZE)
            draws.append(np.zeros(4))
        else:
            image, mask = augmentation.flip_scale_crop(image, mask, SIZE, [seed, n])
            draws.append(tf.random.stateless_uniform([4], [seed, n]))
        images.append(image)
        masks.append(mask)
    return np.stack(images), np.stack(masks), np.array(draws, np.float32)


@pytest.mark.parametrize("seed", [None, 0])
def test_pixels_are_those_of_tensorflow(seed):
    photos = canvas(12)
    expected_image, expected_mask, draws = of_tensorflow(photos, seed)
    values = np.full(len(draws), CLASS)
    image, mask = augmentation_on_device.views(
        photos, values, draws, SIZE, augment=seed is not None
    )
    assert mask.dtype == tf.uint8 and set(np.unique(mask)) == {0, 1, 255}
    np.testing.assert_allclose(image, expected_image, atol=0.01)
    # A position halfway between two pixels may be rounded either way.
    assert np.mean(np.asarray(mask) != expected_mask) < 1e-3


def test_a_crop_without_the_object_is_given_up():
    photos = canvas(1, side=60)
    photos["label"][:] = 0
    photos["label"][0, 0, 0] = CLASS
    draws = np.array([[0.9, 1.0, 0.99, 0.99]], np.float32)  # lower right corner
    _, mask = augmentation_on_device.views(photos, [CLASS], draws, SIZE, augment=True)
    assert mask[0, 0, 0, 0] == 1
    image, _ = augmentation_on_device.views(photos, [CLASS], draws, SIZE, augment=True)
    whole, _ = augmentation_on_device.views(photos, [CLASS], draws, SIZE, augment=False)
    np.testing.assert_array_equal(image, whole)
