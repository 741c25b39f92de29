"""Whatever is in a file: a photo, a label map or a mask of the right kind, or an error that
names it."""

import warnings

import numpy as np
import pytest
from helpers.fuzzing import cases
from helpers.malformed_images import damaged, well_formed
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.images import label_files, mask_files, photos

WELL_FORMED = well_formed()
CONTENTS = st.binary(max_size=200) | damaged(WELL_FORMED.values())


def is_map(array):
    return array.dtype == np.uint8 and array.ndim == 2 and array.size > 0


def is_mask(array):
    return is_map(array) and set(np.unique(array)) <= {0, 1, 255}


def is_photo(array):
    return (
        array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size > 0
    )


def is_stored(found):
    content, image_format, (height, width) = found
    signature = {"jpeg": b"\xff\xd8", "png": b"\x89PNG"}[image_format]
    return content.startswith(signature) and height > 0 and width > 0


def read_soft_mask(path):
    return mask_files.read_mask(path, soft=True)


READERS = {
    photos.read_photo: is_photo,
    photos.photo_bytes: is_stored,
    photos.header_size: lambda size: min(size) > 0,
    label_files.read_label: is_map,
    mask_files.read_mask: is_mask,
    label_files.read_voc_label: is_map,
    label_files.read_colours: is_photo,
    read_soft_mask: is_mask,
}


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)  # no file here takes much memory
    return tmp_path / "a.file"


def check(path, content):
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of damaged EXIF data and large photos
        for read, is_right in READERS.items():
            try:
                found = read(path)
            except InputError as error:
                assert str(path) in str(error) and "expected" in str(error)
            else:
                assert is_right(found), read.__name__


@pytest.mark.parametrize("name", WELL_FORMED)
def test_files_of_many_kinds(path, name):
    check(path, WELL_FORMED[name])


@given(content=CONTENTS)
@cases(50)
def test_damaged_files(path, content):
    check(path, content)
