"""Stored features: the same training as from photos, kept over kills, of one setting."""

import dataclasses
import itertools
import os
import pathlib
import resource
import shutil
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import networks

from crnet_tf.config import Config
from crnet_tf.data import episodes, records, resizing
from crnet_tf.evaluation import manifest
from crnet_tf.network import model, parts
from crnet_tf.training import feature_store

VIEWS = 3
CLASSES = (1, 2)
SIZE = networks.SIZE
TINY = dataclasses.replace(networks.TINY, feature_views=VIEWS)


def build(**changes):
    keras.utils.set_random_seed(0)
    return model.build_crnet(dataclasses.replace(TINY, **changes))


@pytest.fixture(scope="module")
def index(records_dir):
    return records.load_index(records_dir)


@pytest.fixture(scope="module")
def network():
    return build()


@pytest.fixture(scope="module")
def directory(network, index, tmp_path_factory):
    out = tmp_path_factory.mktemp("store") / "features"
    feature_store.open_store(network, index, CLASSES, out)
    return out


@pytest.fixture
def store(network, index, directory):
    """2 classes, 4 photos each, 3 views: 24 rows."""
    return feature_store.open_store(network, index, CLASSES, directory)


@pytest.fixture
def photo(index):
    """(class id, photo id) -> image and mask as view 0."""
    archive = manifest.Archive(index, "train", CLASSES)

    def read(pair):
        record = records.parse(archive.by_class[pair[0]][pair[1]])
        mask = episodes.binary_mask(record["label"], pair[0])
        return (
            resizing.resize_image(record["image"], SIZE).numpy(),
            resizing.resize_mask(mask, SIZE).numpy(),
        )

    return read


def pairs(store):
    """(class id, photo id) of all photos."""
    return [(c, name) for c, views in store.classes.items() for name in views.names]


def all_of(store, name):
    """ "features" or "masks" of all classes, one after another."""
    return np.concatenate([getattr(views, name) for views in store.classes.values()])


def assert_equal(store, other):
    for name in ("features", "masks"):
        np.testing.assert_array_equal(all_of(store, name), all_of(other, name))


def rows_of(store, features, masks):
    """The rows of `all_of` that the features and masks of a batch come from."""
    kept, kept_masks = all_of(store, "features"), all_of(store, "masks")
    rows = []
    for feature, mask in zip(np.asarray(features), np.asarray(masks), strict=True):
        same = np.all(kept[:, 0] == feature, axis=(1, 2, 3))
        same &= np.all(kept_masks == mask, axis=(1, 2, 3))
        (row,) = np.flatnonzero(same)
        rows.append(row)
    return np.array(rows)


def pairs_of(store, batch):
    """Rows of supports and queries of a batch."""
    inputs, targets = batch
    return (
        rows_of(store, inputs["support_features"], targets["support_mask"]),
        rows_of(store, inputs["query_features"], targets["query_mask"]),
    )


# === What is kept ===


def test_view_0_is_the_photo_as_it_is(network, store, photo):
    assert sorted(pairs(store)) == pairs(store) and len(pairs(store)) == 8
    features, masks = all_of(store, "features"), all_of(store, "masks")
    for i, pair in enumerate(pairs(store)):
        image, mask = photo(pair)
        encoded = parts.encode(
            network.parts, {"support_image": image[None], "support_mask": mask[None]}
        )
        np.testing.assert_array_equal(masks[i * VIEWS], mask)
        for column, name in enumerate(("support", "category")):
            kept = features[i * VIEWS, column].astype("float32")
            np.testing.assert_allclose(kept, encoded[name][0], rtol=2e-3, atol=2e-3)


def test_other_views_are_cut_differently(store):
    masks = all_of(store, "masks")
    assert np.all(np.any(masks == 1, axis=(1, 2, 3)))
    first, second, third = (masks[view::VIEWS] for view in range(VIEWS))
    for a, b in ((first, second), (first, third), (second, third)):
        assert np.mean(np.any(a != b, axis=(1, 2, 3))) > 0.7


def test_the_same_settings_give_the_same_features(network, index, store, tmp_path):
    assert_equal(feature_store.open_store(network, index, CLASSES, tmp_path / "again"), store)


@pytest.fixture
def no_encoding(monkeypatch):
    """What a store holds is known before anything is encoded."""
    monkeypatch.setattr(feature_store, "_fill", lambda *_: None)


def test_photos_that_show_a_test_class_are_left_out_and_no_others(
    network, index, store, tmp_path, no_encoding
):
    unseen = (6, 8)
    left = feature_store.open_store(network, index, CLASSES, tmp_path / "store", unseen)
    archive = manifest.Archive(index, "train", CLASSES)
    shows = {
        (c, name) for c, name in pairs(store) if np.isin(archive.photo(name)[1], unseen).any()
    }
    drawn = {(c, v.names[n]) for c, v in left.classes.items() for n in v.drawn}
    assert drawn == set(pairs(store)) - shows and len(shows) == 2


@pytest.fixture
def bound_on_files():
    """Sets the bounds on open files of this process, for a while."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda soft: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_files_may_be_open_than_the_system_allows_unasked(
    network, index, tmp_path, no_encoding, bound_on_files
):
    bound_on_files(len(os.listdir("/dev/fd")) + 4)  # 20 classes have 60 files
    store = feature_store.open_store(network, index, range(1, 21), tmp_path / "store")
    assert len(store.classes) == 20


def test_a_bound_on_files_that_cannot_be_raised_is_said_before_anything_is_written(
    network, index, tmp_path, monkeypatch
):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    with pytest.raises(OSError, match="needs 6 open files.* 1030 .*received 1024"):
        feature_store.open_store(network, index, CLASSES, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_opening_a_store_does_not_empty_what_another_training_has_just_made(
    network, index, tmp_path, no_encoding, monkeypatch
):
    here = tmp_path / "store"
    first = feature_store.open_store(network, index, CLASSES, here).classes[1]
    first.masks[0] = 7
    exists = pathlib.Path.exists  # what a process saw that looked before the first one wrote
    monkeypatch.setattr(
        pathlib.Path, "exists", lambda path: path.parent.parent != here and exists(path)
    )
    second = feature_store.open_store(network, index, CLASSES, here).classes[1]
    assert (first.masks[0] == 7).all() and (second.masks[0] == 7).all()


def test_too_few_photos_without_a_test_class_are_named(network, index, tmp_path, no_encoding):
    message = r"drop_novel_images: expected at least 2 photos of aeroplane \(1\).*received 1"
    with pytest.raises(ValueError, match=message):
        feature_store.open_store(network, index, CLASSES, tmp_path / "store", (6, 7, 16))
    assert not (tmp_path / "store").exists()


# === Batches ===


def drawing(batch_size, augment, **options):
    """A configuration as far as batches look at it."""
    return Config(batch_size=batch_size, augment=augment, **options)


def test_training_from_features_has_the_losses_of_the_photos(store, photo):
    """The same photos through both graphs, all heads and steps."""
    network = build()
    for variable in network.trainable_variables:
        if "classifier" in variable.path:  # starts near 0: any features would do
            variable.assign(100 * variable)
    batch = next(iter(store.batches(drawing(4, "none", seed=1))))
    support, query = pairs_of(store, batch)
    read = [[photo(pairs(store)[row // VIEWS]) for row in rows] for rows in (support, query)]
    (support_image, support_mask), (query_image, query_mask) = (
        [np.stack(values) for values in zip(*photos, strict=True)] for photos in read
    )
    inputs = {
        "support_image": support_image,
        "support_mask": support_mask,
        "query_image": query_image,
    }
    targets = {"support_mask": support_mask, "query_mask": query_mask}
    logs = []
    for trained, (x, y) in ((network, (inputs, targets)), (model.on_features(network), batch)):
        trained.compile(keras.optimizers.SGD(0.0), jit_compile=False)
        logs.append(trained.train_on_batch(x, y, return_dict=True))
    assert logs[0].keys() == logs[1].keys() and len(logs[0]) > 5
    for name, value in logs[0].items():
        assert logs[1][name] == pytest.approx(value, rel=1e-3), name


def test_without_condition_no_masked_features_are_needed(index, tmp_path):
    network = build(condition=False, feature_views=1)
    store = feature_store.open_store(network, index, CLASSES, tmp_path / "store")
    trained = model.on_features(network)
    trained.compile("sgd", jit_compile=False)
    batches = store.batches(drawing(2, "canet"))
    history = trained.fit(batches, steps_per_epoch=2, verbose=0, shuffle=False).history
    assert np.all(np.isfinite(history["loss"]))


def test_two_distinct_photos_of_a_class_drawn_uniformly(store):
    counts = {c: 0 for c in CLASSES}
    for batch in store.batches(drawing(8, "none")).take(8):
        for support, query in zip(*pairs_of(store, batch), strict=True):
            (one, photo_id), (other, other_id) = (
                pairs(store)[row // VIEWS] for row in (support, query)
            )
            assert one == other and photo_id != other_id
            counts[one] += 1
    # 64 draws: 32 each, give or take four standard deviations.
    assert abs(counts[1] - 32) < 16


@pytest.mark.parametrize(
    ("augment", "support_varies", "query_varies"),
    [("none", False, False), ("canet", True, False), ("symmetric", True, True)],
)
def test_views_are_drawn_as_photos_are_augmented(store, augment, support_varies, query_varies):
    views = [set(), set()]
    for batch in store.batches(drawing(8, augment)).take(3):
        for seen, rows in zip(views, pairs_of(store, batch), strict=True):
            seen.update((rows % VIEWS).tolist())
    every, first = set(range(VIEWS)), {0}
    assert views == [every if support_varies else first, every if query_varies else first]


def test_batch_n_depends_on_the_seed_and_n_alone(store):
    def taken(count, skip=0, **options):
        batches = store.batches(drawing(2, "symmetric", **options), skip)
        batches = batches.take(count).as_numpy_iterator()
        return [np.concatenate(pairs_of(store, batch)).tolist() for batch in batches]

    whole = taken(6, seed=5)
    assert taken(2, seed=5, skip=4) == whole[4:]
    assert taken(6, seed=5) == whole != taken(6, seed=6)
    assert len({tuple(rows) for rows in whole}) > 4


def test_a_query_of_another_class_shows_nothing_of_the_supports_class(store):
    settings = drawing(8, "none", without_common_class=0.5)
    of_others = 0
    for inputs, targets in store.batches(settings).take(6):
        for support, mask, query, shown in zip(
            inputs["support_features"], inputs["support_mask"], inputs["query_features"],
            targets["query_mask"], strict=True,
        ):  # fmt: skip
            (one, _), (other, _) = (pairs(store)[row_of(store, f)] for f in (support, query))
            assert np.any(mask == 1)
            assert np.any(shown == 1) == (one == other)
            of_others += one != other
    assert 12 < of_others < 36  # of 48, give or take three and a half standard deviations


def row_of(store, features):
    """Number of the photo, as in `pairs`, that the features are of."""
    same = np.all(all_of(store, "features")[:, 0] == np.asarray(features), axis=(1, 2, 3))
    return np.flatnonzero(same)[0] // VIEWS


def test_every_other_photo_is_mirrored_with_its_mask(store):
    seen = set()
    for inputs, targets in store.batches(drawing(8, "none", mirror_features=True)).take(3):
        for features, mask in zip(inputs["query_features"], targets["query_mask"], strict=True):
            for mirrored, turn in ((False, 1), (True, -1)):
                same = np.all(
                    all_of(store, "features")[:, 0] == np.asarray(features)[:, ::turn],
                    (1, 2, 3),
                )
                same &= np.all(all_of(store, "masks") == np.asarray(mask)[:, ::turn], (1, 2, 3))
                if same.any():
                    seen.add(mirrored)
                    break
            else:
                pytest.fail("a photo of no view")
    assert seen == {False, True}


def test_photos_alone_are_kept_where_images_are_not_masked(index, tmp_path):
    ours = {"mask_image": False, "feature_views": 1, "corrupted_cache": 0.5}
    network = build(**ours)
    store = feature_store.open_store(network, index, CLASSES, tmp_path / "store")
    assert store.classes[1].features.shape[1] == 1
    trained = model.on_features(network)
    trained.compile("sgd", jit_compile=False)
    batches = store.batches(network.config)
    history = trained.fit(batches, steps_per_epoch=2, verbose=0, shuffle=False).history
    assert np.all(np.isfinite(history["loss"]))
    with pytest.raises(ValueError, match="mask_image was False"):
        feature_store.open_store(build(feature_views=1), index, CLASSES, tmp_path / "store")


def test_a_photo_of_several_classes_is_encoded_once(index, tmp_path, monkeypatch):
    network, counted = build(mask_image=False, feature_views=1), []
    whole = feature_store.encode

    def counting(parts, image, mask):
        encoded = whole(parts, image, mask)
        return tf.py_function(lambda x: counted.append(1) or x, [encoded], tf.float16)

    monkeypatch.setattr(feature_store, "encode", counting)
    photos = manifest.Archive(index, "train", CLASSES).by_class
    shared, record = next(iter(photos[1].items()))
    both = types.SimpleNamespace(split="train", by_class={1: photos[1], 2: {shared: record}})
    monkeypatch.setattr(feature_store.manifest, "Archive", lambda *_: both)
    store = feature_store.open_store(network, index, CLASSES, tmp_path / "store")
    assert len(counted) == len(photos[1])
    first, second = (store.classes[class_id] for class_id in CLASSES)
    row = first.names.index(shared)
    np.testing.assert_array_equal(first.features[row], second.features[0])
    assert (first.masks[row] == 1).any() and not (second.masks[0] == 1).any()


# === Resuming ===


@pytest.fixture
def copy(store, directory, tmp_path):
    """A copy of the store, to damage; its files as arrays."""
    folder = shutil.copytree(directory, tmp_path / "copy")
    first = store.classes[CLASSES[0]]
    kinds = {
        "features.f16": (np.float16, first.features.shape),
        "masks.u8": (np.uint8, first.masks.shape),
        "checksums.u32": (np.uint32, (12,)),
    }
    of_class = folder / "class_01"
    arrays = {
        name: np.memmap(of_class / name, kind, "r+", shape=shape)
        for name, (kind, shape) in kinds.items()
    }
    return types.SimpleNamespace(folder=folder, of_class=of_class, arrays=arrays)


def test_only_what_is_missing_is_computed(network, index, store, copy, capsys):
    assert np.all(copy.arrays["checksums.u32"] != 0)
    copy.arrays["features.f16"][[4, 9]] = -1
    copy.arrays["checksums.u32"][[4, 9]] = 0
    capsys.readouterr()
    again = feature_store.open_store(network, index, CLASSES, copy.folder)
    printed = capsys.readouterr().out
    assert "computing 2 of 24 views" in printed and "damaged" not in printed
    assert_equal(again, store)


@pytest.mark.parametrize("name", ["features.f16", "masks.u8"])
def test_a_damaged_view_is_named_and_computed_again(network, index, store, copy, capsys, name):
    array = copy.arrays[name]
    array[7].view(np.uint8).reshape(-1)[3] ^= 1  # one bit
    capsys.readouterr()
    again = feature_store.open_store(network, index, CLASSES, copy.folder)
    printed = capsys.readouterr().out
    assert f"1 views are damaged: view 1 of {pairs(store)[2][1]}.\n" in printed
    assert "computing 1 of 24 views" in printed
    assert_equal(again, store)


def test_a_file_that_was_cut_off_is_made_whole(network, index, store, copy, capsys):
    file = copy.of_class / "features.f16"
    os.truncate(file, file.stat().st_size * 8 // 12 + 1)
    capsys.readouterr()
    again = feature_store.open_store(network, index, CLASSES, copy.folder)
    assert "4 views are damaged: view 2 of" in capsys.readouterr().out
    assert_equal(again, store)


def test_a_killed_build_goes_on(network, index, store, tmp_path, monkeypatch, capsys):
    def killed(views, *_):
        yield from itertools.islice(views, 5)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(feature_store, "with_progress", killed)
        with pytest.raises(KeyboardInterrupt):
            feature_store.open_store(network, index, CLASSES, tmp_path / "store")
    written = [np.fromfile(file, np.uint32) for file in tmp_path.glob("store/*/checksums.u32")]
    assert np.count_nonzero(np.concatenate(written)) == 5
    capsys.readouterr()
    again = feature_store.open_store(network, index, CLASSES, tmp_path / "store")
    assert "computing 19 of 24 views" in capsys.readouterr().out
    assert_equal(again, store)


# === Sharing ===


def test_folds_share_the_views_of_the_classes_that_both_train_on(
    network, index, store, copy, capsys
):
    before = {path: path.stat() for path in copy.folder.glob("class_*/*")}
    shared = feature_store.open_store(network, index, (2, 3), copy.folder)
    assert "computing 12 of 24 views" in capsys.readouterr().out
    np.testing.assert_array_equal(shared.classes[2].features, store.classes[2].features)
    for path, stat in before.items():  # not one was written again
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (
            stat.st_size,
            stat.st_mtime_ns,
        )
    alone = feature_store.open_store(network, index, (3,), copy.folder.parent / "alone")
    np.testing.assert_array_equal(alone.classes[3].features, shared.classes[3].features)


def test_views_of_photos_that_were_left_out_are_computed_when_they_are_asked_for(
    network, index, store, tmp_path, capsys
):
    feature_store.open_store(network, index, CLASSES, tmp_path, (6, 8))
    whole = feature_store.open_store(network, index, CLASSES, tmp_path)
    assert "computing 6 of 24 views" in capsys.readouterr().out
    assert_equal(whole, store)


def test_networks_without_condition_module_share_the_store(index, store, directory, capsys):
    plain = feature_store.open_store(build(condition=False), index, CLASSES, directory)
    assert "computing" not in capsys.readouterr().out
    assert_equal(plain, store)


# === Errors ===


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_views": 2, "seed": 1}, "feature_views was 3, now 2.*seed was 0, now 1"),
        ({"image_size": 41}, "image_size was 33, now 41"),
        ({"multi_level": False}, "multi_level was True, now False"),
    ],
    ids=str,
)
def test_a_store_of_other_settings_is_refused(index, directory, change, message):
    before = (directory / "class_01" / "features.f16").stat()
    with pytest.raises(ValueError, match=f"other settings: {message}. Give another"):
        feature_store.open_store(build(**change), index, CLASSES, directory)
    after = (directory / "class_01" / "features.f16").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_store_belongs_to_weights_and_not_to_the_file_they_came_from(
    network, index, directory, capsys
):
    moved = build()
    moved.config = dataclasses.replace(moved.config, backbone_weights="moved/weights.npz")
    feature_store.open_store(moved, index, CLASSES, directory)
    assert "computing" not in capsys.readouterr().out
    other = build()
    encoder = other.parts.encoder
    encoder.set_weights([1.01 * value for value in encoder.get_weights()])
    with pytest.raises(ValueError, match="other settings: weights was '.*', now '.*'. Give"):
        feature_store.open_store(other, index, CLASSES, directory)


def test_a_store_of_other_records_is_refused(network, index, directory):
    other = dataclasses.replace(index, sha256="0")
    with pytest.raises(ValueError, match="records_sha256 was .*, now '0'"):
        feature_store.open_store(network, other, CLASSES, directory)


def of_free(monkeypatch, free):
    """A disk with `free` bytes left."""
    usage = types.SimpleNamespace(disk_usage=lambda path: types.SimpleNamespace(free=free))
    monkeypatch.setattr(feature_store, "shutil", usage)


def bytes_of(store):
    features, masks = all_of(store, "features"), all_of(store, "masks")
    return features.nbytes + masks.nbytes + 4 * len(masks)


def test_a_full_disk_is_noticed_before_anything_is_written(
    network, index, store, tmp_path, monkeypatch
):
    needed = bytes_of(store)
    of_free(monkeypatch, needed - 1)
    message = (
        rf"needs {needed / 1e9:.2f} GB \(0.00 GB are there\); --feature_store_gb allows 100 GB,"
        rf" and {needed / 1e9:.2f} GB are free"
    )
    with pytest.raises(OSError, match=message):
        feature_store.open_store(network, index, CLASSES, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    of_free(monkeypatch, needed)
    feature_store.open_store(network, index, CLASSES, tmp_path / "store")


def test_a_finished_store_needs_no_free_disk(network, index, store, directory, monkeypatch):
    of_free(monkeypatch, 0)
    again = feature_store.open_store(network, index, CLASSES, directory)
    assert_equal(again, store)


def test_a_store_larger_than_allowed_is_refused(network, index, store, directory, tmp_path):
    needed = bytes_of(store) / 1e9
    for place in (tmp_path / "store", directory):  # a new one, one that is gone on with
        with pytest.raises(ValueError, match=r"--feature_store_gb allows .*Raise --feature_st"):
            feature_store.open_store(network, index, CLASSES, place, max_gb=needed * 0.999)
    assert not (tmp_path / "store").exists()
    feature_store.open_store(network, index, CLASSES, directory, max_gb=needed * 1.001)


def test_a_store_of_an_earlier_version_is_refused(network, index, tmp_path):
    (tmp_path / "meta.json").write_text("{}")
    (tmp_path / "features.f16").write_bytes(b"kept")
    with pytest.raises(ValueError, match="expected a folder a class. Give another"):
        feature_store.open_store(network, index, CLASSES, tmp_path)
    assert (tmp_path / "features.f16").read_bytes() == b"kept"
