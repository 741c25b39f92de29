"""Masks in every spelling: read, or refused with the remedy."""

import numpy as np
import pytest
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.images import mask_files, png_files


def labelled(height=40, width=60):
    """A photo and its mask: a box in the middle."""
    image = np.full((height, width, 3), 90, np.uint8)
    mask = np.zeros((height, width), np.uint8)
    box = slice(height // 4, 3 * height // 4), slice(width // 4, 3 * width // 4)
    image[box], mask[box] = (220, 30, 30), 1
    return image, mask


def test_mask_may_be_0_1_or_0_255_or_one_class_of_a_label_map(tmp_path):
    _, mask = labelled()
    labels = 7 * mask
    labels[0], labels[-1] = 255, 3
    for name, array in {"one": mask, "full": 255 * mask, "labels": labels}.items():
        png_files.write_label(tmp_path / f"{name}.png", array, png_files.voc_palette())
    png_files.write_png(tmp_path / "rgb.png", np.repeat(255 * mask[..., None], 3, axis=-1))
    for name in ("one", "full", "rgb"):
        np.testing.assert_array_equal(mask_files.read_mask(tmp_path / f"{name}.png"), mask)
    chosen = mask_files.read_mask(tmp_path / "labels.png", class_id=7)
    np.testing.assert_array_equal(chosen == 1, mask == 1)
    assert (chosen[0] == 255).all() and (chosen[-1] == 0).all()
    with pytest.raises(ValueError, match="--class_id=N"):
        mask_files.read_mask(tmp_path / "labels.png")
    with pytest.raises(ValueError, match="holds class 5, received the ids 0, 3, 7, 255"):
        mask_files.read_mask(tmp_path / "labels.png", class_id=5)


def test_255_is_void_beside_a_1_and_foreground_without(tmp_path):
    _, mask = labelled()
    mask[0] = 255
    png_files.write_png(tmp_path / "void.png", mask)
    np.testing.assert_array_equal(mask_files.read_mask(tmp_path / "void.png"), mask)
    png_files.write_png(tmp_path / "full.png", np.where(mask == 1, 0, mask))
    np.testing.assert_array_equal(mask_files.read_mask(tmp_path / "full.png"), mask == 255)


def test_black_and_white_of_a_palette_go_by_colour(tmp_path):
    _, mask = labelled()
    picture = Image.fromarray(255 * mask)
    files = {
        "adaptive": picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=2),
        "quantized": picture.convert("RGB").quantize(2),
        "web": picture.convert("P"),
    }
    for number, (first, second) in enumerate([(0, 255), (255, 0)]):  # the grey of 0 and of 1
        files[f"own{number}"] = Image.fromarray(mask if second else 1 - mask)
        files[f"own{number}"].putpalette([first] * 3 + [second] * 3)
    for name, image in files.items():
        image.save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(mask_files.read_mask(tmp_path / f"{name}.png"), mask)
    assert np.array(files["adaptive"]).max() == 1  # and white is not the 1


def test_a_photo_or_a_coloured_mask_is_refused_as_a_mask(tmp_path):
    png_files.write_png(tmp_path / "colour.png", labelled()[0])
    Image.fromarray(labelled()[0]).save(tmp_path / "photo.jpg")
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    cut_out = np.dstack([photo, 255 * labelled()[1]])
    Image.fromarray(cut_out).save(tmp_path / "alpha.png")
    for name in ("colour.png", "photo.jpg", "alpha.png"):
        with pytest.raises(ValueError, match=f"{name}: expected a mask in black.*are swapped"):
            mask_files.read_mask(tmp_path / name)
    with pytest.raises(ValueError, match="expected a label map .*mode RGB"):
        mask_files.read_mask(tmp_path / "colour.png", class_id=1)


@pytest.mark.parametrize("suffix", ["bmp", "tif", "webp", "png"])
def test_a_mask_may_be_black_and_white_in_three_channels(tmp_path, suffix):
    _, mask = labelled()
    path = tmp_path / f"mask.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(255 * mask).convert("RGB").save(path, **options)
    np.testing.assert_array_equal(mask_files.read_mask(path), mask)


def test_a_missing_mask_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.png"):
        mask_files.read_mask(tmp_path / "gone.png")


def test_a_mask_can_be_too_large(tmp_path, monkeypatch):
    png_files.write_png(tmp_path / "a.png", np.zeros((40, 60), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match="a.png: expected .* no more than 2,000 pixels"):
        mask_files.read_mask(tmp_path / "a.png")
