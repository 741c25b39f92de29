"""Labelme's JSON files -> label maps."""

import json
import tracemalloc

import numpy as np
import pytest
from helpers.own_photos import (
    HEIGHT,
    WIDTH,
    write_labelme,
    write_photo,
)
from PIL import Image

from crnet_tf.annotations import labelme
from crnet_tf.annotations.listing import PhotoFile


def labelme_photo(folder, size, shapes):
    Image.new("RGB", size).save(folder / "a.png")
    drawn = [(value, kind, np.array(points)) for value, kind, points in shapes]
    return PhotoFile("a", folder / "a.png", (size, drawn), (5,))


def test_labelme_polygons_circles_and_special_labels(tmp_path):
    shapes = (
        (5, "circle", ((20.0, 20.0), (20.0, 30.0))),
        (255, "polygon", ((30.0, 0.0), (40.0, 0.0), (40.0, 10.0), (30.0, 10.0))),
        (0, "rectangle", ((18.0, 18.0), (22.0, 22.0))),
    )
    label = labelme.read_label(labelme_photo(tmp_path, (60, 50), shapes))
    assert label.shape == (50, 60) and label.dtype == np.uint8
    distance = np.hypot(*(np.indices((50, 60)) - 20))
    assert np.all(label[(distance < 9) & (distance > 3)] == 5)
    assert not np.any(label[distance > 11] == 5)
    assert np.all(label[18:23, 18:23] == 0)
    assert np.all(label[0:11, 30:41] == 255) and np.sum(label == 255) == 121


def test_labelme_polygons_take_little_memory(tmp_path):
    path = write_labelme(tmp_path, count=1) / "p0.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    polygon = [[n % WIDTH + 0.5, n % HEIGHT + 0.25] for n in range(20_000)]
    content["shapes"] = [{"label": "cat", "points": polygon}]
    path.write_text(json.dumps(content), encoding="utf-8")
    del content, polygon
    tracemalloc.start()
    listing = labelme.list_photos(tmp_path)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(listing.photos) == 1 and kept < 500_000  # 16 bytes a corner and a little


def test_photos_without_a_labelme_file_are_counted(tmp_path):
    write_labelme(tmp_path)
    for photo in ("extra.jpg", "below/extra.png"):
        write_photo(tmp_path / photo, 0)
    (tmp_path / "p0.json").rename(tmp_path / "other.json")  # names its photo p0.jpg itself
    listing = labelme.list_photos(tmp_path)
    assert len(listing.photos) == 6 and not listing.problems
    assert listing.notes[1:] == ["2 photos without a usable JSON file; left out."]


def test_two_labelme_files_of_one_photo_are_a_problem(tmp_path):
    """Two records of it would each call the other's objects background."""
    write_labelme(tmp_path, count=3)
    content = (tmp_path / "p1.json").read_text()
    (tmp_path / "second_look.json").write_text(content)
    listing = labelme.list_photos(tmp_path)
    assert [photo.name for photo in listing.photos] == ["p0", "p1", "p2"]
    (problem,) = listing.problems
    assert "second_look.json: expected a photo of its own, received p1.jpg" in problem


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("imagePath", None, "imagePath None, which is no text"),
        ("imagePath", 7, "imagePath 7, which is no text"),
        ("imageWidth", float("inf"), "OverflowError"),
        ("imageHeight", float("nan"), "ValueError"),
        ("shapes", [{"label": "cat", "points": [[10**400, 0]] * 3}], "OverflowError"),
        ("shapes", None, "TypeError"),
    ],
)
def test_wrong_values_in_labelme_files(tmp_path, key, value, message):
    path = write_labelme(tmp_path) / "p0.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {key: value}), encoding="utf-8")
    listing = labelme.list_photos(tmp_path)
    (problem,) = listing.problems
    assert "p0.json: expected a JSON file of Labelme" in problem and message in problem
    assert len(listing.photos) == 5


def test_shapes_that_leave_the_photo(tmp_path):
    """Cut off at its border; far beyond, where Pillow draws nothing, they are refused."""
    source = write_labelme(tmp_path / "in")
    path = source / "p0.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for kind, points, filled in (
        ("polygon", [[-500, -500], [30, -500], [30, 500], [-500, 500]], np.s_[:, :31]),
        ("rectangle", [[40, 30], [700, 500]], np.s_[30:, 40:]),
        ("circle", [[WIDTH / 2, HEIGHT / 2], [WIDTH / 2, 500]], np.s_[:, :]),
        ("polygon", [[-90, -90], [-50, -90], [-50, -50]], np.s_[:0, :0]),
    ):
        content["shapes"] = [{"label": "cat", "shape_type": kind, "points": points}]
        path.write_text(json.dumps(content), encoding="utf-8")
        expected = np.zeros((HEIGHT, WIDTH), np.uint8)
        expected[filled] = 1
        np.testing.assert_array_equal(
            labelme.read_label(labelme.list_photos(source).photos[0]), expected
        )
    for far in (1e9, 1e300):
        content["shapes"] = [{"label": "cat", "points": [[0, 0], [far, 0], [far, -far]]}]
        path.write_text(json.dumps(content), encoding="utf-8")
        (problem,) = labelme.list_photos(source).problems
        assert "p0.json: expected shapes in px of a photo of 48x36" in problem


def test_rectangles_of_two_and_of_four_corners_are_the_same(tmp_path):
    """Labelme writes two, X-AnyLabeling all four."""
    two = ((5, "rectangle", ((30.0, 8.0), (10.0, 20.0))),)
    four = ((5, "rectangle", ((10.0, 8.0), (30.0, 8.0), (30.0, 20.0), (10.0, 20.0))),)
    drawn = [labelme_photo(tmp_path, (60, 50), shapes) for shapes in (two, four)]
    maps = [labelme.read_label(photo) for photo in drawn]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.sum(maps[1] == 5) == 21 * 13
