import dataclasses
import errno
import functools
import hashlib
import io
import json
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from crnet_tf.common import folders
from crnet_tf.data import records
from crnet_tf.data.writing import examples, shards, writer
from crnet_tf.images import label_files, photos, png_files
from pipelines.build_voc import build_voc

ROOT = pathlib.Path(__file__).parents[2]


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def stored(index, split, class_id):
    return list(tf.data.TFRecordDataset(index.files(split, class_id)).as_numpy_iterator())


def test_records_hold_the_photos_and_label_maps(voc_dir, records_dir):
    index = records.load_index(records_dir)
    for class_id in (1, 7, 20):
        streams = stored(index, "train", class_id)
        assert len(streams) == index.count("train", class_id) == 4
        for data in streams:
            parsed = records.parse(data)
            name = parsed["filename"].numpy().decode()
            label = label_files.read_label(voc_dir / "SegmentationClassAug" / f"{name}.png")
            np.testing.assert_array_equal(parsed["label"][..., 0], label)
            feature = tf.train.Example.FromString(data).features.feature
            jpeg = (voc_dir / "JPEGImages" / f"{name}.jpg").read_bytes()
            assert feature[records.IMAGE].bytes_list.value[0] == jpeg  # byte for byte
            assert class_id in label


def test_index_says_what_is_there(voc_dir, records_dir):
    content = json.loads((records_dir / "index.json").read_text())
    assert content["dataset"] == "pascal5i" and content["filter"] == "oslsm"
    assert content["source"].startswith(str(voc_dir))
    assert {s: v["photos"] for s, v in content["splits"].items()} == {"train": 40, "val": 20}
    for split, value in content["splits"].items():
        for stream in value["classes"].values():
            for file in stream["files"]:
                data = (records_dir / split / file["name"]).read_bytes()
                assert hashlib.sha256(data).hexdigest() == file["sha256"]


def test_same_input_same_bytes(voc_dir, records_dir, tmp_path):
    build_voc(voc_dir, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(records_dir)
    assert [p.name for p in tmp_path.iterdir()] == ["again"]  # no work folder, no lock


def test_complete_records_are_left_alone(small_voc, tmp_path, capsys):
    out = tmp_path / "out"
    build_voc(small_voc, out)
    before = (out / "index.json").stat().st_mtime_ns
    build_voc(small_voc, out)
    assert (out / "index.json").stat().st_mtime_ns == before
    assert "is complete with these settings" in capsys.readouterr().out


def test_other_settings_need_overwrite(small_voc, tmp_path):
    out = tmp_path / "out"
    build_voc(small_voc, out)
    with pytest.raises(
        FileExistsError, match="expected filter 'none', received 'oslsm'.*--over"
    ):
        build_voc(small_voc, out, filter="none")
    assert build_voc(small_voc, out, filter="none", overwrite=True).filter == "none"


def test_another_list_is_other_settings(small_voc, tmp_path):
    build_voc(small_voc, tmp_path / "out")
    (small_voc / "ImageSets/Segmentation/trainaug.txt").write_text("2007_train_000\n")
    with pytest.raises(FileExistsError, match="input_sha256"):
        build_voc(small_voc, tmp_path / "out")


def test_damaged_records_are_noticed(small_voc, tmp_path):
    index = build_voc(small_voc, tmp_path / "out")
    with open(index.files("train", 1)[0], "ab") as file:
        file.write(b"x")
    with pytest.raises(
        FileExistsError, match="expected the file that index.json names.*another"
    ):
        build_voc(small_voc, tmp_path / "out")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["thesis.tex", "train/notes.txt", "class_07.tfrecord"])
def test_a_folder_of_other_things_is_never_touched(small_voc, tmp_path, name, overwrite):
    out = tmp_path / "out"
    build_voc(small_voc, out)
    (out / name).write_text("mine")
    before = contents(out)
    with pytest.raises(FileExistsError, match=f"{name}.*--out"):
        build_voc(small_voc, out, overwrite=overwrite)
    assert contents(out) == before


def test_two_builders_on_one_folder(tmp_path):
    out = tmp_path / "out"
    with folders.locked(out), pytest.raises(RuntimeError, match=f"{out}: .*Wait"):
        write_items(out, [item("one")])
    write_items(out, [item("one")])


def test_a_failed_rebuild_keeps_what_was_there(small_voc, tmp_path):
    out = tmp_path / "out"
    build_voc(small_voc, out)
    before = contents(out)
    (small_voc / "JPEGImages" / "2007_val_000.jpg").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="2007_val_000.jpg: expected a photo"):
        build_voc(small_voc, out, overwrite=True)
    assert contents(out) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["VOC2012", "out"]


def test_wrong_on_error(small_voc, tmp_path):
    with pytest.raises(ValueError, match="on_error: .*'ignore'"):
        build_voc(small_voc, tmp_path / "out", on_error="ignore")


def test_nothing_listed_is_an_error(small_voc, tmp_path):
    for path in (small_voc / "SegmentationClassAug").iterdir():
        png_files.write_png(path, np.zeros((110, 140), np.uint8))
    with pytest.raises(ValueError, match="expected .*--filter"):
        build_voc(small_voc, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_make_example_is_what_is_written(voc_dir, records_dir):
    name = "2007_val_000"
    item = examples.make_example(
        voc_dir / "JPEGImages" / f"{name}.jpg",
        voc_dir / "SegmentationClassAug" / f"{name}.png",
        filter="oslsm",
        num_classes=20,
    )
    index = records.load_index(records_dir)
    assert item.classes == [1, 6] and item.filename == name
    assert name in [records.filename(r) for r in stored(index, "val", 6)]


def test_a_turned_photo_is_encoded_once_and_as_before(tmp_path, monkeypatch):
    """Encoding a phone's photo as PNG takes seconds; it is not done for one that is shrunk."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held 90 degrees
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path, exif=exif)
    label = np.ones((60, 40), np.uint8)
    data, image_format, _ = photos.photo_bytes(path)
    encoded = examples.Item("a", data, image_format, label, [1])
    sizes = []
    for name in ("encode_png", "encode_label"):
        monkeypatch.setattr(png_files, name, recording(getattr(png_files, name), sizes))
    for short_side, size in ((None, (60, 40)), (20, (30, 20))):
        wanted = examples.make_record("a", lambda _: encoded, short_side)
        sizes.clear()
        make = functools.partial(
            examples.make_example, label=label, filter="none", num_classes=1
        )
        assert examples.make_record(path, make, short_side) == wanted
        assert sorted(sizes) == [size, (*size, 3)]  # the label map and the photo


def recording(encode, sizes):
    return lambda array: sizes.append(array.shape) or encode(array)


def item(name, classes=(1,), size=(12, 16), image_format="png"):
    rng = np.random.default_rng(len(name))
    label = np.zeros(size, np.uint8)
    for i, class_id in enumerate(classes):
        label[i] = class_id
    pixels = rng.integers(0, 256, (*size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format)
    return examples.Item(name, buffer.getvalue(), image_format, label, list(classes))


def write_items(out, items, **options):
    """`write_records` of ready items, all in one split."""
    return writer.write_records(
        out,
        {"train": [each.filename for each in items]},
        {each.filename: each for each in items}.__getitem__,
        **{"dataset": "x", "source": "s", "filter": "none", "class_names": ["a", "b", "c"]}
        | options,
    )


def test_long_streams_are_cut_into_shards_alike_every_time(tmp_path):
    records_of = {c: [bytes([c]) * (300_000 + 7 * i) for i in range(9)] for c in (1, 2)}
    folders = [tmp_path / name for name in ("a", "b")]
    for place in folders:
        place.mkdir()
        with shards.ShardWriter(place, shard_mb=1) as streams:
            for i in range(9):
                for c in (1, 2):
                    streams.write(c, records_of[c][i])
            written = streams.finish()
    assert contents(folders[0]) == contents(folders[1])
    for c in (1, 2):
        files = written[str(c)]["files"]
        assert [f["name"] for f in files] == [shards.file_name(c, i, 3) for i in range(3)]
        assert [f["records"] for f in files] == [3, 3, 3] and written[str(c)]["records"] == 9
        paths = [str(folders[0] / f["name"]) for f in files]
        assert list(tf.data.TFRecordDataset(paths).as_numpy_iterator()) == records_of[c]
        assert all(os.path.getsize(path) <= 1 << 20 for path in paths)


def test_more_classes_than_open_files(tmp_path):
    with shards.ShardWriter(tmp_path, max_open=2) as streams:
        for c in (1, 1, 2, 3, 3, 1):
            streams.write(c, b"x")
        written = streams.finish()
    assert [file["records"] for file in written["1"]["files"]] == [2, 1]
    assert len(written["2"]["files"]) == len(written["3"]["files"]) == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        file["name"] for stream in written.values() for file in stream["files"]
    }


def test_a_full_disk_is_an_os_error(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    os.symlink("/dev/full", tmp_path / "class_01-00000")
    with pytest.raises(OSError, match="No space left.*--short_side"):
        with shards.ShardWriter(tmp_path) as streams:
            streams.write(1, b"x" * 1_000_000)


@pytest.mark.parametrize("on_error", writer.ON_ERROR)
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, on_error):
    out = tmp_path / "out"
    write_items(out, [item("one"), item("three")])
    before = contents(out)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shards.ShardWriter, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write_items(out, [item("one")], on_error=on_error, overwrite=True)
    assert contents(out) == before and [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_failed_second_rename_gives_back_what_was_there(tmp_path, monkeypatch):
    out = tmp_path / "out"
    write_items(out, [item("one")])
    before, rename = contents(out), os.replace

    def failing(source, target):
        if pathlib.Path(source).name == ".out.building":
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no"):
        write_items(out, [item("two")], overwrite=True)
    assert contents(out) == before and [p.name for p in tmp_path.iterdir()] == ["out"]


def test_killed_between_the_renames(tmp_path):
    out = tmp_path / "out"
    write_items(out, [item("one")])
    before = contents(out)
    out.rename(tmp_path / ".out.old")
    (tmp_path / ".out.building").mkdir()
    with pytest.raises(ValueError, match="expected photos that hold"):  # a rerun that fails
        write_items(out, [item("one", classes=())], overwrite=True)
    assert contents(out) == before and [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_build_moved_aside_is_not_replaced_unasked(tmp_path):
    out = tmp_path / "out"
    write_items(out, [item("one")])
    before = contents(out)
    out.rename(tmp_path / ".out.old")
    with pytest.raises(FileExistsError, match="other settings"):
        write_items(out, [item("two")])
    assert contents(out) == before
    out.rename(tmp_path / ".out.old")
    write_items(out, [item("one")])
    assert contents(out) == before and [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_photos_are_stored_smaller_on_request(tmp_path, image_format):
    label = np.zeros((60, 90), np.uint8)
    label[30:, 45:], label[0, 0] = 2, 1
    large = dataclasses.replace(
        item("large", (1, 2), (60, 90), image_format), label=label, classes=[1, 2]
    )
    small = item("small", (2,), (20, 40), image_format)
    index = write_items(tmp_path / "out", [large, small], short_side=20)
    assert index.count("train", 1) == 0  # its one pixel is gone
    first, second = (records.parse(data) for data in stored(index, "train", 2))
    assert first["image"].shape == (20, 30, 3) and second["image"].shape == (20, 40, 3)
    expected = np.zeros((20, 30), np.uint8)
    expected[10:, 15:] = 2
    np.testing.assert_array_equal(first["label"][..., 0], expected)
    feature = tf.train.Example.FromString(stored(index, "train", 2)[0]).features.feature
    assert feature[records.HEIGHT].int64_list.value == [20]
    assert feature[records.IMAGE_FORMAT].bytes_list.value == [image_format.encode()]
    content = json.loads((tmp_path / "out" / "index.json").read_text())
    assert content["short_side"] == 20
    with pytest.raises(FileExistsError, match="expected short_side None, received 20"):
        write_items(tmp_path / "out", [large, small])


def test_what_is_not_asked_for_does_not_stand_in_the_index(records_dir):
    content = json.loads((records_dir / "index.json").read_text())
    assert list(content) == [
        "format", "dataset", "source", "filter", "class_names", "input_sha256", "splits",
    ]  # fmt: skip


@pytest.mark.parametrize("option", ["short_side", "shard_mb"])
def test_wrong_sizes(tmp_path, option):
    with pytest.raises(ValueError, match=f"--{option}: expected at least 1, received 0"):
        write_items(tmp_path / "out", [item("one")], **{option: 0})


def test_two_photos_of_one_name(tmp_path):
    sources = {"train": ["one", "two"], "val": [pathlib.Path("elsewhere/one.jpg")]}
    options = {"dataset": "x", "source": "s", "filter": "none", "class_names": ["a"]}
    with pytest.raises(ValueError, match="'one': expected every photo once.*Rename"):
        writer.write_records(tmp_path / "out", sources, item, **options)
    assert not any(tmp_path.iterdir())


def test_folds_are_written_and_compared(tmp_path):
    out = tmp_path / "out"
    index = write_items(out, [item("one")], folds=[(2,), (1, 3)], validation_folds=[(1,), (2,)])
    assert index.test_classes(1) == (1, 3) and index.train_classes(0) == (3,)
    with pytest.raises(FileExistsError, match=r"expected folds \[\[1\]\], received \[\[2\]"):
        write_items(out, [item("one")], folds=[[1]])


def test_a_link_to_the_folder_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    os.symlink(tmp_path / "disk" / "real", tmp_path / "out")
    write_items(tmp_path / "out", [item("one")])
    write_items(tmp_path / "out", [item("two")], overwrite=True)
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "real" / "index.json").exists()


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="expected a place where it can be written.*--out"):
        write_items(tmp_path / "file" / "out", [item("one")])
    with pytest.raises(ValueError, match="expected a folder with a name"):
        write_items("/", [item("one")])


def test_names_that_are_no_unicode(tmp_path):
    photo = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (4, 3)).save(str(tmp_path / "x.png"))
    os.rename(tmp_path / "x.png", photo)
    with pytest.raises(ValueError, match=r"caf\\udce9.*expected a file name in UTF-8"):
        examples.make_example(photo, np.zeros((3, 4), np.uint8), "none", 2)


def test_more_classes_than_a_label_map_has_values(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "x.png")
    label = np.array([[0, 1, 2, 255]] * 3, np.uint8)

    def example(classes):
        return examples.make_example(tmp_path / "x.png", label, "none", 600, classes=classes)

    assert example([255, 2]).classes == [2, 255]
    assert example([256]).classes == [256]  # drawn as 2
    for classes in (None, [1, 255]):
        with pytest.raises(ValueError, match="classes that a label map of 8 bits tells apart"):
            example(classes)
