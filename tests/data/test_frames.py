"""Photos go into the square and answers come back to where they were."""

import numpy as np
import pytest

from crnet_tf.data import frames, resizing
from crnet_tf.data.frames import Frame

MEAN = (123.0, 117.0, 104.0)


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [33, 41])
@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (33, 33)])
def test_a_squash_is_the_resize_of_training(size, shape):
    pixels, mask = photo(*shape), photo(*shape)[..., 0] % 2
    np.testing.assert_array_equal(
        Frame(size).image(pixels), resizing.resize_image(pixels, size)
    )
    expected = resizing.resize_mask(mask[..., None], size)
    np.testing.assert_array_equal(Frame(size).mask(mask), expected)
    np.testing.assert_array_equal(Frame(size).mask(mask[..., None]), expected)


@pytest.mark.parametrize(
    "shape, inner",
    # By hand: the longer side becomes 472; 500 x 375 -> 473*375/500 = 354.75 -> 352.
    [
        ((375, 500), (352, 472)),
        ((500, 375), (472, 352)),
        ((480, 480), (472, 472)),
        ((60, 100), (280, 472)),  # smaller photos are enlarged: 283.8 -> 280
        ((3, 400), (8, 472)),  # 3.5 would leave nothing
    ],
)
def test_letterbox_keeps_the_aspect_and_pads_at_bottom_and_right(shape, inner):
    frame = Frame(473, letterbox=True, fill=MEAN)
    height, width = inner
    pixels = np.full((*shape, 3), 50, np.uint8)
    image = frame.image(pixels).numpy()
    assert image.shape == (473, 473, 3) and image.dtype == np.float32
    np.testing.assert_allclose(image[:height, :width], 50, atol=1e-4)
    for padding in (image[height:], image[:, width:]):
        np.testing.assert_array_equal(padding, np.broadcast_to(MEAN, padding.shape))
    mask = frame.mask(np.ones(shape, np.uint8)).numpy()
    assert mask.shape == (473, 473, 1) and mask.dtype == np.uint8
    assert np.all(mask[:height, :width] == 1)
    assert np.all(mask[height:] == 255) and np.all(mask[:, width:] == 255)


def test_corners_of_a_photo_are_corners_of_its_letterbox():
    pixels = photo(30, 40)
    image = Frame(81, letterbox=True, fill=MEAN).image(pixels).numpy()  # 56 x 80 of 81
    for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        np.testing.assert_allclose(image[:56, :80][y, x], pixels[y, x], atol=1e-3)


@pytest.mark.parametrize("size, scale, expected", [(321, 1.25, 401), (321, 0.75, 241)])
def test_scaled_sides_are_8n_plus_1(size, scale, expected):
    frame = Frame(size, letterbox=True, fill=MEAN).scaled(scale)
    assert frame == Frame(expected, letterbox=True, fill=MEAN)


def test_scale_one_keeps_the_size():
    assert Frame(400).scaled(1) == Frame(400).scaled(1.0) == Frame(400)
    assert Frame(400).scaled(1.0001).size == 401


@pytest.mark.parametrize("scale", [0.1, 0, -1, float("nan"), float("inf")])
def test_scales_that_leave_no_feature_map(scale):
    with pytest.raises(ValueError, match="expected all.*33 px, received .*no feature map.*Use"):
        Frame(225).scaled(scale)
    assert Frame(40).scaled(0.825).size == 33


def test_a_frame_has_room_for_a_letterbox():
    with pytest.raises(ValueError, match="at least 8 px, received 7. Choose"):
        Frame(7)


@pytest.mark.parametrize("letterbox", [False, True])
def test_an_object_too_small_for_the_networks_input(letterbox):
    mask = np.zeros((400, 600), np.uint8)
    mask[100:300, 150:450] = 1
    dot = np.zeros_like(mask)
    dot[1, 1] = 1
    frame = Frame(33, letterbox)
    frames.check_visible(mask, frame, "cat.png")
    with pytest.raises(ValueError, match="33x33, received 1 .*none of which is left"):
        frames.check_visible(dot, frame, "cat.png")
    frames.check_visible(dot, Frame(801, letterbox), "cat.png")
