"""Episodes: who is in them, how they are cut, and that a seed fixes them."""

import shutil
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from crnet_tf import episodes, folds, layers, model, records, train
from crnet_tf.config import Config

SIZE = 33
BASE = folds.train_classes("pascal5i", 1)
NOVEL = folds.test_classes("pascal5i", 1)


def stream(records_dir, classes=(1, 2, 3), **changes):
    options = {"image_size": SIZE, "batch_size": 2, **changes}
    return episodes.episodes(records_dir, classes, **options)


def taken(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


def equal(a, b):
    return all(np.array_equal(a[key], b[key]) for key in a)


def a_group(records_dir, class_id=1, shot=1):
    index = records.load_index(records_dir)
    return next(iter(episodes.class_groups(index, "train", class_id, shot, seed=0)))


def plain(serialized, class_id=1):
    record = records.parse(serialized)
    mask = episodes.binary_mask(record["label"], class_id)
    return (
        episodes.resize_image(record["image"], SIZE).numpy(),
        episodes.resize_mask(mask, SIZE).numpy(),
    )


# === The contract ===


def test_a_batch_is_the_contract(records_dir):
    spec = stream(records_dir, shot=2).element_spec
    assert {key: (tuple(value.shape), value.dtype.name) for key, value in spec.items()} == {
        "support_image": ((2, 2, SIZE, SIZE, 3), "float32"),
        "support_mask": ((2, 2, SIZE, SIZE, 1), "uint8"),
        "query_image": ((2, SIZE, SIZE, 3), "float32"),
        "query_mask": ((2, SIZE, SIZE, 1), "uint8"),
        "class_id": ((2,), "int32"),
    }


@pytest.mark.parametrize("augment", ["none", "canet", "symmetric"])
def test_masks_keep_foreground_and_void(records_dir, augment):
    for batch in taken(stream(records_dir, augment=augment), 3):
        for name in ("support", "query"):
            image, mask = batch[f"{name}_image"], batch[f"{name}_mask"]
            assert set(np.unique(mask)) == {0, 1, 255}
            assert 0 <= image.min() and 50 < image.max() <= 255
            spatial = tuple(range(mask.ndim - 3, mask.ndim))
            assert np.all(np.any(mask == 1, axis=spatial))


def test_other_classes_are_background_and_void_stays_void():
    label = np.array([[0, 7, 6, 255]], np.uint8)[..., None]
    for class_id in (7, tf.constant(7, tf.int32)):
        mask = episodes.binary_mask(label, class_id)
        assert mask.dtype == tf.uint8 and mask.numpy().ravel().tolist() == [0, 1, 0, 255]


def test_training_pair_takes_the_one_support():
    batch = {
        "support_image": np.zeros((2, 1, 5, 5, 3)),
        "support_mask": np.ones((2, 1, 5, 5, 1)),
        "query_image": np.zeros((2, 5, 5, 3)),
        "query_mask": np.zeros((2, 5, 5, 1)),
        "class_id": np.zeros(2),
    }
    inputs, targets = episodes.training_pair(batch)
    assert inputs["support_image"].shape == (2, 5, 5, 3)
    assert inputs["support_mask"].shape == targets["support_mask"].shape == (2, 5, 5, 1)
    assert set(inputs) == {"support_image", "support_mask", "query_image"}
    assert targets["query_mask"] is batch["query_mask"]


# === Who is in an episode ===


@pytest.mark.parametrize("shot", [1, 3])
def test_photos_of_a_group_are_distinct_and_hold_the_class(records_dir, shot):
    index = records.load_index(records_dir)
    groups = episodes.class_groups(index, "train", 7, shot, seed=0)
    seen = []
    for group in groups.take(8).as_numpy_iterator():
        assert group["class_id"] == 7
        names = [records.filename(photo) for photo in group["records"]]
        assert len(set(names)) == shot + 1
        for photo in group["records"]:
            assert 7 in records.parse(photo)["label"].numpy()
        seen.append(tuple(names))
    assert len({names[-1] for names in seen}) > 1  # the query changes


def test_classes_are_drawn_uniformly(records_dir):
    batches = taken(stream(records_dir, batch_size=60, augment="none"), 5)
    ids, counts = np.unique([batch["class_id"] for batch in batches], return_counts=True)
    assert ids.tolist() == [1, 2, 3]
    # 300 draws: 100 each, give or take four standard deviations.
    assert np.all(np.abs(counts - 100) < 33)


def test_too_few_photos_are_named_with_their_counts(records_dir):
    message = (
        r"4-shot episodes need at least 5 photos of every class in the train split.*"
        r"aeroplane \(1\): 4, bird \(3\): 4.*lower the shot"
    )
    with pytest.raises(ValueError, match=message):
        stream(records_dir, classes=(1, 3), shot=4)
    stream(records_dir, shot=3)


def test_a_class_without_any_photo_is_named(records_dir):
    index = records.load_index(records_dir)
    del index.splits["train"]["classes"]["2"]
    with pytest.raises(ValueError, match=r"received bicycle \(2\): 0"):
        stream(index)


def test_a_class_whose_records_are_gone_is_not_skipped(records_dir, tmp_path):
    copy = shutil.copytree(records_dir, tmp_path / "records")
    open(records.load_index(copy).files("train", 2)[0], "wb").close()
    with pytest.raises(tf.errors.FailedPreconditionError, match="expected to contain 4"):
        taken(stream(copy, augment="none"), 20)


# === Seeds and resuming ===


def test_same_seed_same_batches_other_seed_others(records_dir):
    first = taken(stream(records_dir, seed=3), 3)
    again = taken(stream(records_dir, seed=3), 3)
    other = taken(stream(records_dir, seed=4), 3)
    assert all(equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("augment", ["canet", "symmetric"])
def test_skip_goes_on_exactly_where_a_run_stopped(records_dir, augment):
    """Past an epoch of each class too: 4 photos are 2 groups."""
    whole = taken(stream(records_dir, augment=augment), 10)
    rest = taken(stream(records_dir, augment=augment, skip=7), 3)
    assert all(equal(a, b) for a, b in zip(whole[7:], rest, strict=True))


# === Test classes ===


@pytest.fixture
def opened(monkeypatch):
    """Every path given to TFRecordDataset."""
    paths, original = set(), tf.data.TFRecordDataset

    def spy(files, *args, **kwargs):
        paths.update(files)
        return original(files, *args, **kwargs)

    monkeypatch.setattr(tf.data, "TFRecordDataset", spy)
    return paths


def files_of(index, split, classes):
    return {path for class_id in classes for path in index.files(split, class_id)}


def test_only_files_of_the_asked_classes_are_opened(records_dir, opened):
    index = records.load_index(records_dir)
    taken(stream(index, classes=BASE), 2)
    assert opened == files_of(index, "train", BASE)


def test_training_works_without_the_files_of_the_test_classes(records_dir, tmp_path):
    """Corrupt ones would raise as soon as one record of them was read."""
    copy = shutil.copytree(records_dir, tmp_path / "records")
    for path in files_of(records.load_index(copy), "train", NOVEL):
        with open(path, "wb") as file:
            file.write(b"corrupt" * 10)
    drawn = taken(stream(copy, classes=BASE, batch_size=20, augment="none"), 8)
    assert set(np.unique([batch["class_id"] for batch in drawn])) == set(BASE)
    with pytest.raises(tf.errors.DataLossError):
        taken(stream(copy, classes=NOVEL), 1)


@pytest.mark.parametrize("feature_views", [0, 1])
def test_a_training_run_opens_no_training_file_of_a_test_class(
    records_dir, opened, monkeypatch, tmp_path, feature_views
):
    """All of `train.train` but the steps: 3 batches are drawn instead."""
    monkeypatch.setattr(
        model.CRNet, "fit", lambda self, dataset, **_: list(dataset.take(3)), raising=False
    )
    settings = Config(
        fold=1,
        backbone="tiny",
        backbone_weights="none",
        image_size=SIZE,
        channels=4,
        aspp_rates="1",
        feature_views=feature_views,
        val_episodes=1,
    )
    index = records.load_index(records_dir)
    train.train(settings, index, tmp_path)
    of_training = {path for path in opened if path.startswith(str(records_dir / "train"))}
    assert of_training == files_of(index, "train", BASE)
    assert opened - of_training <= files_of(index, "val", BASE + NOVEL)


# === Resizing and augmentation ===


@pytest.mark.parametrize("shape", [(110, 140, 3), (20, 70, 3), (SIZE, SIZE, 3)])
def test_photos_are_resized_with_aligned_corners(shape):
    image = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    expected = layers.resize_align_corners(image.astype("float32"), (SIZE, SIZE))
    resized = episodes.resize_image(image, SIZE)
    assert resized.dtype == tf.float32
    np.testing.assert_allclose(resized, keras.ops.convert_to_numpy(expected), atol=1e-2)


def test_resized_masks_hold_no_new_values_and_keep_their_corners():
    mask = np.random.default_rng(0).choice([0, 1, 255], (20, 70, 1)).astype("uint8")
    resized = episodes.resize_mask(mask, SIZE).numpy()
    assert resized.dtype == np.uint8 and set(np.unique(resized)) == {0, 1, 255}
    corners = np.ix_([0, -1], [0, -1])
    np.testing.assert_array_equal(resized[..., 0][corners], mask[..., 0][corners])


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
        return episodes.flip_scale_crop(painted, mask, SIZE, tf.stack([seed, 0]))

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
        image, _ = episodes.flip_scale_crop(columns.astype("float32"), mask, SIZE, [seed, 1])
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
        cropped_image, cropped = episodes.flip_scale_crop(image, mask, SIZE, [seed, 0])
        assert np.any(cropped == 1)
        whole += np.sum(cropped == 1) == 4
        np.testing.assert_array_equal(
            cropped_image.numpy()[cropped.numpy()[..., 0] == 0] > 199, 0
        )
    assert whole > 10  # crops that lost it were given up


def test_eager_and_tf_data_agree(records_dir):
    group, seed = a_group(records_dir), tf.constant([5, 9], tf.int64)
    for augment in ("none", "canet", "symmetric"):

        def cut(group, augment=augment):
            return episodes.to_episode(group, SIZE, augment, seed)

        eager = cut(group)
        mapped = next(iter(tf.data.Dataset.from_tensors(group).map(cut)))
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
    options = {"augment": "symmetric", "batch_size": 3}
    (before,) = taken(stream(records_dir, **options), 1)
    (after,) = taken(stream(records_dir, colour_rotation=True, **options), 1)
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
