import numpy as np
import pytest

from crnet_tf.data.writing.filters import FILTERS, listed_classes


def padded_grid_hits(label, class_id):
    """OSLSM's filter, spelled out: pad 15 px, sample at 16, 48, ..."""
    padded = np.pad(label == class_id, 15)
    return padded[16::32, 16::32].sum()


def test_oslsm_is_the_padded_grid():
    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width = rng.integers(40, 300, 2)
        blocks = rng.integers(0, 6, (height // 20 + 1, width // 20 + 1)).astype(np.uint8)
        label = np.kron(blocks, np.ones((20, 20), np.uint8))[:height, :width]
        expected = [c for c in range(1, 6) if padded_grid_hits(label, c) > 2]
        assert listed_classes(label, "oslsm") == expected


def test_area2048_counts_pixels():
    label = np.zeros((100, 100), np.uint8)
    label.ravel()[:2048] = 3
    label.ravel()[2048:4095] = 4
    assert listed_classes(label, "area2048") == [3]
    assert listed_classes(label, "none") == [3, 4]


@pytest.mark.parametrize("filter", FILTERS)
def test_background_and_void_are_never_listed(filter):
    label = np.zeros((200, 200), np.uint8)
    label[:100] = 255
    assert listed_classes(label, filter) == []


def test_every_filter_keeps_a_subset_of_none():
    rng = np.random.default_rng(1)
    label = np.kron(rng.integers(0, 20, (8, 8)), np.ones((30, 30))).astype(np.uint8)
    for filter in FILTERS:
        assert set(listed_classes(label, filter)) <= set(listed_classes(label, "none"))


def test_unknown_filter():
    with pytest.raises(ValueError, match="expected one of .*oslsm.*received 'big'"):
        listed_classes(np.zeros((4, 4), np.uint8), "big")
