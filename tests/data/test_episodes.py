"""Episodes: who is in them, that a seed fixes them, and that no test class gets in."""

import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from crnet_tf.common.errors import InputError
from crnet_tf.config import Config
from crnet_tf.data import episodes, folds, records, resizing
from crnet_tf.evaluation import manifest
from crnet_tf.network import model
from crnet_tf.training import fitting

SIZE = 33
BASE = folds.train_classes("pascal5i", 1)
NOVEL = folds.test_classes("pascal5i", 1)


def stream(records_dir, classes=(1, 2, 3), **changes):
    options = {"image_size": SIZE, "batch_size": 2, **changes}
    return episodes.episodes(records_dir, classes, **options)


def taken(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


def groups(records_dir, class_id, shot, unseen=(), count=12):
    """Ids of the photos of the first episodes of a class, queries last, with their records."""
    index = records.load_index(records_dir)
    places = episodes.places_by_class(index, "train", [class_id], shot, unseen)
    draw = episodes.drawing(places, shot)
    for number in range(count):
        group = draw(tf.constant([0, number], tf.int64))
        assert group["class_id"] == class_id
        photos = group["records"].numpy()
        yield [records.filename(photo) for photo in photos], photos


def equal(a, b):
    return all(np.array_equal(a[key], b[key]) for key in a)


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


def test_some_queries_come_from_another_class(records_dir):
    """Every photo of these records shows its own class alone."""
    batches = taken(stream(records_dir, augment="none", without_common_class=0.5), 24)
    shown = [np.any(mask == 1) for batch in batches for mask in batch["query_mask"]]
    assert 12 < np.sum(shown) < 36  # 24 of 48, give or take three and a half deviations
    assert all(np.any(m == 1) for batch in batches for m in batch["support_mask"])


@pytest.mark.parametrize("augment", ["none", "symmetric"])
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
    seen = []
    for names, photos in groups(records_dir, 7, shot):
        assert len(names) == len(set(names)) == shot + 1
        assert all(7 in records.label_of(photo).numpy() for photo in photos)
        seen.append(names)
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
    places = episodes.places_by_class(records.load_index(records_dir), "train", (1, 3), 3)
    assert {class_id: len(found) for class_id, found in places.items()} == {1: 4, 3: 4}


def test_a_class_without_any_photo_is_named(records_dir):
    index = records.load_index(records_dir)
    del index.splits["train"]["classes"]["2"]
    with pytest.raises(ValueError, match=r"received bicycle \(2\): 0"):
        stream(index)


def test_a_class_whose_records_are_gone_is_not_skipped(records_dir, tmp_path):
    copy = shutil.copytree(records_dir, tmp_path / "records")
    open(records.load_index(copy).files("train", 2)[0], "wb").close()
    with pytest.raises(
        InputError, match="train: .* received 0 of class 2, of which .* lists 4"
    ):
        stream(copy)


def test_a_record_that_is_damaged_later_is_told_and_not_skipped(records_dir, tmp_path):
    copy = shutil.copytree(records_dir, tmp_path / "records")
    drawn = stream(copy, augment="none")
    for path in files_of(records.load_index(copy), "train", (1, 2, 3)):
        content = bytearray(pathlib.Path(path).read_bytes())
        content[len(content) // 2] ^= 1
        pathlib.Path(path).write_bytes(content)
    with pytest.raises(InputError, match="somewhere: expected whole records.*Copy"):
        with records.whole("somewhere"):
            taken(drawn, 20)


@pytest.mark.parametrize("key", [records.IMAGE, records.LABEL])
def test_a_picture_that_cannot_be_decoded_is_told(key, records_dir, tmp_path):
    copy = shutil.copytree(records_dir, tmp_path / "records")
    for path in files_of(records.load_index(copy), "train", (1, 2, 3)):
        found = [one.numpy() for one in tf.data.TFRecordDataset(path)]
        with tf.io.TFRecordWriter(path) as writer:
            for one in found:
                example = tf.train.Example.FromString(one)
                example.features.feature[key].bytes_list.value[0] = b"no picture"
                writer.write(example.SerializeToString())
    with pytest.raises(
        InputError, match="somewhere: .* received .*Unknown image.*crnet verify"
    ):
        with records.whole("somewhere"):
            taken(stream(copy, augment="none"), 1)


# === Seeds and resuming ===


def test_same_seed_same_batches_other_seed_others(records_dir):
    seeds = 3, 3, 4
    first, again, other = (taken(stream(records_dir, seed=seed), 3) for seed in seeds)
    assert all(equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(equal(a, b) for a, b in zip(first, other, strict=True))


def test_skip_goes_on_exactly_where_a_run_stopped(records_dir):
    options = {"augment": "symmetric", "unseen": NOVEL}
    whole = taken(stream(records_dir, **options), 10)
    rest = taken(stream(records_dir, **options, skip=7), 3)
    assert all(equal(a, b) for a, b in zip(whole[7:], rest, strict=True))


def test_what_is_skipped_is_not_read(records_dir, monkeypatch):
    read, original = [], records.record_at

    def counting(path, start, length):
        data = original(path, start, length)
        data = tf.numpy_function(lambda one: read.append(len(one)) or one, [data], tf.string)
        return tf.ensure_shape(data, [])

    monkeypatch.setattr(records, "record_at", counting)
    taken(stream(records_dir, skip=100), 1)
    assert 4 <= len(read) < 100  # of the 400 before; some batches are prepared ahead


# === Photos that show a test class ===


def shown(records_dir, classes):
    """{photo id: class ids in its label map} of the training photos of `classes`."""
    archive = manifest.Archive(records.load_index(records_dir), "train", classes)
    return {name: set(np.unique(archive.photo(name)[1])) - {0, 255} for name in archive.by_name}


def test_photos_that_show_a_test_class_are_left_out_and_no_others(records_dir):
    of_class = shown(records_dir, [1])
    drawn = {
        unseen: {name for names, _ in groups(records_dir, 1, 1, unseen) for name in names}
        for unseen in ((), NOVEL)
    }
    assert drawn[()] == set(of_class) and len(of_class) == 4
    kept = {name for name, classes in of_class.items() if not classes & set(NOVEL)}
    assert drawn[NOVEL] == kept and len(kept) == 2


@pytest.mark.parametrize(("unseen", "some"), [((), True), (NOVEL, False)])
def test_no_episode_shows_a_test_class_where_it_must_not(records_dir, unseen, some):
    """Resized without augmentation, a photo is known by its pixels."""
    archive = manifest.Archive(records.load_index(records_dir), "train", BASE)
    forbidden = {
        resizing.resize_image(archive.photo(name)[0], SIZE).numpy().tobytes()
        for name, classes in shown(records_dir, BASE).items()
        if classes & set(NOVEL)
    }
    assert len(forbidden) == 20
    drawn = stream(records_dir, classes=BASE, batch_size=40, augment="none", unseen=unseen)
    seen = {
        image.tobytes()
        for batch in taken(drawn, 3)
        for image in (*batch["support_image"][:, 0], *batch["query_image"])
    }
    assert bool(seen & forbidden) == some and len(seen) > 15


def test_too_few_photos_without_a_test_class_are_named(records_dir):
    message = (
        r"drop_novel_images: expected at least 3 photos of aeroplane \(1\) that show no "
        "held-out class, received 2. Keep those photos"
    )
    with pytest.raises(ValueError, match=message):
        stream(records_dir, classes=(1,), shot=2, unseen=NOVEL)
    index = records.load_index(records_dir)
    assert len(episodes.places_by_class(index, "train", (1,), 2)[1]) == 4
    assert len(episodes.places_by_class(index, "train", (1,), 1, NOVEL)[1]) == 2


# === Test classes ===


@pytest.fixture
def opened(monkeypatch):
    """Every file of records whose places are looked up, which comes before any is read."""
    paths, original = set(), records.places

    def spy(path, key):
        paths.add(path)
        return original(path, key)

    monkeypatch.setattr(records, "places", spy)
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
    with pytest.raises(InputError, match="tfrecord: expected whole records, received 70 bytes"):
        stream(copy, classes=NOVEL)


@pytest.mark.parametrize(
    ("feature_views", "drop", "calibration"),
    [(0, True, -1), (1, False, -1), (0, False, 0)],
)
def test_a_training_run_opens_no_training_file_of_a_test_class(
    records_dir, opened, monkeypatch, tmp_path, feature_views, drop, calibration
):
    """All of `fitting.train` but the steps: 3 batches are drawn instead."""
    monkeypatch.setattr(
        model.CRNet, "fit", lambda self, dataset, **_: list(dataset.take(3)), raising=False
    )
    settings = Config(
        fold=1,
        calibration_fold=calibration,
        backbone="tiny",
        backbone_weights="none",
        image_size=SIZE,
        channels=4,
        aspp_rates="1",
        feature_views=feature_views,
        drop_novel_images=drop,
        val_episodes=1,
    )
    index = records.load_index(records_dir)
    fitting.train(settings, index, tmp_path)
    of_training = {path for path in opened if path.startswith(str(records_dir / "train"))}
    trained = BASE if calibration < 0 else [c for c in BASE if c > 5]
    assert of_training == files_of(index, "train", trained)
    looked_at = BASE + NOVEL if calibration < 0 else BASE
    assert opened - of_training <= files_of(index, "val", looked_at)
