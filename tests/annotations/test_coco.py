"""Objects of COCO are drawn as COCO draws them."""

import pathlib

import numpy as np
import pytest
from helpers.coco_files import (
    CLASS_IDS,
    HEIGHT,
    PERSON,
    STOP_SIGN,
    TOOTHBRUSH,
    WIDTH,
    box,
    box_mask,
    packed,
    uncompressed,
)
from pycocotools import mask as coco_mask

from crnet_tf.annotations import coco
from crnet_tf.annotations.coco_masks import draw_object


def draw(*annotations):
    photo = coco.AnnotatedPhoto(
        pathlib.Path("x.jpg"),
        HEIGHT,
        WIDTH,
        tuple(
            coco.Annotation(number, category, segmentation, crowd)
            for number, (category, segmentation, crowd) in enumerate(annotations)
        ),
    )
    return coco.draw_label(photo, CLASS_IDS)


def object_mask(segmentation):
    """uint8 [H,W] of an object drawn alone."""
    drawn = draw_object(segmentation, HEIGHT, WIDTH)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[drawn.box] = drawn.mask
    return mask


@pytest.mark.parametrize("large_first", [True, False])
def test_smaller_objects_stand_before_larger_ones(large_first):
    objects = [
        (PERSON, [box(0, 0, 100, 100)], False),
        (TOOTHBRUSH, [box(10, 10, 20, 20)], False),
    ]
    label = draw(*(objects if large_first else objects[::-1]))
    assert np.array_equal(label == 80, box_mask(10, 10, 20, 20))
    assert (label == 1).sum() == 100 * 100 - 100


def test_crowds_are_void_behind_everything():
    crowd = (PERSON, uncompressed(box_mask(0, 0, 30, 30)), True)
    label = draw((STOP_SIGN, [box(0, 0, 100, 100)], False), crowd)
    assert set(np.unique(label)) == {0, 12}
    label = draw((STOP_SIGN, [box(20, 20, 60, 60)], False), crowd)
    assert np.array_equal(label == 255, box_mask(0, 0, 30, 30) * (label != 12))
    assert (label == 12).sum() == 40 * 40


def test_parts_of_one_object_are_joined():
    parts = [box(0, 0, 10, 10), box(30, 30, 50, 50), [1, 2, 3, 4], []]
    assert (draw((PERSON, parts, False)) == 1).sum() == 100 + 400


def test_what_lies_outside_the_photo_is_cut_off():
    rng = np.random.default_rng(0)
    for _ in range(20):
        star = rng.uniform(-60, 180, 14)
        moved = coco_mask.frPyObjects([(star + 100).tolist()], HEIGHT + 200, WIDTH + 200)
        canvas = coco_mask.decode(moved)[100 : 100 + HEIGHT, 100 : 100 + WIDTH, 0]
        # Left and above of the photo pycocotools rounds the other way.
        assert (object_mask([star.tolist()]) != canvas).mean() < 0.01
    outside = object_mask([box(-30, 80, 40, 300)])
    assert np.array_equal(outside, box_mask(-30, 80, 40, 300))
    assert not object_mask([box(-50, -50, -10, -10)]).any()


@pytest.mark.parametrize("decimals", [1, 2, 15])  # of COCO's: 2
def test_objects_are_drawn_as_pycocotools_draws_them(decimals):
    rng, differing = np.random.default_rng(2), 0
    for _ in range(300):
        reach = rng.choice([4, 30, 150])
        parts = [
            (rng.uniform(-20, 120, 2) + rng.uniform(-reach, reach, (5, 2)))
            .ravel()
            .round(decimals)
            .tolist()
            for _ in range(rng.integers(1, 4))
        ]
        whole = coco_mask.merge(coco_mask.frPyObjects(parts, HEIGHT, WIDTH))
        differing += np.count_nonzero(object_mask(parts) != coco_mask.decode(whole))
    # Where an edge crosses the very middle between two pixels it may round the other way.
    assert differing <= 2


def test_both_kinds_of_run_lengths():
    rng = np.random.default_rng(1)
    for density in (0, 0.02, 0.5, 0.98, 1):
        mask = (rng.random((HEIGHT, WIDTH)) < density).astype(np.uint8)
        for segmentation in (packed(mask), uncompressed(mask)):
            assert np.array_equal(object_mask(segmentation), mask)
