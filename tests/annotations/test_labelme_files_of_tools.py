"""Labelme's files as people have them: nothing is lost or taken otherwise in silence."""

import base64
import io
import json

import numpy as np
import pytest
from helpers.own_photos import CLASSES, HEIGHT, WIDTH, boxes, scene, write_labelme, write_photo
from PIL import Image

from crnet_tf.annotations import labelme
from crnet_tf.images import photos
from crnet_tf.images.opening import Embedded

SQUARE = [[5, 5], [25, 5], [25, 25], [5, 25]]


@pytest.fixture
def folder(tmp_path):
    return write_labelme(tmp_path)


def edit(path, **changes):
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(content), encoding="utf-8")


def shape(label, points=SQUARE, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind} | more


def notes_of(folder, **options):
    listing = labelme.list_photos(folder, **options)
    assert not listing.problems
    return " ".join(listing.notes)


def first_label(folder, **options):
    return labelme.read_label(labelme.list_photos(folder, **options).photos[0])


def test_white_space_around_labels_is_no_part_of_them(folder):
    edit(
        folder / "p0.json", shapes=[shape(" cat "), shape("dog\t", [[30, 5], [40, 5], [40, 9]])]
    )
    assert labelme.list_photos(folder).class_names == CLASSES


@pytest.mark.parametrize("label", [None, "", "  "])
def test_shapes_without_a_label_are_counted_and_no_class(folder, label):
    edit(folder / "p0.json", shapes=[shape(label), shape("cat", SQUARE[:3])])
    listing = labelme.list_photos(folder)
    assert listing.class_names == CLASSES and listing.photos[0].classes == (1,)
    said = f"1 shapes without a label; left out (first: {folder / 'p0.json'})."
    assert said in listing.notes


def test_numbered_labels_are_instances_unless_told(folder):
    edit(
        folder / "p0.json", shapes=[shape("cat-1"), shape("cat-2", [[30, 5], [40, 5], [40, 9]])]
    )
    edit(
        folder / "p1.json",
        shapes=[shape("dog-1"), shape("covid-19", [[30, 5], [40, 5], [40, 9]])],
    )
    listing = labelme.list_photos(folder)
    assert listing.class_names == ("cat", "covid-19", "dog", "élan")
    assert set(np.unique(labelme.read_label(listing.photos[0]))) == {0, 1}
    said = " ".join(listing.notes)
    assert "cat-1, cat-2, dog-1 are taken as instances of cat, dog" in said
    assert "--noinstances" in said
    apart = labelme.list_photos(folder, join_instances=False)
    assert apart.class_names == ("cat", "cat-1", "cat-2", "covid-19", "dog", "dog-1", "élan")
    assert "cat-1" in " ".join(apart.notes)


def test_masks_of_an_assistant_are_shapes(folder):
    mask = np.zeros((12, 20), np.uint8)
    mask[2:9, 3:15] = 1
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    encoded = base64.b64encode(file.getvalue()).decode()
    corners = [[6, 4], [25, 15]]
    edit(folder / "p0.json", shapes=[shape("cat", corners, "mask", mask=encoded)])
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[4:16, 6:26] = mask
    np.testing.assert_array_equal(first_label(folder), expected)
    for wrong in ("no base64", base64.b64encode(b"no PNG").decode(), None):
        edit(folder / "p0.json", shapes=[shape("cat", corners, "mask", mask=wrong)])
        (problem,) = labelme.list_photos(folder).problems
        assert "p0.json: expected a JSON file of Labelme" in problem
    edit(folder / "p0.json", shapes=[shape("cat", [[0, 0], [40, 30]], "mask", mask=encoded)])
    (problem,) = labelme.list_photos(folder).problems
    assert "p0.json: expected a mask of the size of its box, 41x31" in problem


def test_a_photo_that_is_only_inside_its_file(folder):
    pixels = photos.read_photo(folder / "p0.jpg")
    data = base64.b64encode((folder / "p0.jpg").read_bytes()).decode()
    (folder / "p0.jpg").unlink()
    edit(folder / "p0.json", imageData=data)
    listing = labelme.list_photos(folder)
    photo = listing.photos[0]
    assert photo.path == Embedded(folder / "p0.json", "imageData") and photo.name == "p0"
    np.testing.assert_array_equal(photos.read_photo(photo.path), pixels)
    np.testing.assert_array_equal(labelme.read_label(photo), scene(0))
    assert "1 photos are read out of their JSON files" in " ".join(listing.notes)
    edit(folder / "p0.json", imageData=data[:-40])
    with pytest.raises(ValueError, match=r"p0.json \(imageData\): expected a photo"):
        photos.read_photo(labelme.list_photos(folder).photos[0].path)


def test_a_file_that_names_another_photo_than_the_one_beside_it(folder):
    edit(folder / "p0.json", imagePath="p1.jpg")
    (folder / "p1.json").unlink()
    (problem,) = labelme.list_photos(folder).problems
    assert "p0.json: expected one photo, received 'p1.jpg'" in problem and "p0.jpg" in problem
    edit(folder / "p0.json", imagePath="IMG_0001.jpg")  # both were renamed
    said = notes_of(folder)
    assert "1 JSON files name a photo that is not there; the one beside" in said
    assert "p0.json, 'IMG_0001.jpg'" in said


def test_names_in_capitals_are_found(folder):
    (folder / "p0.jpg").rename(folder / "P0.JPG")
    assert "name a photo" not in notes_of(folder)


@pytest.mark.parametrize("size", [{"imageWidth": None, "imageHeight": None}, {"imageWidth": 0}])
def test_missing_sizes_are_those_of_the_photo(folder, size):
    edit(folder / "p0.json", **size)
    np.testing.assert_array_equal(first_label(folder), scene(0))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.new("RGB", (HEIGHT, WIDTH))  # which is upright as the others are
    lying.save(folder / "p0.jpg", exif=exif)
    np.testing.assert_array_equal(first_label(folder), scene(0))


def test_a_small_shape_stands_before_a_large_one_that_is_drawn_later(folder):
    whole = [[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]]
    edit(folder / "p0.json", shapes=[shape("dog"), shape("cat", whole)])
    label = first_label(folder)
    assert (label[6:25, 6:25] == 2).all() and (label[:, 30:] == 1).all()
    said = notes_of(folder)
    assert "1 shapes lie under larger ones that were drawn later; they are put in front" in said
    edit(folder / "p0.json", shapes=[shape("cat", whole), shape("dog")])
    np.testing.assert_array_equal(first_label(folder), label)
    assert "lie under" not in notes_of(folder)


def test_shapes_outside_of_their_photo_are_counted_and_no_class(folder):
    away = [[x + 500, y] for x, y in SQUARE]
    edit(folder / "p0.json", shapes=[shape("unicorn", away), shape("cat")])
    listing = labelme.list_photos(folder)
    assert listing.class_names == CLASSES
    assert "1 shapes that cover no pixel of their photo" in " ".join(listing.notes)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_unicode_encodings_are_read(folder, encoding):
    text = (folder / "p1.json").read_text(encoding="utf-8")
    text = json.dumps(json.loads(text), ensure_ascii=False)
    (folder / "p1.json").write_bytes(text.encode(encoding))
    assert not labelme.list_photos(folder).problems
    assert len(boxes(1)) == 2


def test_other_encodings_say_the_remedy(folder):
    content = json.loads((folder / "p0.json").read_text(encoding="utf-8"))
    content["shapes"] = [shape("杯子")]
    text = json.dumps(content, ensure_ascii=False)
    (folder / "p0.json").write_bytes(text.encode("gbk"))
    (problem,) = labelme.list_photos(folder).problems
    assert "p0.json: expected JSON in UTF-8" in problem and "iconv -f gbk" in problem


def test_found_none_says_what_is_there(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.xml", "d.txt"):
        write_photo(tmp_path / "a.jpg", 0) if name == "a.jpg" else (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError, match="a.jpg, b.jpg, c.xml and others"):
        labelme.list_photos(tmp_path)
