"""COCO in its own layout -> records."""

import contextlib
import io
import json
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers import commands
from helpers.coco_files import (
    CLASS_IDS,
    HEIGHT,
    WIDTH,
    box_mask,
    packed,
    write_coco,
)
from PIL import Image
from pycocotools.coco import COCO

from crnet_tf.data import records
from pipelines import build_coco as build_coco_command
from pipelines.build_coco import DATASETS, build_coco
from pipelines.checking.audit import audit
from pipelines.sources.coco_dataset import find_year


@pytest.fixture
def coco_dir(tmp_path):
    return write_coco(tmp_path / "coco")


def train_json(root):
    return root / "annotations" / "instances_train2014.json"


def edit(root, change):
    """Changes the content of the training annotations."""
    content = json.loads(train_json(root).read_text())
    change(content)
    train_json(root).write_text(json.dumps(content))


def test_category_ids_become_class_ids(coco_dir):
    index = build_coco(coco_dir, coco_dir.parent / "out")
    counts = {c: index.count("train", c) for c in range(1, 81) if index.count("train", c)}
    assert counts == {1: 1, 12: 1, 80: 2}
    assert index.class_names[79] == "toothbrush" and index.filter == "area2048"


def test_records_hold_the_drawn_labels(coco_dir):
    index = build_coco(coco_dir, coco_dir.parent / "out")
    dataset = tf.data.TFRecordDataset(index.files("train", 1))
    (record,) = [records.parse(r) for r in dataset]
    expected = box_mask(0, 0, 60, 50) * 1 + box_mask(60, 0, 120, 50) * 80
    expected[60:90] = 255
    assert np.array_equal(record["label"][..., 0], expected)
    assert record["filename"] == b"COCO_train2014_000000000009"


def test_labels_are_what_pycocotools_reads_from_the_same_file(coco_dir):
    """Its own reader, not ours, says which pixels an annotation of the file has."""
    index = build_coco(coco_dir, coco_dir.parent / "out", filter="none")
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(train_json(coco_dir)))
    stored = {}
    for class_id in (1, 12, 80):
        for data in tf.data.TFRecordDataset(index.files("train", class_id)):
            record = records.parse(data)
            stored[record["filename"].numpy().decode()] = record["label"].numpy()[..., 0]
    assert len(stored) == 2
    for name, label in stored.items():
        annotations = theirs.imgToAnns[int(name[-12:])]
        expected = np.zeros_like(label)
        for entry in sorted(
            annotations, key=lambda entry: -entry["iscrowd"]
        ):  # apart: no order
            value = 255 if entry["iscrowd"] else CLASS_IDS[entry["category_id"]]
            expected[theirs.annToMask(entry) == 1] = value
        np.testing.assert_array_equal(label, expected)


def test_photos_without_annotations_are_left_out_and_counted(coco_dir, capsys):
    index = build_coco(coco_dir, coco_dir.parent / "out")
    assert index.splits["train"]["photos"] == 2
    assert "train2014: 2 photos with annotations; 1 without" in capsys.readouterr().out


BAD_SEGMENTATIONS = [
    ([[0, 0, float("nan"), 3, 4, 4]], "expected polygons"),
    ([[0, 0, 1e12, 3, 4, 4]], "expected polygons"),
    ([[0, 0, 5, 5, 9, 9, 3]], "expected polygons"),
    ([["a", 0, 5, 5, 9, 9]], "could not convert"),
    ([7], "expected polygons"),
    ("", "expected polygons or run lengths, received str"),
    (None, "expected polygons or run lengths, received NoneType"),
    ({"size": [HEIGHT, WIDTH], "counts": [5, 10]}, "that fill .*sum 15"),
    ({"size": [HEIGHT, WIDTH], "counts": [-5, HEIGHT * WIDTH + 5]}, "that fill"),
    ({"size": [WIDTH, HEIGHT], "counts": [HEIGHT * WIDTH]}, "that fill"),
    ({"size": [HEIGHT, WIDTH], "counts": "oooooo"}, "that fill"),
    ({"size": [HEIGHT, WIDTH], "counts": packed(box_mask(3, 3, 9, 9))["counts"][:-1]}, "fill"),
    ({"size": [HEIGHT, WIDTH]}, "counts"),
]


@pytest.mark.parametrize("segmentation, message", BAD_SEGMENTATIONS)
def test_bad_segmentations_are_named(coco_dir, segmentation, message):
    edit(coco_dir, lambda content: content["annotations"][3].update(segmentation=segmentation))
    with pytest.raises(ValueError, match=f"000000010.jpg: annotation 4: .*{message}"):
        build_coco(coco_dir, coco_dir.parent / "out")
    assert not (coco_dir.parent / "out").exists()


def test_annotation_of_an_unknown_category(coco_dir):
    edit(coco_dir, lambda content: content["annotations"][3].update(category_id=12))
    with pytest.raises(ValueError, match="annotation 4: expected a category.*category_id 12"):
        build_coco(coco_dir, coco_dir.parent / "out")


def test_bad_photos_are_skipped_counted_and_named(coco_dir, capsys):
    edit(coco_dir, lambda content: content["annotations"][3].update(category_id=12))
    path = coco_dir / "val2014" / "COCO_val2014_000000000042.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    index = build_coco(coco_dir, coco_dir.parent / "out", on_error="skip")
    assert [index.splits[s]["skipped"] for s in ("train", "val")] == [1, 1]
    output = capsys.readouterr().out
    assert "COCO_train2014_000000000010.jpg" in output and path.name in output


def test_missing_photos_are_named_before_the_work(coco_dir, capsys):
    name = "COCO_train2014_000000000010.jpg"
    (coco_dir / "train2014" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"received 3 of 4 files; missing: .*{name}"):
        build_coco(coco_dir, coco_dir.parent / "out")
    index = build_coco(coco_dir, coco_dir.parent / "out", on_error="skip")
    assert index.splits["train"]["skipped"] == 1 and name in capsys.readouterr().out


def test_photos_of_another_release(coco_dir):
    path = coco_dir / "train2014" / "COCO_train2014_000000000009.jpg"
    Image.new("RGB", (WIDTH, HEIGHT + 1)).save(path)
    with pytest.raises(
        ValueError, match="000000009.jpg: expected a label map of its photo's s"
    ):
        build_coco(coco_dir, coco_dir.parent / "out")


def test_a_label_map_is_not_drawn_at_any_size_a_file_claims(coco_dir):
    edit(coco_dir, lambda content: content["images"][1].update(width=2**40, height=2**40))
    with pytest.raises(ValueError, match=f"its photo's size, {WIDTH}x{HEIGHT}"):
        build_coco(coco_dir, coco_dir.parent / "out")


def two_ids(content):
    content["images"][1]["id"] = content["images"][0]["id"]


def two_files(content):
    content["images"][1]["file_name"] = content["images"][0]["file_name"]


def unlisted(content):
    content["annotations"][0]["image_id"] = 777


def captions(content):
    del content["categories"]


def other_categories(content):
    content["categories"][5]["name"] = "tram"


def fewer_categories(content):
    content["categories"].pop()


def no_size(content):
    del content["images"][1]["height"]


@pytest.mark.parametrize(
    "change, message",
    [
        (two_ids, r"expected every photo once, received id \[11\] more than once"),
        (
            two_files,
            r"expected every photo once, received file_name .*000000000011.jpg",
        ),
        (unlisted, r"expected annotations of the photos it lists.*image_id \[777\]"),
        (captions, "expected COCO's instance annotations.*categories.*captions"),
        (other_categories, "expected the 80 categories .*received 80.*build_folder"),
        (fewer_categories, "expected the 80 categories .*received 79"),
        (no_size, "expected COCO's instance annotations.*height"),
    ],
)
def test_wrong_annotation_files(coco_dir, change, message):
    edit(coco_dir, change)
    with pytest.raises(ValueError, match=f"instances_train2014.json: {message}"):
        build_coco(coco_dir, coco_dir.parent / "out")


def test_truncated_annotation_file(coco_dir):
    text = train_json(coco_dir).read_text()
    for content in (text[:-200], "", "[]", "\x80"):
        train_json(coco_dir).write_text(content)
        with pytest.raises(ValueError, match="instances_train2014.json: expected COCO's inst"):
            build_coco(coco_dir, coco_dir.parent / "out")


def test_years(coco_dir):
    assert find_year(coco_dir) == "2014"
    with pytest.raises(FileNotFoundError, match="expected .*instances_train2017.json"):
        find_year(coco_dir, "2017")
    write_coco(coco_dir, "2017")
    with pytest.raises(ValueError, match="2014.*2017.*--year"):
        find_year(coco_dir)
    assert build_coco(coco_dir, coco_dir.parent / "out", year="2017").count("val", 80) == 2
    with pytest.raises(FileNotFoundError, match="expected .*instances_train2014.json"):
        find_year(coco_dir.parent)


def test_divisions_share_their_records(coco_dir):
    built = {s: build_coco(coco_dir, coco_dir.parent / s, split=s) for s in DATASETS}
    assert {split: index.dataset for split, index in built.items()} == DATASETS
    assert len({json.dumps(index.splits) for index in built.values()}) == 1
    assert "fold 3:     3 pairs" in audit(built["interleaved"])  # classes 12 and 80
    assert "fold 3:     2 pairs" in audit(built["contiguous"])
    assert "fold 1" not in audit(built["40-20-20"])
    with pytest.raises(ValueError, match="--split: .*'random'"):
        build_coco(coco_dir, coco_dir.parent / "out", split="random")


def test_small_photos_and_small_files_on_request(coco_dir):
    out = coco_dir.parent / "out"
    commands.run(
        build_coco_command,
        f"--coco_dir={coco_dir}",
        f"--out={out}",
        "--filter=none",
        "--short_side=50",
        "--shard_mb=7",
    )
    content = json.loads((out / "index.json").read_text())
    assert (content["short_side"], content["shard_mb"]) == (50, 7)


def test_without_pycocotools(coco_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(RuntimeError, match=r"expected the package pycocotools.*\[coco\]"):
        build_coco(coco_dir, coco_dir.parent / "out")
