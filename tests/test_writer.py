import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from crnet_tf import photos, records
from pipelines import folder, writer
from pipelines.build_voc import build_voc

ROOT = pathlib.Path(__file__).parents[1]


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
            label = photos.read_label(voc_dir / "SegmentationClassAug" / f"{name}.png")
            np.testing.assert_array_equal(parsed["label"][..., 0], label)
            feature = tf.train.Example.FromString(data).features.feature
            jpeg = (voc_dir / "JPEGImages" / f"{name}.jpg").read_bytes()
            assert feature[records.IMAGE].bytes_list.value[0] == jpeg  # byte for byte
            assert class_id in label


def test_index_says_what_is_there(voc_dir, records_dir):
    content = json.loads((records_dir / "index.json").read_text())
    assert content["dataset"] == "pascal5i" and content["filter"] == "oslsm"
    assert content["source"] == str(voc_dir)
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
    with pytest.raises(FileExistsError, match="other settings: expected input_sha256"):
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
    with pytest.raises(FileExistsError, match=f"holds other things .*{name}.*never deleted"):
        build_voc(small_voc, out, overwrite=overwrite)
    assert contents(out) == before


def test_two_builders_on_one_folder(small_voc, tmp_path):
    out = tmp_path / "out"
    with folder.locked(out):
        with pytest.raises(RuntimeError, match=f"process {os.getpid()} is building it.*Wait"):
            build_voc(small_voc, out)
    build_voc(small_voc, out)


def test_lock_of_a_dead_process_is_taken_over(small_voc, tmp_path):
    (tmp_path / ".out.lock").write_text("999999\n")
    build_voc(small_voc, tmp_path / "out")
    assert not (tmp_path / ".out.lock").exists()


def test_a_failed_rebuild_keeps_what_was_there(small_voc, tmp_path):
    out = tmp_path / "out"
    build_voc(small_voc, out)
    before = contents(out)
    (small_voc / "JPEGImages" / "2007_val_000.jpg").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="2007_val_000.jpg: expected a photo"):
        build_voc(small_voc, out, overwrite=True)
    assert contents(out) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["VOC2012", "out"]


KILLED = """
import os, signal, sys
from pipelines import build_voc, folder, writer
voc_dir, out, point = sys.argv[1:]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if point == "rename":
    folder.os.rename = die
else:
    read = writer.make_example
    def read_until(photo, label, **options):
        return die() if photo.stem == point else read(photo, label, **options)
    writer.make_example = read_until
build_voc.build_voc(voc_dir, out)
"""


def test_rerun_after_a_kill_gives_the_same_bytes(voc_dir, records_dir, tmp_path):
    points = ("2007_train_017", "2007_val_003", "rename")
    builds = {
        point: subprocess.Popen(
            [sys.executable, "-c", KILLED, str(voc_dir), str(tmp_path / point), point],
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        for point in points
    }
    for point, build in builds.items():
        assert build.wait() == -signal.SIGKILL
        out = tmp_path / point
        assert not out.exists()  # nothing that could be read as whole
        assert (tmp_path / f".{point}.building").exists()  # it was killed in its midst
        build_voc(voc_dir, out)
        assert contents(out) == contents(records_dir)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(points)


def test_wrong_on_error(small_voc, tmp_path):
    with pytest.raises(ValueError, match="on_error: expected one of .*received 'ignore'"):
        build_voc(small_voc, tmp_path / "out", on_error="ignore")


def test_nothing_listed_is_an_error(small_voc, tmp_path):
    for path in (small_voc / "SegmentationClassAug").iterdir():
        photos.write_png(path, np.zeros((110, 140), np.uint8))
    with pytest.raises(ValueError, match="expected photos that hold a listed class.*--filter"):
        build_voc(small_voc, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_make_example_is_what_is_written(voc_dir, records_dir):
    name = "2007_val_000"
    item = writer.make_example(
        voc_dir / "JPEGImages" / f"{name}.jpg",
        voc_dir / "SegmentationClassAug" / f"{name}.png",
        filter="oslsm",
        num_classes=20,
    )
    index = records.load_index(records_dir)
    assert item.classes == [1, 6] and item.filename == name
    assert name in [records.filename(r) for r in stored(index, "val", 6)]
