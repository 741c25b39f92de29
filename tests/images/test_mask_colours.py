"""What a mask says is what its colours say: whatever numbers a palette has, and by its
transparency where its colours say nothing."""

import numpy as np
import pytest
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.images import label_files, mask_files, png_files

THING = np.zeros((24, 32), np.uint8)
THING[4:15, 5:20] = 1
SIDE = np.zeros((24, 32), np.uint8)
SIDE[:, 16:] = 1
RED, BLUE, WHITE, BLACK = (200, 30, 20), (20, 40, 210), (255, 255, 255), (0, 0, 0)
OF_VOC = [tuple(c) for c in np.frombuffer(png_files.voc_palette(), np.uint8).reshape(-1, 3)]


def in_palette(path, numbers, *colours):
    image = Image.fromarray(numbers)
    image.putpalette([value for colour in colours for value in colour])
    image.save(path)
    return path


def in_colours(path, *colours, numbers=THING):
    """colours: of the numbers 0, 1 ..., RGB or RGBA."""
    Image.fromarray(np.array(colours, np.uint8)[numbers]).save(path)
    return path


@pytest.mark.parametrize(
    "colours, thing_is",
    [
        (((254, 254, 254), BLACK), 0),
        ((WHITE, (3, 2, 4)), 0),
        (((6, 6, 6), (250, 249, 251)), 1),
        ((BLACK, RED), 1),  # its numbers say the same
        ((BLACK, (1, 1, 1)), 1),  # a grey ramp
        ((BLACK, BLACK), 1),  # no colours at all
    ],
)
def test_near_black_and_near_white_count_in_any_order(tmp_path, colours, thing_is):
    path = in_palette(tmp_path / "m.png", THING, *colours)
    np.testing.assert_array_equal(mask_files.read_mask(path), THING == thing_is)


@pytest.mark.parametrize("mode", ["P", "RGB"])
@pytest.mark.parametrize("colours", [(RED, BLUE), (RED, BLACK), (WHITE, RED), (RED, WHITE)])
def test_two_other_colours_are_refused_unless_one_is_named(tmp_path, mode, colours):
    path = tmp_path / "m.png"
    if mode == "P":
        in_palette(path, THING, *colours)
    else:
        in_colours(path, *colours)
    with pytest.raises(InputError, match="m.png: expected a mask .*received.*200, 30, 20") as e:
        mask_files.read_mask(path)
    assert "--foreground_colour=R,G,B" in str(e.value)
    for number, colour in enumerate(colours):
        mask = mask_files.read_mask(path, colour=colour)
        np.testing.assert_array_equal(mask, THING == number)
    with pytest.raises(InputError, match=r"m.png: expected the colour \(1, 250, 1\).*200, 30"):
        mask_files.read_mask(path, colour=(1, 250, 1))


@pytest.mark.parametrize("text", ["200,30,20", " 200, 30, 20", "(200,30,20)", "#c81e14"])
def test_a_colour_as_people_write_it(text):
    assert mask_files.parsed_colour(text) == RED


def test_a_colour_that_is_none():
    assert mask_files.parsed_colour(None) is None
    for text in ("reddish", "1,2", "-"):
        with pytest.raises(InputError, match="--foreground_colour: expected .*255,0,0"):
            mask_files.parsed_colour(text)


def test_a_class_and_a_colour_are_not_taken_at_once(tmp_path):
    path = in_palette(tmp_path / "m.png", THING, BLACK, RED)
    with pytest.raises(InputError, match="a class or a colour.*--class_id or"):
        mask_files.read_mask(path, class_id=1, colour=RED)


# === Palettes that were numbered anew ===


def test_a_palette_in_vocs_colours_and_another_order_is_no_label_map(tmp_path):
    path = in_palette(tmp_path / "m.png", THING, BLACK, OF_VOC[6])
    with pytest.raises(InputError, match="m.png: .*palette.*numbers 0, 1, where VOC has 0, 6"):
        label_files.read_label(path)
    with pytest.raises(InputError, match="m.png: .*palette"):
        mask_files.read_mask(path, class_id=1)
    np.testing.assert_array_equal(label_files.read_voc_label(path), 6 * THING)


@pytest.mark.parametrize("read", [label_files.read_label, label_files.read_voc_label])
def test_other_palettes_are_read_by_number(tmp_path, read):
    own = in_palette(tmp_path / "own.png", 2 * THING, RED, BLUE, (9, 200, 30))
    np.testing.assert_array_equal(read(own), 2 * THING)
    plain = in_palette(tmp_path / "voc.png", 20 * THING, *OF_VOC)
    np.testing.assert_array_equal(read(plain), 20 * THING)
    seen = in_palette(tmp_path / "seen.png", THING + SIDE, BLACK, (127,) * 3, WHITE)
    np.testing.assert_array_equal(read(seen), THING + SIDE)


@pytest.mark.parametrize("read", [label_files.read_label, label_files.read_voc_label])
def test_greys_that_a_palette_was_made_of_are_ids(tmp_path, read):
    path = in_palette(tmp_path / "m.png", THING + SIDE, BLACK, (5,) * 3, (255,) * 3)
    np.testing.assert_array_equal(read(path), np.array([0, 5, 255])[THING + SIDE])


def test_vocs_colours_in_rgb_are_vocs_ids(tmp_path):
    path = in_colours(
        tmp_path / "m.png", OF_VOC[0], OF_VOC[15], OF_VOC[255], numbers=THING + SIDE
    )
    expected = np.array([0, 15, 255])[THING + SIDE]
    np.testing.assert_array_equal(label_files.read_voc_label(path), expected)
    with pytest.raises(InputError, match="m.png: expected a label map"):
        label_files.read_label(path)


# === Transparency ===


@pytest.mark.parametrize(
    "shown, hidden",
    [
        ((*WHITE, 255), (*WHITE, 0)),
        ((*WHITE, 255), (*BLACK, 0)),
        ((*BLACK, 255), (*BLACK, 0)),
        ((*RED, 255), (*BLACK, 0)),
        ((*RED, 200), (9, 80, 3, 90)),
    ],
)
@pytest.mark.parametrize("soft", [False, True])
def test_alpha_carries_the_shape(tmp_path, shown, hidden, soft):
    path = in_colours(tmp_path / "m.png", hidden, shown)
    np.testing.assert_array_equal(mask_files.read_mask(path, soft=soft), THING)


@pytest.mark.parametrize("soft", [False, True])
def test_colours_carry_the_shape_where_alpha_hides_background_only(tmp_path, soft):
    colours = (*BLACK, 255), (*WHITE, 255), (*BLACK, 0)
    path = in_colours(tmp_path / "m.png", *colours, numbers=THING + 2 * SIDE * (1 - THING))
    np.testing.assert_array_equal(mask_files.read_mask(path, soft=soft), THING)


@pytest.mark.parametrize("soft", [False, True])
def test_colours_and_alpha_that_disagree_are_an_error(tmp_path, soft):
    inverted = in_colours(tmp_path / "a.png", (*WHITE, 0), (*BLACK, 255))
    across = in_colours(
        tmp_path / "b.png", (*BLACK, 255), (*WHITE, 255), (*WHITE, 0), numbers=THING + SIDE
    )
    for path in (inverted, across):
        with pytest.raises(InputError, match=f"{path.name}: .*colours and transparency"):
            mask_files.read_mask(path, soft=soft)


def test_the_transparency_of_a_palette_counts_as_well(tmp_path):
    image = Image.fromarray(THING)
    image.putpalette([*WHITE, *WHITE])
    image.save(tmp_path / "m.png", transparency=0)
    np.testing.assert_array_equal(mask_files.read_mask(tmp_path / "m.png"), THING)


def test_what_is_wholly_transparent_is_no_mask(tmp_path):
    path = in_colours(tmp_path / "m.png", (*WHITE, 0), (*BLACK, 0))
    with pytest.raises(InputError, match="m.png: .*every pixel is transparent"):
        mask_files.read_mask(path)


def test_label_maps_are_not_composited(tmp_path):
    right = in_colours(tmp_path / "a.png", (*WHITE, 0), (*RED, 255))
    expected = np.array([BLACK, RED], np.uint8)[THING]
    np.testing.assert_array_equal(label_files.read_colours(right), expected)
    hidden = in_colours(tmp_path / "b.png", (*BLACK, 255), (*RED, 0))
    with pytest.raises(InputError, match="b.png: .*transparent where it has labels"):
        label_files.read_colours(hidden)
    ids = in_colours(tmp_path / "c.png", (0, 0, 0, 0), (7, 7, 7, 255))
    np.testing.assert_array_equal(label_files.read_label(ids), 7 * THING)
    ids = in_colours(tmp_path / "d.png", (0, 0, 0, 255), (7, 7, 7, 0))
    with pytest.raises(InputError, match="d.png: .*transparent where it has labels"):
        label_files.read_label(ids)


# === Soft masks ===


def test_a_soft_mask_may_have_some_grey_and_no_colours(tmp_path):
    soft = 255 * THING
    soft[3], soft[15] = 90, 160
    Image.fromarray(soft).save(tmp_path / "m.png")
    mask = mask_files.read_mask(tmp_path / "m.png", soft=True)
    np.testing.assert_array_equal(mask, soft >= 128)
    with pytest.raises(InputError, match="m.png: expected a mask of 0 and 1"):
        mask_files.read_mask(tmp_path / "m.png")
    photo = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    for name, pixels in {"c": photo, "g": np.repeat(photo[..., :1], 3, axis=-1)}.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        with pytest.raises(InputError, match=f"{name}.png: expected a mask"):
            mask_files.read_mask(tmp_path / f"{name}.png", soft=True)
