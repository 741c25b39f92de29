"""Masks of classes are parted into objects, and these are counted."""

import csv

import numpy as np
import pytest

from crnet_tf.annotations import pieces, writing
from crnet_tf.annotations.answers import PhotoAnswer


def discs(*centres, radius=20, size=(100, 160)):
    """bool [H,W] with discs at these (x, y)."""
    rows, columns = np.indices(size)
    found = [np.hypot(columns - x, rows - y) < radius for x, y in centres]
    return np.any(found, axis=0)


def count(numbers):
    return len(np.unique(numbers)) - 1


def test_touching_objects_are_split_where_they_are_narrow():
    mask = discs((40, 50), (78, 50), (125, 50))
    assert count(pieces.numbered(mask, 0)) == 2
    numbers = pieces.numbered(mask, 0, split=True)
    assert count(numbers) == 3
    np.testing.assert_array_equal(numbers > 0, mask)
    left, right = numbers[50, 40], numbers[50, 78]
    border = np.abs(np.flatnonzero(np.diff(numbers[50, 40:79])) + 40 - 58)
    assert left != right and border.max() <= 2
    assert (numbers[mask & (np.indices(mask.shape)[1] < 55)] == left).all()


@pytest.mark.parametrize("shape", ["disc", "bar"])
def test_one_object_stays_whole(shape):
    mask = discs((50, 50)) if shape == "disc" else np.zeros((100, 160), bool)
    if shape == "bar":
        mask[40:60, 10:150] = True
    assert count(pieces.numbered(mask, 0, split=True)) == 1


def test_specks_are_no_objects():
    mask = discs((50, 50))
    mask[5, 100:103] = True
    assert count(pieces.numbered(mask, 4)) == 1
    assert count(pieces.numbered(mask, 3)) == 2
    assert not pieces.numbered(np.zeros((5, 5), bool), 1).any()


def test_objects_are_counted(tmp_path):
    label = np.uint8(discs((40, 50), (78, 50))) + 2 * np.uint8(discs((130, 50)))
    label[0, 0] = 1  # a speck: a photo of 16,000 px has no object of 1 px
    sure = np.ones((2, *label.shape), np.float32)
    image = np.zeros((*label.shape, 3), np.uint8)
    given = PhotoAnswer(tmp_path / "a.png", "a", image, label, sure, (1, 1), ("cup", "mug"))
    with writing.results(tmp_path, formats=["coco"], split=True) as results:
        results.add(given)
    head, row = csv.reader((tmp_path / "photos.csv").read_text().splitlines())
    assert head[-2:] == ["objects of cup", "objects of mug"] and row[-2:] == ["2", "1"]
