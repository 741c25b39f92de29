"""PNG files of photos and label maps."""

import numpy as np
import pytest
from PIL import Image

from crnet_tf.images import label_files, png_files


@pytest.mark.parametrize("palette", [None, png_files.voc_palette()])
def test_label_round_trip(tmp_path, palette):
    ids = np.array([[0, 1, 20], [7, 255, 15]], np.uint8)
    png_files.write_label(tmp_path / "a.png", ids, palette)
    np.testing.assert_array_equal(label_files.read_label(tmp_path / "a.png"), ids)
    assert png_files.encode_label(ids, palette) == (tmp_path / "a.png").read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]  # nothing left beside it


@pytest.mark.parametrize("size", [(20, 30), (20, 30, 3)])
def test_png_round_trip(tmp_path, size):
    pixels = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    png_files.write_png(tmp_path / "a.png", pixels, png_files.FAST)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "a.png")), pixels)
    assert png_files.encode_png(pixels, png_files.FAST) == (tmp_path / "a.png").read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_label_map_takes_less_room_than_as_a_picture():
    rows, columns = np.indices((300, 400))
    disc = ((rows - 150) ** 2 + (columns - 180) ** 2 < 90**2).astype(np.uint8)
    assert len(png_files.encode_label(disc)) < len(png_files.encode_png(disc))


@pytest.mark.parametrize(
    ("encode", "array"),
    [
        (png_files.encode_png, np.zeros((4, 4))),
        (png_files.encode_png, np.zeros((4, 4, 4), np.uint8)),
        (png_files.encode_label, np.zeros((4, 4))),
        (png_files.encode_label, np.zeros((4, 4, 3), np.uint8)),
    ],
)
def test_what_is_no_picture_is_refused(encode, array):
    with pytest.raises(ValueError, match=r"expected uint8 \[H,W\].*received"):
        encode(array)


def test_voc_palette_has_the_known_colours():
    palette = np.frombuffer(png_files.voc_palette(), np.uint8).reshape(256, 3)
    assert palette[0].tolist() == [0, 0, 0]
    assert palette[1].tolist() == [128, 0, 0]  # aeroplane
    assert palette[15].tolist() == [192, 128, 128]  # person
    assert palette[255].tolist() == [224, 224, 192]  # void
    assert len({tuple(c) for c in palette.tolist()}) == 256
