"""Whatever a JSON file of annotations says: label maps of their photos, or a problem that names
the file."""

import json

import numpy as np
import pytest
from helpers.fuzzing import cases
from helpers.json_mutations import VALUES, mutated
from hypothesis import given

from crnet_tf.annotations import coco, coco_json, labelme
from crnet_tf.common.errors import InputError
from crnet_tf.images import png_files

SIZE = 12, 16  # H, W
LABELME = {
    "imagePath": "a.png",
    "imageHeight": SIZE[0],
    "imageWidth": SIZE[1],
    "shapes": [
        {"label": "cat", "shape_type": "polygon", "points": [[1, 1], [9, 2.5], [5, 8]]},
        {"label": "cat", "shape_type": "rectangle", "points": [[10, 1], [14, 5]]},
        {"label": "dog", "shape_type": "circle", "points": [[8, 8], [10, 8]]},
        {"label": "__ignore__", "shape_type": "polygon", "points": [[0, 0], [2, 0], [0, 2]]},
        {"label": "dog", "shape_type": "line", "points": [[0, 0], [2, 2]]},
    ],
}
COCO = {
    "images": [{"id": 7, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}],
    "annotations": [
        {
            "id": 1, "image_id": 7, "category_id": 1, "iscrowd": 0,
            "segmentation": [[1, 1, 9, 2.5, 5, 8], [10, 1, 14, 1, 14, 5]],
        },
        {
            "id": 2, "image_id": 7, "category_id": 5, "iscrowd": 1,
            "segmentation": {"size": [*SIZE], "counts": [100, 30, 62]},
        },
        {
            "id": 3, "image_id": 7, "category_id": 5,
            "segmentation": {"size": [*SIZE], "counts": "k03900000000000a2"},
        },
    ],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    png_files.write_png(tmp_path / "a.png", np.zeros((*SIZE, 3), np.uint8))
    return tmp_path


def check(folder, document, list_photos, read_label):
    path = folder / "a.json"
    path.write_text(json.dumps(document))
    try:
        listing = list_photos(path)
    except (InputError, FileNotFoundError) as error:
        assert "a.json" in str(error) and "expected" in str(error)
        return
    assert all("a.json" in problem or "expected" in problem for problem in listing.problems)
    for photo in listing.photos:
        try:
            label = read_label(photo)
        except (InputError, FileNotFoundError) as error:
            assert "expected" in str(error)
        else:
            assert label.shape == SIZE and label.dtype == np.uint8


def check_labelme(folder, document):
    check(folder, document, lambda path: labelme.list_photos(path.parent), labelme.read_label)


def check_coco(folder, document):
    check(
        folder, document, lambda path: coco_json.list_photos(path, folder), coco_json.read_label
    )
    with pytest.raises(InputError, match="a.json: "):  # it is not of COCO's own categories
        coco.read_instances(folder / "a.json", folder, ("person",))


@given(document=mutated(LABELME))
@cases(40)
def test_labelme(folder, document):
    check_labelme(folder, document)


@given(document=VALUES)
@cases(30)
def test_labelme_of_another_kind(folder, document):
    check_labelme(folder, document)


@given(document=mutated(COCO))
@cases(40)
def test_coco(folder, document):
    check_coco(folder, document)


@given(document=VALUES)
@cases(30)
def test_coco_of_another_kind(folder, document):
    check_coco(folder, document)


def test_the_documents_are_right_as_they_are(folder):
    (folder / "labelme.json").write_text(json.dumps(LABELME))
    (photo,) = labelme.list_photos(folder).photos
    assert set(np.unique(labelme.read_label(photo))) == {0, 1, 2, 255}
    (folder / "coco.json").write_text(json.dumps(COCO))
    (photo,) = coco_json.list_photos(folder / "coco.json", folder).photos
    assert set(np.unique(coco_json.read_label(photo))) == {0, 1, 2, 255}
