"""A photo and its mask are turned alike, or an error says which was not."""

import numpy as np
import pytest
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.images import label_files, labelled, mask_files, orientation

MASK = np.zeros((24, 32), np.uint8)
MASK[3:9, 4:20] = 255


def save(path, pixels, turned, mode=None):
    exif = Image.Exif()
    if turned:
        exif[0x0112] = turned
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, exif=exif)
    return path


def photo_of(path, turned, shape=MASK.shape):
    return save(path, np.full((*shape, 3), 90, np.uint8), turned)


@pytest.mark.parametrize("mode", [None, "RGB", "RGBA", "LA", "P"])
@pytest.mark.parametrize("turned, turns", [(3, 2), (6, -1), (8, 1)])
def test_masks_of_every_mode_are_turned_with_their_photos(tmp_path, mode, turned, turns):
    photo = photo_of(tmp_path / "a.jpg", turned)
    path = save(tmp_path / "m.png", MASK, turned, mode)
    read = labelled.read_labelled(photo, path)
    np.testing.assert_array_equal(read.mask, np.rot90(MASK // 255, turns))
    assert read.image.shape[:2] == read.mask.shape


def test_label_maps_of_colours_are_turned(tmp_path):
    colours = np.array([(0, 0, 0), (9, 80, 200)], np.uint8)[MASK // 255]
    found = label_files.read_colours(save(tmp_path / "m.png", colours, 3))
    np.testing.assert_array_equal(found, np.rot90(colours, 2))


@pytest.mark.parametrize(
    "of_photo, of_mask", [(3, None), (None, 3), (2, None), (6, 8), (None, 6), (1, 3)]
)
def test_only_one_of_the_two_turned_is_an_error(tmp_path, of_photo, of_mask):
    photo = photo_of(tmp_path / "a.jpg", of_photo)
    path = save(tmp_path / "m.png", MASK, of_mask)
    with pytest.raises(InputError, match="m.png: .*turned as its photo.*a.jpg has .*upright"):
        mask_files.read_mask(path, photo=photo)


def test_sizes_tell_whether_an_unturned_mask_fits(tmp_path):
    """Tools that turn photos write upright masks without EXIF data; of a square it is open."""
    photo = photo_of(tmp_path / "a.jpg", 6, (32, 24))
    path = save(tmp_path / "m.png", MASK, None)
    np.testing.assert_array_equal(labelled.read_labelled(photo, path).mask, MASK // 255)
    lying = save(tmp_path / "l.png", np.ascontiguousarray(MASK.T), None)
    with pytest.raises(InputError, match="l.png: expected a mask of the photo's size.*Turn it"):
        labelled.read_labelled(photo, lying)
    square = save(tmp_path / "s.png", MASK[:, :24], None)
    with pytest.raises(InputError, match="s.png: .*turned as its photo"):
        labelled.read_labelled(photo_of(tmp_path / "s.jpg", 6, (24, 24)), square)


def test_no_orientation_and_upright_are_the_same(tmp_path):
    photo = photo_of(tmp_path / "a.jpg", 1)
    path = save(tmp_path / "m.png", MASK, None)
    np.testing.assert_array_equal(labelled.read_labelled(photo, path).mask, MASK // 255)


@pytest.mark.parametrize("turned, size", [(None, (24, 32)), (3, (24, 32)), (6, (32, 24))])
def test_the_size_of_a_photo_once_it_is_upright(tmp_path, turned, size):
    assert orientation.upright_size(photo_of(tmp_path / "a.jpg", turned)) == size
