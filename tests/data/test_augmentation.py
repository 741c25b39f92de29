"""How the photos of an episode are resized, cut and coloured: alike with their masks."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from crnet_tf.data import augmentation, episodes, records, resizing
from crnet_tf.network.resizing import resize_align_corners

SIZE = 33


def a_group(records_dir, class_id=1, shot=1):
    index = records.load_index(records_dir)
    places = episodes.places_by_class(index, "train", [class_id], shot)
    return episodes.drawing(places, shot)(tf.constant([0, 0], tf.int64))


def plain(serialized, class_id=1):
    record = records.parse(serialized)
    mask = episodes.binary_mask(record["label"], class_id)
    return (
        resizing.resize_image(record["image"], SIZE).numpy(),
        resizing.resize_mask(mask, SIZE).numpy(),
    )


@pytest.mark.parametrize("shape", [(110, 140, 3), (20, 70, 3), (SIZE, SIZE, 3)])
def test_photos_are_resized_with_aligned_corners(shape):
    image = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    expected = resize_align_corners(image.astype("float32"), (SIZE, SIZE))
    resized = resizing.resize_image(image, SIZE)
    assert resized.dtype == tf.float32
    np.testing.assert_allclose(resized, keras.ops.convert_to_numpy(expected), atol=1e-2)


def test_resized_masks_hold_no_new_values_and_keep_their_corners():
    mask = np.random.default_rng(0).choice([0, 1, 255], (20, 70, 1)).astype("uint8")
    resized = resizing.resize_mask(mask, SIZE).numpy()
    assert resized.dtype == np.uint8 and set(np.unique(resized)) == {0, 1, 255}
    corners = np.ix_([0, -1], [0, -1])
    np.testing.assert_array_equal(resized[..., 0][corners], mask[..., 0][corners])


@pytest.mark.parametrize("size", [1, 2, SIZE])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 50, 1), (33, 20, 1), (70, 97, 1)])
def test_masks_are_resized_to_the_pixels_that_tensorflow_takes(shape, size):
    mask = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    expected = resizing.nearest(mask[None], [size, size])
    np.testing.assert_array_equal(resizing.resize_mask(mask, size), expected[0])


def blob(height=40, width=50):
    mask = np.zeros((height, width, 1), np.uint8)
    mask[8:26, 5:20] = 1
    mask[26:29, 5:20] = 255
    return mask


def flat(mask):
    """Where all 3x3 neighbours are equal: bool [H-2,W-2]."""
    windows = np.lib.stride_tricks.sliding_window_view(mask[..., 0], (3, 3))
    return windows.min((-1, -2)) == windows.max((-1, -2))


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "tf.data"])
def test_photo_and_mask_are_cut_alike(graph):
    """A photo painted from its mask still is one, away from borders."""
    mask = blob()
    painted = np.repeat(mask, 3, -1)

    def cut(seed):
        return augmentation.flip_scale_crop(painted, mask, SIZE, tf.stack([seed, 0]))

    seeds = tf.data.Dataset.range(20)
    for image, cropped in seeds.map(cut) if graph else map(cut, seeds):
        image, cropped = image.numpy(), cropped.numpy()
        assert image.shape == (SIZE, SIZE, 3) and cropped.shape == (SIZE, SIZE, 1)
        inside = flat(cropped)
        assert inside.mean() > 0.5
        agree = np.abs(image[1:-1, 1:-1, 0] - cropped[1:-1, 1:-1, 0])[inside]
        np.testing.assert_allclose(agree, 0, atol=1e-2)


def test_flips_scales_and_crops_within_the_photo():
    columns = np.broadcast_to(np.linspace(0, 1, 50)[None, :, None], (40, 50, 3))
    mask = np.ones((40, 50, 1), np.uint8)
    slopes, starts = [], []
    for seed in range(40):
        image, _ = augmentation.flip_scale_crop(
            columns.astype("float32"), mask, SIZE, [seed, 1]
        )
        row = image.numpy()[0, :, 0]
        assert -1e-5 < row.min() and row.max() < 1 + 1e-5
        slopes.append((row[-1] - row[0]) * SIZE / (SIZE - 1))
        starts.append(min(row[0], row[-1]))
    zoom = 1 / np.abs(slopes)
    assert 12 < np.sum(np.array(slopes) > 0) < 28  # half are flipped
    assert 0.98 < zoom.min() < 1.1 and 1.4 < zoom.max() < 1.52  # CANet's 1 to 1.5
    assert min(starts) < 0.05 and max(starts) > 0.2


def test_the_object_is_never_lost():
    mask = np.zeros((SIZE, SIZE, 1), np.uint8)
    mask[:2, :2] = 1
    image = np.repeat(mask, 3, -1) * 200
    whole = 0
    for seed in range(25):
        cropped_image, cropped = augmentation.flip_scale_crop(image, mask, SIZE, [seed, 0])
        assert np.any(cropped == 1)
        whole += np.sum(cropped == 1) == 4
        np.testing.assert_array_equal(
            cropped_image.numpy()[cropped.numpy()[..., 0] == 0] > 199, 0
        )
    assert whole > 10  # crops that lost it were given up


def test_eager_and_tf_data_agree(records_dir):
    group, seed = a_group(records_dir), tf.constant([5, 9], tf.int64)

    def cut(group):
        return episodes.to_episode(group, SIZE, "canet", seed)

    eager, mapped = cut(group), next(iter(tf.data.Dataset.from_tensors(group).map(cut)))
    for key, value in eager.items():
        np.testing.assert_allclose(mapped[key], value, atol=1e-2)


@pytest.mark.parametrize(
    ("augment", "support_is_plain", "query_is_plain"),
    [("none", True, True), ("canet", False, True), ("symmetric", False, False)],
)
def test_augment_means_what_the_config_says(
    records_dir, augment, support_is_plain, query_is_plain
):
    group = a_group(records_dir)
    support, query = (plain(photo) for photo in group["records"])
    unchanged = types.SimpleNamespace(support=0, query=0)
    for seed in range(6):
        seeds = tf.constant([seed, 0], tf.int64)
        episode = episodes.to_episode(group, SIZE, augment, seeds)
        unchanged.support += np.array_equal(episode["support_image"][0], support[0])
        unchanged.query += np.array_equal(episode["query_image"], query[0])
        if query_is_plain:
            np.testing.assert_array_equal(episode["query_mask"], query[1])
    # A crop that loses the object is given up for the whole photo.
    assert unchanged.support == 6 if support_is_plain else unchanged.support < 4
    assert unchanged.query == 6 if query_is_plain else unchanged.query < 4


def test_support_and_query_are_cut_differently(records_dir):
    group = a_group(records_dir)
    group["records"] = tf.stack([group["records"][0]] * 2)  # one photo twice
    episode = episodes.to_episode(group, SIZE, "symmetric", tf.constant([0, 0], tf.int64))
    assert np.any(episode["support_image"][0] != episode["query_image"])


def test_colours_of_an_episode_are_rotated_alike(records_dir):
    """About mid-grey: distances between colours stay, masks and geometry are untouched."""

    def first_batch(**options):
        options = {"augment": "symmetric", "image_size": SIZE, "batch_size": 3, **options}
        return next(episodes.episodes(records_dir, (1, 2), **options).as_numpy_iterator())

    before, after = first_batch(), first_batch(colour_rotation=True)
    for key in ("support_mask", "query_mask", "class_id"):
        np.testing.assert_array_equal(after[key], before[key])
    rotations = []
    for i in range(3):
        pairs = []
        for key in ("support_image", "query_image"):
            was, now = (batch[key][i].reshape(-1, 3) for batch in (before, after))
            whole = np.all((now > 0) & (now < 255), axis=1)  # not clipped
            pairs.append((was[whole] - 127.5, now[whole] - 127.5))
        rotation, *_ = np.linalg.lstsq(*pairs[0], rcond=None)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
        np.testing.assert_allclose(pairs[1][0] @ rotation, pairs[1][1], atol=0.1)
        rotations.append(rotation)
    assert np.abs(rotations[0] - rotations[1]).max() > 0.1
