"""Small objects: crops of supports, tiles of photos and how their answers are joined."""

import numpy as np
import pytest
from helpers.networks import lively

from crnet_tf.common.errors import InputError
from crnet_tf.fewshot import small_objects
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.options import Options


def labelled(rows, columns, shape=(100, 160)):
    """A photo whose every pixel says where it was, with an object in a part of it."""
    image = np.zeros((*shape, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(shape[0])[:, None], np.arange(shape[1])
    mask = np.zeros(shape, np.uint8)
    mask[rows, columns] = 1
    return LabelledPhoto(image, mask, "small.jpg")


def test_a_support_is_cropped_around_a_small_object():
    found = small_objects.zoomed(labelled(slice(40, 50), slice(60, 80)))
    assert found.mask.shape == (40, 40) and found.name == "small.jpg"
    assert found.mask.sum() == 10 * 20
    assert [*found.image[0, 0, :2]] == [25, 50]  # twice the longer side, around the middle
    assert small_objects.share(found) == pytest.approx(200 / 1600)


def test_a_crop_stays_within_the_photo():
    found = small_objects.zoomed(labelled(slice(0, 4), slice(150, 160)))
    assert found.mask.shape == (20, 20)
    assert [*found.image[0, 0, :2]] == [0, 140]
    tall = small_objects.zoomed(labelled(slice(5, 95), slice(8, 10)))
    assert tall.mask.shape == (100, 160)


def test_a_large_object_stays_as_it_is():
    large = labelled(slice(20, 80), slice(20, 90))
    assert small_objects.zoomed(large) is large
    small = labelled(slice(0, 5), slice(0, 5))
    assert small_objects.are_small([small, small, large])
    assert not small_objects.are_small([small, large, large])


def test_tiles_cover_the_photo_and_show_its_parts():
    size, photo = 65, labelled(slice(0, 1), slice(0, 1), (130, 260))
    covered = np.zeros((size, size), int)
    for tile in small_objects.tiles(size):
        covered[tile] += 1
        part = small_objects.cut(photo, tile, size).image
        assert [*part[0, 0, :2]] == [2 * tile[0].start, 4 * tile[1].start]
        assert part.shape[:2] == (2 * 41, 4 * 41)
    assert covered.min() == 1 and covered[32, 32] == 4


def test_answers_that_agree_are_joined_without_seams():
    def plane(rows, columns):
        return np.float32(rows[:, None] / 200 + columns / 300)[None]

    size, whole = small_objects.joined_size(33), np.linspace(0, 64, 33)
    parts = [
        plane(*(np.linspace(side.start, side.stop - 1, 33) for side in tile))
        for tile in small_objects.tiles(size)
    ]
    joined = small_objects.joined(plane(whole, whole), parts)
    np.testing.assert_allclose(joined, plane(np.arange(65.0), np.arange(65.0)), atol=1e-6)


@pytest.fixture(scope="module")
def network():
    return lively()


SMALL, LARGE = labelled(slice(40, 52), slice(60, 75)), labelled(slice(20, 90), slice(20, 120))


def test_a_photo_is_searched_in_tiles_where_the_objects_are_small(network):
    learner, plain = Learner(network, Options(small_objects="tiles")), Learner(network)
    predictor, size = learner.fit([SMALL]), learner.frame.size
    assert small_objects.share(predictor.supports[0]) > small_objects.SMALL
    (found,) = predictor.maps(LARGE)
    large = small_objects.joined_size(size)
    assert found.shape[1:] == (large, large)
    one = plain.fit(predictor.supports)
    parts = [
        one.maps(small_objects.cut(LARGE, tile, large))[0]
        for tile in small_objects.tiles(large)
    ]
    wanted = small_objects.joined(one.maps(LARGE)[0], parts)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert predictor.segment(LARGE).shape == LARGE.mask.shape


def test_large_objects_are_searched_as_ever(network):
    with_option, plain = Learner(network, Options(small_objects="tiles")), Learner(network)
    answers = [one.fit([LARGE]).maps(SMALL)[0] for one in (with_option, plain)]
    np.testing.assert_array_equal(*answers)


def test_of_several_classes_only_the_small_ones_are_searched_in_tiles(network):
    learner = Learner(network, Options(small_objects="tiles"))
    predictors = [learner.fit([SMALL]), learner.fit([LARGE])]
    (small,), (large,) = learner.maps_of_each(predictors, LARGE)
    np.testing.assert_allclose(small, predictors[0].maps(LARGE)[0], atol=1e-6)
    alone = small_objects.resized(predictors[1].maps(LARGE)[0], small.shape[-1])
    np.testing.assert_allclose(large, alone, atol=1e-6)


def test_an_object_too_small_for_the_network_is_seen_in_its_crop(network):
    speck = labelled(slice(40, 43), slice(60, 63), (1000, 1000))
    with pytest.raises(InputError, match="small.jpg"):
        Learner(network).fit([speck])
    found = Learner(network, Options(small_objects="crop")).fit([speck])
    assert found.supports[0].mask.shape == (6, 6) and not found.in_tiles
