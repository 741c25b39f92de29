"""Photo and mask together: what can be learnt from, and what cannot says why."""

import numpy as np
import pytest
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.images import labelled, png_files
from crnet_tf.images.labelled import LabelledPhoto


def pair(height=40, width=60):
    """A photo and its mask: a box in the middle."""
    image = np.full((height, width, 3), 90, np.uint8)
    mask = np.zeros((height, width), np.uint8)
    box = slice(height // 4, 3 * height // 4), slice(width // 4, 3 * width // 4)
    image[box], mask[box] = (220, 30, 30), 1
    return image, mask


def unusable():
    image, mask = pair()
    return {
        "mask of the photo's size": (image, mask[:-1]),
        "Turn it": (image, mask.T),
        "some foreground": (image, 0 * mask),
        r"received only 0, 255, .*: mask == 255": (image, 255 * mask),
        r"mask \[H,W\], received \[40, 60, 1\]. Take one channel": (image, mask[..., None]),
        "received 0, 2": (image, 2 * mask),
        "expected a photo uint8 .* received float64": (image / 255, mask),
        r"expected a photo uint8 .* \[40, 60\]": (image[..., 0], mask),
        r"received Image.*np.array\(image\) of a Pillow": (Image.fromarray(image), mask),
        r"expected a mask \[H,W\], received list": (image, mask.tolist()),
    }


@pytest.mark.parametrize("message", unusable())
def test_what_cannot_be_a_support_is_named(message):
    image, mask = unusable()[message]
    with pytest.raises(ValueError, match=f"cat.png: .*{message}"):
        labelled.check_labelled(image, mask, "cat.png")


def test_what_can_be_a_support():
    image, mask = pair()
    labelled.check_labelled(image, mask, "cat.png")
    mask[-1] = 255
    labelled.check_labelled(image, mask, "cat.png")


def test_two_files_become_a_labelled_photo(tmp_path):
    image, mask = pair()
    png_files.write_png(tmp_path / "cat.png", image)
    png_files.write_label(tmp_path / "mask.png", 255 * mask)
    png_files.write_label(tmp_path / "classes.png", 7 * mask, png_files.voc_palette())
    read = labelled.read_labelled(tmp_path / "cat.png", tmp_path / "mask.png")
    assert read == LabelledPhoto(image, mask) and read.name == str(tmp_path / "cat.png")
    assert labelled.read_labelled(read.name, tmp_path / "classes.png", class_id=7) == read
    png_files.write_label(tmp_path / "small.png", mask[1:])
    with pytest.raises(InputError, match="small.png: expected .*60x40.* received 60x39"):
        labelled.read_labelled(tmp_path / "cat.png", tmp_path / "small.png")


def test_photos_are_known_by_their_pixels():
    image, mask = pair()
    one, same = LabelledPhoto(image, mask, "a"), LabelledPhoto(image.copy(), mask.copy(), "b")
    bare, other = LabelledPhoto(image), LabelledPhoto(image, 1 - mask)
    assert one == same and {one, same, bare, other} == {one, bare, other}
    assert one != bare and one != other and one != image.tobytes()
