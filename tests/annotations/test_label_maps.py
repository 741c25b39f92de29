"""Folders of label maps and the tables that explain them."""

import numpy as np
import pytest
from helpers.own_photos import (
    HEIGHT,
    WIDTH,
    scene,
    write_label_maps,
    write_photo,
)
from PIL import Image

from crnet_tf.annotations import label_maps
from crnet_tf.images import png_files


@pytest.mark.parametrize("flag, folder", [("images", "photos"), ("labels", "maps")])
def test_found_none_says_what_it_looked_for_and_what_is_there(tmp_path, flag, folder):
    paths = write_label_maps(tmp_path, in_colour=False)
    for path in list((tmp_path / folder).iterdir()):
        path.rename(path.with_suffix(".raw"))
    with pytest.raises(
        FileNotFoundError, match=f"--{flag}: .*.png.*found none.*p0.raw, p1.raw"
    ):
        label_maps.list_photos(*paths)


def test_palettes_that_number_colours_otherwise_are_told(tmp_path):
    """A program that makes PNGs smaller numbers each file's own colours."""
    paths = write_label_maps(tmp_path, in_colour=False)
    for number, path in enumerate(sorted(paths[1].iterdir())):
        label = np.array(Image.open(path))
        image = Image.fromarray(label)
        image.putpalette([0, 0, 0, 200, 10, 10, 20, 20, 210, 5, 190, 7])
        if number == 2:
            image.putpalette([0, 0, 0, 20, 20, 210, 200, 10, 10, 5, 190, 7])
        image.save(path)
    listing = label_maps.list_photos(*paths)
    (problem,) = listing.problems
    assert "p2.png: expected one colour for id" in problem and "p0.png has" in problem
    assert "NAME,R,G,B" in problem and len(listing.photos) == 5


def test_label_maps_in_colours_are_not_composited_on_white(tmp_path):
    paths = write_label_maps(tmp_path, in_colour=True)
    for path in paths[1].iterdir():
        rgb = np.array(Image.open(path))
        alpha = 255 * rgb.any(axis=-1, keepdims=True).astype(np.uint8)
        Image.fromarray(np.dstack([rgb, alpha])).save(path)
    listing = label_maps.list_photos(*paths)
    assert not listing.problems
    np.testing.assert_array_equal(label_maps.read_label(listing.photos[0]), scene(0))


@pytest.mark.parametrize(
    "text, message",
    [
        ("cat,1\ndog", "with 0 or 1 numbers, such as 'dog'"),
        ("cat;1\ndog;2", "with commas.* with 0 numbers, such as 'cat;1'"),
        ("", "received 0 lines of 0 names with no numbers, such as none"),
        ("cat,1\ncat,2", "2 lines of 1 names"),
        ("cat,1\ndog,1", "two alike"),
        ("cat,300", "received 1 lines"),
        ("cat,one\ndog,2", "expected lines NAME,ID"),
    ],
)
def test_wrong_colour_tables(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        label_maps.read_table(tmp_path / "t.csv")


def test_background_void_and_heads_in_capitals(tmp_path):
    (tmp_path / "t.csv").write_text("Name,ID\nBackground,0\nCat,1\nVOID,255\n")
    keys = label_maps.read_table(tmp_path / "t.csv").keys
    assert keys == {"background": 0, "Cat": 1, "void": 255}


def test_colour_table_as_json(tmp_path):
    (tmp_path / "t.json").write_text('{"cat": [1, 2, 3], "void": [255, 255, 255]}')
    keys = label_maps.read_table(tmp_path / "t.json").keys
    assert keys == {"cat": 0x010203, "void": 0xFFFFFF}


def test_photos_and_label_maps_in_one_folder(tmp_path):
    images, labels, table = write_label_maps(tmp_path, in_colour=False)
    for path in labels.iterdir():
        path.rename(images / path.name)
    with pytest.raises(ValueError, match="expected two folders"):
        label_maps.list_photos(images, tmp_path / "maps" / ".." / images.name, table)


def test_reading_all_label_maps_shows_progress(tmp_path, capsys):
    label_maps.list_photos(*write_label_maps(tmp_path, in_colour=False))
    assert "6/6" in capsys.readouterr().err


@pytest.mark.parametrize("in_colour", [False, True])
def test_label_maps_are_read_once_while_there_is_room(in_colour, tmp_path, monkeypatch):
    paths = write_label_maps(tmp_path, in_colour)
    kept = label_maps.list_photos(*paths).photos
    monkeypatch.setattr(label_maps, "KEPT_MB", 0)
    again = label_maps.list_photos(*paths).photos
    read = [label_maps.read_label(photo) for photo in again]
    assert len(read) == 6 and all(len(np.unique(label)) > 1 for label in read)
    for path in paths[1].iterdir():
        path.unlink()
    for photo, label in zip(kept, read, strict=True):
        found = label_maps.read_label(photo)
        assert found.dtype == np.uint8 and found.shape == label.shape
        np.testing.assert_array_equal(found, label)
    with pytest.raises(FileNotFoundError):
        label_maps.read_label(again[0])


def test_255_is_void_as_an_id_and_blue_as_a_colour(tmp_path):
    for kind, table in {"ids": "name,id\ncat,1\n", "colours": "blue,0,0,255\n"}.items():
        for folder in ("images", "maps"):
            (tmp_path / kind / folder).mkdir(parents=True)
        write_photo(tmp_path / kind / "images" / "p.jpg", 0)
        (tmp_path / kind / "table.csv").write_text(table)
        label = np.zeros((HEIGHT, WIDTH), np.uint8)
        label[:9], label[9:20] = 255, 1
        if kind == "colours":
            label = np.where(label[..., None] == 255, np.uint8([0, 0, 255]), np.uint8(0))
        png_files.write_png(tmp_path / kind / "maps" / "p.png", label)
        paths = (tmp_path / kind / name for name in ("images", "maps", "table.csv"))
        (photo,) = label_maps.list_photos(*paths).photos
        read = label_maps.read_label(photo)
        assert read[0, 0] == (255 if kind == "ids" else 1)
        assert read[10, 0] == (1 if kind == "ids" else 0) and read[30, 0] == 0


def test_a_colour_outside_the_table_is_named(tmp_path):
    images, labels, table = write_label_maps(tmp_path, in_colour=True)
    smooth = np.full((HEIGHT, WIDTH, 3), (1, 2, 3), np.uint8)
    png_files.write_png(labels / "p3.png", smooth)
    (problem,) = label_maps.list_photos(images, labels, table).problems
    assert "p3.png: expected the colours" in problem and "(1, 2, 3)" in problem
