"""A folder of photos and masks becomes classes, or says what is wrong with it."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from crnet_tf.data import labelled_folder
from crnet_tf.images.png_files import write_png


def put(folder, name, mask_path=None, foreground=1):
    """A photo, and its mask where one is named."""
    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / name, np.full((8, 9, 3), len(name), np.uint8))
    if mask_path:
        (folder / mask_path).parent.mkdir(exist_ok=True)
        mask = np.zeros((8, 9), np.uint8)
        mask[2:5, 3:6] = foreground
        write_png(folder / mask_path, mask)


def test_masks_stand_beside_their_photos_or_in_a_folder(tmp_path):
    mugs = tmp_path / "mugs"
    put(mugs, "b.PNG", "masks/b.png", 255)
    put(mugs, "a.png", "a_mask.png")
    (mugs / "notes.txt").write_text("")
    (mugs / ".hidden.png").write_text("")
    (only,) = labelled_folder.read_classes(mugs).items()
    assert only[0] == "mugs"
    assert [photo.name for photo in only[1]] == [str(mugs / "a.png"), str(mugs / "b.PNG")]
    assert [np.sum(photo.mask == 1) for photo in only[1]] == [9, 9]


def test_folders_are_classes(tmp_path, monkeypatch):
    put(tmp_path / "mug", "a.png", "a_mask.png")
    put(tmp_path / "cup", "a.png", "masks/a.png")
    put(tmp_path / "cup", "b.png", "b_mask.png")
    monkeypatch.chdir(tmp_path)
    classes = labelled_folder.read_classes(".")
    assert {name: len(photos) for name, photos in classes.items()} == {"cup": 2, "mug": 1}
    assert list(classes) == ["cup", "mug"]


def test_folders_of_images_and_masks_are_taken_as_builders_take_them(tmp_path):
    for name in ("cat", "dog"):
        put(tmp_path / name / "images", "a.png", "../masks/a.png")
    assert list(labelled_folder.read_classes(tmp_path)) == ["cat", "dog"]
    assert list(labelled_folder.read_classes(tmp_path / "cat")) == ["cat"]


@pytest.mark.parametrize("photo, mask", [
    ("a.webp", "a_mask.webp"), ("a.bmp", "a_mask.BMP"), ("a.tif", "masks/a.tif"),
    ("a.jfif", "a_mask.png"), ("a.avif", "masks/a.bmp"), ("a.JPG", "masks/a.JPG.png"),
    ("e\u0301.png", "masks/\u00e9.png"),
])  # fmt: skip
def test_photos_and_masks_of_every_format(tmp_path, photo, mask):
    put(tmp_path / "mugs", "b.png", "b_mask.png")
    folder = tmp_path / "mugs"
    (folder / "masks").mkdir()
    drawn = np.zeros((8, 9), np.uint8)
    drawn[2:5, 3:6] = 255
    options = {"lossless": True} if mask.endswith("webp") else {}
    kind = {"format": "JPEG"} if photo.endswith("jfif") else {}
    Image.fromarray(np.full((8, 9, 3), 9, np.uint8)).save(folder / photo, **kind)
    Image.fromarray(drawn).save(folder / mask, **options)
    first, second = labelled_folder.read_classes(folder)["mugs"]
    assert {first.name, second.name} == {str(folder / photo), str(folder / "b.png")}
    np.testing.assert_array_equal(first.mask, second.mask)


def test_jpeg_masks_are_refused_with_the_reason(tmp_path):
    put(tmp_path / "mugs", "a.png")
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "mugs" / "a_mask.jpg")
    with pytest.raises(ValueError, match="a_mask.jpg: expected a mask in .*edges.*PNG"):
        labelled_folder.read_classes(tmp_path / "mugs")


def test_where_no_photo_is_found_it_is_said_what_is_there(tmp_path):
    (tmp_path / "mugs").mkdir()
    for name in ("a.txt", "b.raw", "c.xcf", "d.doc"):
        (tmp_path / "mugs" / name).touch()
    with pytest.raises(FileNotFoundError, match="a.txt, b.raw, c.xcf and others"):
        labelled_folder.read_classes(tmp_path / "mugs")


def test_masks_of_a_colour(tmp_path):
    put(tmp_path / "mugs", "a.png")
    colours = np.full((8, 9, 3), (0, 0, 250), np.uint8)
    colours[2:5, 3:6] = (250, 0, 0)
    write_png(tmp_path / "mugs" / "a_mask.png", colours)
    (photo,) = labelled_folder.read_classes(tmp_path / "mugs", (250, 0, 0))["mugs"]
    assert np.sum(photo.mask) == 9 and photo.mask[2, 3]


def wrong_folders(folder):
    def stray():
        put(folder, "a.png", "a_mask.png")
        (folder / "a.png").rename(folder / "b.png")
        put(folder, "b.png", "b_mask.png")

    def mixed():
        put(folder, "a.png", "a_mask.png")
        put(folder / "cup", "a.png", "a_mask.png")

    def two_masks():
        put(folder, "a.png", "a_mask.png")
        put(folder, "a.png", "masks/a.png")

    def two_photos():
        put(folder, "a.png", "a_mask.png")
        put(folder, "a.jpeg")

    def empty_class():
        put(folder / "cup", "a.png", "a_mask.png")
        (folder / "mug").mkdir()

    return {
        "a.png: expected its mask, a_mask.png": lambda: put(folder, "a.png"),
        "a_mask.png: expected the photo": stray,
        "Move the photos into folders": mixed,
        "one file for 'a', received .*a_mask.png": two_masks,
        "one file for 'a', received .*a.jpeg": two_photos,
        "mug: expected at least one labelled photo": empty_class,
        "t: expected at least one labelled photo": folder.mkdir,
        "No folder": lambda: None,
        "a_mask.png: expected a mask with some foreground": lambda: put(
            folder, "a.png", "a_mask.png", 0
        ),
        "a_mask.png: expected a mask of 0 and 1": lambda: put(folder, "a.png", "a_mask.png", 7),
    }


@pytest.mark.parametrize("message", wrong_folders(pathlib.Path()))
def test_errors_name_the_file(message, tmp_path):
    wrong_folders(tmp_path / "t")[message]()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        labelled_folder.read_classes(tmp_path / "t")


def test_classes_are_called_as_their_folders_not_as_what_links_point_to(tmp_path, monkeypatch):
    things = tmp_path / "things"
    things.mkdir()
    for name in ("cat", "dog"):
        photos = tmp_path / name / "photos"
        put(photos, "1.png", "1_mask.png")
        (things / name).symlink_to(photos)
    classes = labelled_folder.read_classes(things)
    assert {name: len(found) for name, found in classes.items()} == {"cat": 1, "dog": 1}
    assert list(labelled_folder.read_classes(things / "cat")) == ["cat"]
    monkeypatch.chdir(tmp_path / "dog" / "photos")
    assert list(labelled_folder.read_classes(".")) == ["photos"]
