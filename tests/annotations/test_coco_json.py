"""COCO's JSON format, of any categories."""

import json

import numpy as np
import pytest
from helpers.own_photos import (
    CLASSES,
    HEIGHT,
    WIDTH,
    scene,
    write_coco,
)

from crnet_tf.annotations import coco_json


def test_objects_without_a_segmentation_are_counted(tmp_path):
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path)
    content = json.loads(annotations.read_text())
    boxes = [
        {"image_id": image_id, "category_id": 20, "bbox": [0, 0, 9, 9]} | drawn
        for image_id, drawn in ((0, {}), (7, {"segmentation": []}))
    ]
    content["annotations"] += boxes
    annotations.write_text(json.dumps(content))
    notes = coco_json.list_photos(annotations, images).notes
    (note,) = [note for note in notes if "without a segmentation" in note]
    assert note.startswith("2 objects without a segmentation; background there")


def test_coco_crowds_are_void_and_small_objects_in_front(tmp_path):
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path)
    content = json.loads(annotations.read_text())
    whole = [[0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]]
    half = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH // 2, HEIGHT * WIDTH // 2]}
    content["annotations"] += [
        {"image_id": 0, "category_id": 20, "area": 9999, "iscrowd": 0, "segmentation": whole},
        {"image_id": 7, "category_id": 20, "area": 1, "iscrowd": 1, "segmentation": half},
    ]
    annotations.write_text(json.dumps(content))
    listing = coco_json.list_photos(annotations, images)
    first, second = (coco_json.read_label(photo) for photo in listing.photos[:2])
    np.testing.assert_array_equal(first, np.where(scene(0), scene(0), 2))
    expected = scene(1)
    expected[:, : WIDTH // 2][expected[:, : WIDTH // 2] == 0] = 255
    np.testing.assert_array_equal(second, expected)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c.pop("categories"), "expected COCO's JSON format.*KeyError"),
        (lambda c: c["annotations"].clear(), "expected objects with a segmentation"),
        (lambda c: c["images"][1].update(id=0), r"every photo once, received id \[0\] more"),
        (
            lambda c: c["images"][1].update(file_name="p0.jpg"),
            r"every photo once, received file_name \['p0.jpg'\]",
        ),
        (
            lambda c: c["categories"][1].update(id=10),
            r"every category once, received id \[10\]",
        ),
        (
            lambda c: c["categories"][1].update(name="cat"),
            r"every category once, received name \['cat'\]",
        ),
        (lambda c: c["images"][0].update(file_name=7), "file_name 7, which is no text"),
        (lambda c: c["images"][0].update(height=float("inf")), "JSON format.*OverflowError"),
        (lambda c: c["images"][0].update(width="wide"), "JSON format.*ValueError"),
        (lambda c: c["categories"][0].update(id="one"), "category ids of the types int, str"),
        (lambda c: c["categories"][0].update(name=3), "name 3, which is no text"),
    ],
)
def test_wrong_coco_files(tmp_path, change, message):
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path)
    content = json.loads(annotations.read_text())
    change(content)
    annotations.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        coco_json.list_photos(annotations, images)


def test_a_coco_category_of_photos_that_are_missing_is_no_class(tmp_path):
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path / "in")
    content = json.loads(annotations.read_text(encoding="utf-8"))
    content["annotations"][0]["category_id"] = 99
    annotations.write_text(json.dumps(content), encoding="utf-8")
    assert "unicorn" in coco_json.list_photos(annotations, images).class_names
    (images / "p0.jpg").unlink()
    assert coco_json.list_photos(annotations, images).class_names == CLASSES
