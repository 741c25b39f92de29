import json
import os
import pathlib
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from helpers.fuzzing import cases
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crnet_tf.common.errors import InputError
from crnet_tf.data import folds, record_places, records
from crnet_tf.images import png_files
from crnet_tf.images.mask_values import label_value


def example(filename="2007_000032"):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 3), np.uint8)
    label = rng.choice(np.array([0, 7, 255], np.uint8), (20, 30))
    data = records.serialize(
        png_files.encode_png(image), "png", png_files.encode_png(label), filename, 20, 30
    )
    return data, image, label


@st.composite
def pictures(draw):
    """A photo and its label map."""
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    return tuple(draw(arrays(np.uint8, shape)) for shape in ((*size, 3), size))


PHOTOS = st.dictionaries(st.text(), pictures(), min_size=1, max_size=4)


@pytest.mark.parametrize("inside_tf_data", [False, True])
def test_round_trip(inside_tf_data):
    data, image, label = example()
    if inside_tf_data:
        parsed = next(iter(tf.data.Dataset.from_tensors(data).map(records.parse)))
    else:
        parsed = records.parse(data)
    np.testing.assert_array_equal(parsed["image"], image)
    np.testing.assert_array_equal(parsed["label"][..., 0], label)
    assert parsed["filename"] == b"2007_000032"


def test_same_input_same_bytes():
    assert example()[0] == example()[0]
    assert example("other")[0] != example()[0]


def test_filename_without_decoding():
    assert records.filename(example("x_1")[0]) == "x_1"


def test_size_stands_in_the_record():
    feature = tf.train.Example.FromString(example()[0]).features.feature
    assert feature["image/height"].int64_list.value == [20]
    assert feature["image/width"].int64_list.value == [30]


def write_index(folder, **changes):
    content = {
        "format": records.FORMAT_VERSION,
        "dataset": "pascal5i",
        "filter": "oslsm",
        "class_names": ["a"],
        "splits": {"train": {"photos": 1, "classes": {"1": {"records": 1, "files": [
            {"name": "class_01-00000-of-00001.tfrecord", "records": 1}]}}}},
    } | changes  # fmt: skip
    (folder / "index.json").write_text(json.dumps(content))


def test_index_counts_and_absent_class(tmp_path):
    write_index(tmp_path)
    index = records.load_index(tmp_path)
    assert index.count("train", 1) == 1 and index.count("train", 2) == 0
    assert index.files("train", 2) == []


def test_index_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="a folder of records.*crnet build voc"):
        records.load_index(tmp_path)
    write_index(tmp_path, format=99)
    with pytest.raises(ValueError, match="expected records of format 1, received format 99"):
        records.load_index(tmp_path)
    (tmp_path / "index.json").write_text('{"format": 1, "data')
    with pytest.raises(ValueError, match="damaged.*Build the records again"):
        records.load_index(tmp_path)


@pytest.mark.parametrize(
    "splits",
    [
        {"train": {"classes": {"7": {"records": 2}}}},
        {"train": {"classes": {"7": {"files": []}}}},
        {"train": {"classes": {"7": {"records": 2, "files": ["a.tfrecord"]}}}},
        {"train": {"photos": {}, "classes": {}}},
        [1],
    ],
)
def test_an_index_of_other_splits_is_damaged(tmp_path, splits):
    write_index(tmp_path, splits=splits)
    with pytest.raises(InputError, match="index.json is damaged.*Build the records again"):
        records.load_index(tmp_path)


def test_an_index_nested_too_deeply_is_damaged(tmp_path):
    (tmp_path / "index.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="index.json is damaged"):
        records.load_index(tmp_path)


@pytest.mark.parametrize("key", [records.IMAGE, records.LABEL])
def test_a_record_that_cannot_be_decoded_is_named(key):
    damaged = tf.train.Example.FromString(example()[0])
    damaged.features.feature[key].bytes_list.value[0] = b"no picture"
    with pytest.raises(InputError, match="records/mine, a: expected whole records"):
        records.photo(damaged.SerializeToString(), "records/mine, a")


def test_missing_stream_and_unknown_split(tmp_path):
    write_index(tmp_path)
    index = records.load_index(tmp_path)
    with pytest.raises(FileNotFoundError, match="class_01.*missing. Build the records again"):
        index.files("train", 1)
    with pytest.raises(
        ValueError, match=r"split: expected one of \('train', 'val'\).*received 'test'"
    ):
        index.count("test", 1)


def test_folds_of_the_index(tmp_path):
    write_index(tmp_path, dataset="mine", class_names=list("abcde"), folds=[[2], [4, 5]])
    index = records.load_index(tmp_path)
    assert index.num_folds == 2
    assert index.test_classes(0) == (2,) and index.train_classes(0) == (1, 3, 4, 5)
    assert index.test_classes(1) == (4, 5) and index.train_classes(1) == (1, 2, 3)
    assert index.validation_classes(1) == index.train_classes(1)
    for fold in (-1, 2):
        for classes in (index.test_classes, index.train_classes, index.validation_classes):
            with pytest.raises(
                ValueError, match=rf"fold: expected one of 0..1 .*received {fold}"
            ):
                classes(fold)


def test_validation_classes_of_their_own(tmp_path):
    write_index(
        tmp_path, dataset="x", class_names=list("abcde"), folds=[[2]], validation_folds=[[1, 5]]
    )
    index = records.load_index(tmp_path)
    assert index.validation_classes(0) == (1, 5)
    assert index.train_classes(0) == (3, 4) and index.test_classes(0) == (2,)
    with pytest.raises(ValueError, match="fold: expected one of 0..0"):
        index.validation_classes(1)


def test_known_data_sets_keep_their_folds(tmp_path):
    write_index(tmp_path, class_names=list(folds.PASCAL_CLASSES))
    index = records.load_index(tmp_path)
    assert index.num_folds == 4
    assert index.test_classes(1) == folds.test_classes("pascal5i", 1)
    assert index.train_classes(1) == folds.train_classes("pascal5i", 1)
    assert index.validation_classes(1) == index.train_classes(1)


def test_classes_of_a_calibration_fold_act_as_unseen(tmp_path):
    write_index(tmp_path, class_names=list(folds.PASCAL_CLASSES))
    index = records.load_index(tmp_path)
    assert index.test_classes(1, 3) == folds.test_classes("pascal5i", 3)
    trained = index.train_classes(1, 3)
    assert trained == index.validation_classes(1, 3) == (*range(1, 6), *range(11, 16))
    with pytest.raises(ValueError, match="fold: expected one of .*received 4"):
        index.train_classes(1, 4)


def test_photos_of_more_classes_than_label_maps_tell_apart_cannot_be_dropped(tmp_path):
    names = [f"class{i}" for i in range(254)]
    write_index(tmp_path, dataset="mine", class_names=names, folds=[[2]])
    assert records.load_index(tmp_path).dropped_classes(0) == (2,)
    write_index(tmp_path, dataset="mine", class_names=[*names, "more"], folds=[[2]])
    with pytest.raises(ValueError, match="drop_novel_images: expected at most 254 .* 255"):
        records.load_index(tmp_path).dropped_classes(0)


def test_a_calibration_fold_never_brings_back_what_a_fold_keeps_apart(tmp_path):
    """Folds may overlap where a data set has classes to select on."""
    known = {"folds": [[2], [1, 2, 3]], "validation_folds": [[1, 5], [5]]}
    write_index(tmp_path, dataset="x", class_names=list("abcde"), **known)
    index = records.load_index(tmp_path)
    assert index.test_classes(0, 1) == (3,) and index.train_classes(0, 1) == (4,)
    assert index.validation_classes(0, 1) == (5,)


def test_unknown_data_set_without_folds(tmp_path):
    write_index(tmp_path, dataset="mine")
    with pytest.raises(ValueError, match="dataset: expected one of .*received 'mine'"):
        records.load_index(tmp_path).test_classes(0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"folds": [[2]]},  # of one class
        {"folds": [[]]},
        {"folds": [1]},
        {"folds": [[1]], "validation_folds": [[1], [1]]},
        {"validation_folds": [[1]]},
    ],
)
def test_damaged_folds(tmp_path, wrong):
    write_index(tmp_path, **wrong)
    with pytest.raises(ValueError, match="index.json is damaged.*Build the records again"):
        records.load_index(tmp_path)


def test_label_values_are_ids_up_to_254_and_never_background_or_void():
    ids = np.arange(1, 1001)
    values = label_value(ids)
    np.testing.assert_array_equal(values[:254], ids[:254])
    assert values.min() == 1 and values.max() == 254
    np.testing.assert_array_equal(label_value(tf.constant(ids, tf.int32)), values)


# === Streams ===


@pytest.fixture
def two_files(tmp_path):
    """Paths of a stream of 3 and 2 records of different lengths, and the records by id."""
    written = {f"{'x' * i}{i}": example(f"{'x' * i}{i}")[0] for i in range(5)}
    paths = [str(tmp_path / name) for name in ("a.tfrecord", "b.tfrecord")]
    for path, some in zip(paths, (list(written)[:3], list(written)[3:]), strict=True):
        with tf.io.TFRecordWriter(path) as writer:
            for name in some:
                writer.write(written[name])
    return paths, written


def test_a_stream_gives_the_records_of_its_files_by_id(two_files):
    paths, written = two_files
    stream = records.Stream(paths)
    assert list(stream) == list(written) and len(stream) == 5
    assert dict(stream) == written
    assert "x1" in stream and "x2" not in stream and stream.get("x2") is None


def test_a_stream_remembers_places_and_not_records(tmp_path):
    path, long = str(tmp_path / "long.tfrecord"), 10**6
    with tf.io.TFRecordWriter(path) as writer:
        for i in range(8):
            writer.write(records.serialize(bytes(long), "png", b"", f"{i}", 1, 1))
    tracemalloc.start()
    try:
        stream = records.Stream([path])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(stream) == 8 and held < long / 10


def test_a_stream_is_opened_by_a_few_bytes_of_each_record(tmp_path, monkeypatch):
    path, long = str(tmp_path / "long.tfrecord"), 10**5
    with tf.io.TFRecordWriter(path) as writer:
        for i in range(8):
            writer.write(records.serialize(bytes(long), "png", bytes(long), f"{i}", 1, 1))
    read = []
    original = record_places._read
    monkeypatch.setattr(
        record_places, "_read", lambda *where: read.append(len(d := original(*where))) or d
    )
    stream = records.Stream([path])
    assert len(stream) == 8 and sum(read) < 8 * 300
    assert stream["7"] == list(records.stored([path]))[7]


@pytest.mark.parametrize("kept", [1, 11, 12, 300, -1])
def test_a_stream_of_a_truncated_file_names_it(two_files, kept):
    paths, _ = two_files
    content = pathlib.Path(paths[0]).read_bytes()
    pathlib.Path(paths[0]).write_bytes(content[:kept])
    with pytest.raises(InputError, match="a.tfrecord: expected whole records.*Copy"):
        records.Stream(paths)


@given(damage=st.data())
@cases(30)
def test_a_stream_finds_damage_when_it_is_opened_or_when_a_record_is_read(two_files, damage):
    paths, written = two_files
    content = pathlib.Path(paths[0]).read_bytes()
    broken = bytearray(content)
    broken[damage.draw(st.integers(0, len(content) - 1))] ^= 1 << damage.draw(st.integers(0, 7))
    pathlib.Path(paths[0]).write_bytes(broken)
    try:
        with pytest.raises(InputError, match="a.tfrecord: expected whole records"):
            dict(records.Stream(paths))
    finally:
        pathlib.Path(paths[0]).write_bytes(content)


@given(content=st.binary(max_size=300))
@cases(50)
def test_any_other_file_is_no_stream(tmp_path, content):
    path = tmp_path / "any.tfrecord"
    path.write_bytes(content)
    if content:
        with pytest.raises(InputError, match="any.tfrecord: expected whole records"):
            dict(records.Stream([str(path)]))


@given(photos=PHOTOS)
@cases(30)
def test_what_is_written_is_found_by_its_id_and_read(tmp_path, photos):
    path = str(tmp_path / "some.tfrecord")
    written = {
        name: records.serialize(
            png_files.encode_png(image),
            "png",
            png_files.encode_label(label),
            name,
            *label.shape,
        )
        for name, (image, label) in photos.items()
    }
    with tf.io.TFRecordWriter(path) as writer:
        for record in written.values():
            writer.write(record)
    stream = records.Stream([path])
    assert list(stream) == list(photos)
    for name, (image, label) in photos.items():
        assert stream[name] == written[name] and records.filename(written[name]) == name
        parsed = records.parse(written[name])
        np.testing.assert_array_equal(parsed["image"], image)
        np.testing.assert_array_equal(parsed["label"][..., 0], label)
        np.testing.assert_array_equal(records.label_of(written[name])[..., 0], label)
        assert parsed["filename"].numpy().decode() == name


def test_a_stream_notices_that_its_file_became_another(two_files):
    paths, written = two_files
    stream = records.Stream(paths)
    os.replace(paths[1], paths[0])
    with pytest.raises(ValueError, match="a.tfrecord: expected the records that were there"):
        stream["0"]
