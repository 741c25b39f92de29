"""NumPy's resize is TensorFlow's, corners on corners."""

import numpy as np
import pytest

from crnet_tf.data import resizing
from crnet_tf.images import aligned

SIZES = [((40, 52), (33, 33)), ((33, 33), (480, 640)), ((7, 300), (65, 65)), ((1, 1), (5, 9))]


@pytest.mark.parametrize(("old", "new"), SIZES, ids=str)
def test_bilinear(old, new):
    images = np.random.default_rng(0).uniform(0, 255, (2, *old, 3)).astype(np.float32)
    found = aligned.bilinear(images, new)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, resizing.bilinear(images, new), atol=2e-3)
    np.testing.assert_array_equal(found[:, 0, 0], images[:, 0, 0])


@pytest.mark.parametrize("old", [(40, 52), (300, 7), (33, 33), (333, 500), (1, 1)], ids=str)
def test_nearest(old):
    mask = np.random.default_rng(0).choice([0, 1, 255], old).astype(np.uint8)
    expected = resizing.resize_mask(mask[..., None], 65).numpy()[..., 0]
    np.testing.assert_array_equal(aligned.nearest(mask, 65), expected)
