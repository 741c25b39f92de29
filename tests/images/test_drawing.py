"""Pictures: what is painted where, and that any size fits."""

import numpy as np
import pytest

from crnet_tf.images import drawing


@pytest.fixture
def square():
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:40] = 1
    mask[:5] = drawing.VOID
    return np.full((40, 60, 3), 100, np.uint8), mask


def test_overlay_leaves_background_and_its_arguments_alone(square):
    image, mask = square
    picture = drawing.overlay(image, mask)
    assert picture.shape == image.shape and picture.dtype == np.uint8
    assert (picture[mask == 0] == 100).all() and (image == 100).all()


def test_overlay_tells_foreground_contour_and_void_apart(square):
    picture = drawing.overlay(*square)
    red, green, blue = picture[20, 30].astype(int)  # inside the object
    assert red > green and red > blue
    assert tuple(picture[10, 20]) == drawing.CONTOUR  # its corner
    assert len(set(picture[2, 2].tolist())) == 1 and picture[2, 2, 0] > 100  # grey


def test_object_cut_by_the_photo_has_no_contour_along_the_edge():
    picture = drawing.overlay(np.zeros((20, 20, 3), np.uint8), np.ones((20, 20), np.uint8))
    assert (picture == picture[0, 0]).all()


def test_overlay_refuses_a_mask_of_another_size(square):
    with pytest.raises(ValueError, match="expected a uint8 photo"):
        drawing.overlay(square[0], square[1][:-1])


@pytest.mark.parametrize("truth", [True, False])
def test_panel_has_one_cell_for_each_picture(square, truth):
    query = np.full((90, 30, 3), 50, np.uint8)
    steps = [np.full((33, 33), p, np.float32) for p in (0.1, 0.6, 0.9)]
    truth_mask = np.zeros((90, 30), np.uint8) if truth else None
    picture = drawing.panel(*square, query, truth_mask, steps, cell=80)
    cells = 5 + truth
    width = cells * (80 + drawing.GAP) - drawing.GAP
    assert picture.shape == (drawing.CAPTION + 80, width, 3)


def test_panel_thresholds_every_step(square):
    query, cell = np.full((50, 50, 3), 50, np.uint8), 80
    steps = [np.full((9, 9), p) for p in (0.4, 0.6)]
    picture = drawing.panel(*square, query, None, steps, cell=cell)
    middle = picture[drawing.CAPTION + cell // 2, cell // 2 :: cell + drawing.GAP]
    assert (middle[1] == 50).all() and (middle[2] == 50).all() and middle[3, 0] > 100


def test_panel_keeps_the_aspect_ratio(square):
    query = np.zeros((25, 100, 3), np.uint8)
    picture = drawing.panel(*square, query, None, [], cell=80)
    cell = picture[drawing.CAPTION :, 80 + drawing.GAP :]
    rows = (cell == 0).all(axis=(1, 2))
    assert rows.sum() == 20 and rows[30:50].all()


def test_a_row_marks_what_has_a_mask(square):
    image, mask = square
    picture = drawing.row([("photo", image, None), ("found", image, mask)], 80)
    plain, marked = np.split(picture[drawing.CAPTION :], [80 + drawing.GAP], axis=1)
    assert plain[:, :80].shape == marked.shape and (plain[:, :80] != marked).any()


def test_contact_sheet_holds_panels_of_any_width():
    panels = [np.full((10, width, 3), width, np.uint8) for width in (30, 50)]
    sheet = drawing.contact_sheet(panels)
    assert sheet.shape == (20 + drawing.GAP, 50, 3)
    assert (sheet[:10, :30] == 30).all() and (sheet[-10:] == 50).all()
    with pytest.raises(ValueError, match="at least one panel"):
        drawing.contact_sheet([])
