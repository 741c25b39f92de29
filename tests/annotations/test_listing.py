"""What is alike for several formats: files, names, lists, links."""

import json
import os

import numpy as np
import pytest
from helpers.own_photos import (
    write_coco,
    write_folders,
    write_labelme,
    write_photo,
)

from crnet_tf.annotations import class_folders, coco, coco_json, label_maps, labelme
from crnet_tf.annotations.listing import PhotoFile, files_of, read_lines
from crnet_tf.images import png_files


def test_masks_with_void(tmp_path):
    mask = np.array([[0, 1, 255]], np.uint8)
    png_files.write_png(tmp_path / "m.png", mask)
    write_photo(tmp_path / "a.jpg", 0)
    label = class_folders.read_label(
        PhotoFile("a", tmp_path / "a.jpg", tmp_path / "m.png", (7,))
    )
    np.testing.assert_array_equal(label, [[0, 7, 255]])


def test_json_of_many_brackets(tmp_path):
    (write_labelme(tmp_path / "a") / "p0.json").write_text("[" * 200_000)
    (problem,) = labelme.list_photos(tmp_path / "a").problems
    assert "p0.json: expected a JSON file of Labelme" in problem
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path / "b")
    annotations.write_text("[" * 200_000)
    with pytest.raises(ValueError, match="expected COCO's JSON format.*RecursionError"):
        coco_json.list_photos(annotations, images)


def test_files_as_windows_writes_them(tmp_path):
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path / "coco")
    content = json.loads(annotations.read_text())
    for image in content["images"]:
        image["file_name"] = f"..\\{images.name}\\{image['file_name']}"
    content["annotations"][0]["iscrowd"] = "0"
    annotations.write_text(json.dumps(content), encoding="utf-8-sig")
    listing = coco_json.list_photos(annotations, images)
    assert not listing.problems and len(listing.photos) == 6
    assert not listing.photos[0].label[0].annotations[0].crowd
    path = write_labelme(tmp_path / "labelme") / "p0.json"
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert not labelme.list_photos(path.parent).problems


def test_a_missing_list_table_or_annotation_file_is_said_plainly(tmp_path):
    pytest.importorskip("pycocotools")
    (tmp_path / "folder").mkdir()
    readers = (read_lines, label_maps.read_table, list_coco, read_coco)
    for read in readers:
        with pytest.raises(FileNotFoundError, match="none': expected.*nothing"):
            read(tmp_path / "none")
        with pytest.raises(FileNotFoundError, match="folder': expected.*received a folder"):
            read(tmp_path / "folder")


def list_coco(path):
    return coco_json.list_photos(path, path.parent)


def read_coco(path):
    return coco.read_instances(path, path.parent, ())


def test_sources_that_are_not_there_or_one_class_say_so(tmp_path):
    source = write_folders(tmp_path / "in")
    for folder, message in ((tmp_path / "gone", "not there"), (source / "cat", "single class")):
        with pytest.raises(FileNotFoundError, match=f"received .*{message}"):
            class_folders.list_photos(folder)


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    source, elsewhere = write_folders(tmp_path / "in"), tmp_path / "elsewhere"
    for kind in ("images", "masks"):
        (elsewhere / kind).mkdir(parents=True)
        for path in (source / "cat" / kind).glob("cat0.*"):
            path.rename(elsewhere / kind / path.name)
        os.symlink(elsewhere / kind, source / "cat" / kind / "more")
        os.symlink(source / "cat", source / "cat" / kind / "circle")
    listing = class_folders.list_photos(source)
    assert not listing.problems
    names = {photo.name for photo in listing.photos if photo.classes == (1,)}
    assert names == {"cat/more/cat0", *(f"cat/cat{i}" for i in range(1, 5))}


def test_folders_that_lead_to_each_other_end(tmp_path):
    for name, other in ("ab", "ba"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.jpg").touch()
        os.symlink(tmp_path / other, tmp_path / name / "other")
    found = files_of(tmp_path / "a", (".jpg",))
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a/a.jpg", "a/other/b.jpg"]
