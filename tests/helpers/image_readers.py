"""All that reads photos and masks from files, and what each may give."""

import warnings

import numpy as np

from crnet_tf.common.errors import InputError
from crnet_tf.images import label_files, mask_files, photos


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


def check(path, content: bytes) -> bool:
    """Whether a reader takes a file of this content, written to `path`; what it gives must be
    right, and an error must name the file and say what was expected."""
    taken = False
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
                taken = True
    return taken
