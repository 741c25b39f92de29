"""A photo drawn on the spot, and files of it."""

import numpy as np
import pytest


def gradient(height=24, width=32):
    y, x = np.mgrid[:height, :width]
    return np.stack([8 * x, 10 * y, 4 * (x + y)], -1).astype(np.uint8)


@pytest.fixture
def save(tmp_path):
    def save(image, name, **options):
        path = tmp_path / name
        image.save(path, **options)
        return path

    return save
