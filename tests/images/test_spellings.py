"""A mask is the same mask however it is written down."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.fuzzing import cases
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from crnet_tf.images import mask_files, png_files
from crnet_tf.images.mask_values import VOID, class_mask

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=9)
OF_BOTH = arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 1])).filter(
    lambda mask: 0 in mask and 1 in mask
)
LABELS = arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 1, 7, 254, VOID]))


def in_palette(ids, colours):
    image = Image.fromarray(ids)
    image.putpalette([value for grey in colours for value in (grey, grey, grey)])
    return image


SPELLINGS = {
    "0 and 1": Image.fromarray,
    "0 and 255": lambda mask: Image.fromarray(255 * mask),
    "one bit": lambda mask: Image.fromarray(mask.astype(bool)),
    "grey in three channels": lambda mask: Image.fromarray(255 * mask).convert("RGB"),
    "opaque": lambda mask: Image.fromarray(255 * mask).convert("RGBA"),
    "black and white of a palette": lambda mask: in_palette(mask, (0, 255)),
    "white and black of a palette": lambda mask: in_palette(1 - mask, (255, 0)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("suffix", ["png", "tiff"])
@given(mask=OF_BOTH)
@cases(10)
def test_every_spelling_is_the_same_mask(tmp_path, spelling, suffix, mask):
    path = tmp_path / f"mask.{suffix}"
    SPELLINGS[spelling](mask).save(path)
    np.testing.assert_array_equal(mask_files.read_mask(path), mask)


@given(label=LABELS)
@cases(30)
def test_a_class_of_a_label_map_is_a_mask_in_any_palette(tmp_path, label):
    masks = []
    for name, palette in (("grey", None), ("voc", png_files.voc_palette())):
        path = tmp_path / f"{name}.png"
        png_files.write_label(path, label, palette)
        if 7 in label:
            masks.append(mask_files.read_mask(path, class_id=7))
            np.testing.assert_array_equal(masks[-1], class_mask(label, 7))
        else:
            with pytest.raises(ValueError, match=f"{name}.png: .*holds class 7"):
                mask_files.read_mask(path, class_id=7)


@given(label=LABELS)
@cases(30)
def test_void_is_decided_alike_for_arrays_and_tensors(label):
    mask = class_mask(label, 7)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask == 1, label == 7) and np.array_equal(mask == VOID, label == VOID)
    for tensor, where in (
        (tf.constant(label), tf.where),
        (keras.ops.convert_to_tensor(label), keras.ops.where),
    ):
        found = keras.ops.convert_to_numpy(class_mask(tensor, 7, where))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, mask)
