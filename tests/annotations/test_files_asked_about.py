"""Further situations of docs/files.md, after questions that people asked of other tools."""

import json

import numpy as np
import pytest
from helpers.own_photos import (
    HEIGHT,
    WIDTH,
    write_coco,
    write_folders,
    write_labelme,
    write_photo,
)
from PIL import Image

from crnet_tf.annotations import class_folders, coco_json, label_maps, labelme
from crnet_tf.images import mask_files, png_files

OUTER = [6, 4, 30, 4, 30, 24, 6, 24]
INNER = [10, 6, 28, 6, 28, 22, 10, 22]


def coco_of(tmp_path, change):
    pytest.importorskip("pycocotools")
    path, images = write_coco(tmp_path)
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return coco_json.list_photos(path, images)


def with_object(**given):
    def change(content):
        kept = [a for a in content["annotations"] if a["image_id"]]
        content["annotations"] = [*kept, {"image_id": 0, "category_id": 10, "id": 1} | given]

    return change


def test_a_hole_drawn_as_a_second_polygon_is_filled_and_its_area_tells(tmp_path):
    area = 24 * 20 - 18 * 16
    listing = coco_of(tmp_path, with_object(segmentation=[OUTER, INNER], area=area))
    assert (coco_json.read_label(listing.photos[0])[4:24, 6:30] == 1).all()
    assert "bbox or area is not that of their mask" in " ".join(listing.notes)


def test_boxes_alone_are_counted(tmp_path):
    listing = coco_of(tmp_path, with_object(bbox=[6, 4, 24, 20], area=480))
    assert "1 objects without a segmentation" in " ".join(listing.notes)


def test_run_lengths_that_overflow_their_mask_are_counted(tmp_path):
    runs = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH, 9]}
    listing = coco_of(tmp_path, with_object(segmentation=runs))
    assert "1 objects with a segmentation that is neither" in " ".join(listing.notes)


def test_a_root_category_without_objects_is_no_class(tmp_path):
    def change(content):
        content["categories"].insert(0, {"id": 0, "name": "things", "supercategory": "none"})

    listing = coco_of(tmp_path, change)
    assert "things" not in listing.class_names
    assert "2 categories without an object; no classes." in listing.notes


def test_sizes_of_a_photo_that_lies_on_its_side_but_outlines_of_the_upright_one(tmp_path):
    """An exporter that knows nothing of EXIF wrote the size, one that does the outlines."""
    pytest.importorskip("pycocotools")
    path, images = write_coco(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(images / "p0.jpg", exif=exif)
    content = json.loads(path.read_text(encoding="utf-8"))
    with_object(segmentation=[[2, 2, 20, 2, 20, 46, 2, 46]])(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    (problem,) = coco_json.list_photos(path, images).problems
    assert "p0.jpg: expected outlines in px of a photo of 48x36" in problem


def test_names_with_a_prefix_of_the_server_are_not_guessed(tmp_path):
    def change(content):
        content["images"][0]["file_name"] = "upload/1/4f1c2d3e-p0.jpg"

    (problem,) = coco_of(tmp_path, change).problems
    assert "4f1c2d3e-p0.jpg" in problem and "holds p0.jpg" in problem


def test_turned_rectangles_are_filled(tmp_path):
    path = write_labelme(tmp_path) / "p0.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    corners = [[20, 5], [35, 15], [20, 25], [5, 15]]
    content["shapes"] = [{"label": "cat", "shape_type": "rotation", "points": corners}]
    path.write_text(json.dumps(content), encoding="utf-8")
    label = labelme.read_label(labelme.list_photos(tmp_path).photos[0])
    assert label[15, 20] == 1 and label[6, 6] == 0 and 280 < label.sum() < 340


def test_photos_and_masks_are_paired_by_name_and_never_by_order(tmp_path):
    source = write_folders(tmp_path)
    (source / "cat" / "masks" / "cat0.png").rename(source / "cat" / "masks" / "cat9.png")
    listing = class_folders.list_photos(source)
    assert all(photo.path.stem == photo.label.stem for photo in listing.photos)
    assert len(listing.problems) == 2


def test_a_table_of_cvat_says_how_one_looks(tmp_path):
    path = tmp_path / "labelmap.txt"
    path.write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\n")
    with pytest.raises(ValueError, match="labelmap.txt: expected lines NAME,ID or NAME,R,G,B"):
        label_maps.read_table(path)


def test_a_mask_that_looks_black_is_one_of_0_and_1(tmp_path):
    mask = (np.indices((9, 8))[0] > 4).astype(np.uint8)
    png_files.write_png(tmp_path / "m.png", mask)
    np.testing.assert_array_equal(mask_files.read_mask(tmp_path / "m.png"), mask)


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_masks_of_16_bits_are_refused_with_the_remedy(tmp_path, white):
    mask = (np.indices((9, 8))[0] > 4).astype(np.uint16) * white
    Image.fromarray(mask).save(tmp_path / "m.png")
    with pytest.raises(ValueError, match="m.png: .*mode I;16.*8-bit single-channel PNG"):
        mask_files.read_mask(tmp_path / "m.png")


def test_two_photos_of_one_name_and_other_suffixes_are_told(tmp_path):
    source = write_folders(tmp_path)
    write_photo(source / "cat" / "images" / "cat0.png", 0)
    (problem,) = class_folders.list_photos(source).problems
    assert "cat0.png: expected every name once, received cat0.jpg" in problem
