import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from helpers import commands
from helpers.voc import two_classes
from PIL import Image

from crnet_tf.data import folds, records
from crnet_tf.images import png_files
from pipelines import build_voc
from pipelines.checking.audit import audit
from pipelines.sources import voc as voc_source
from pipelines.writing import listed


def build(voc, **options):
    return build_voc.build_voc(voc, voc.parent / "out", **options)


def lists(voc):
    return voc / "ImageSets" / "Segmentation"


def test_counts_of_every_class(records_dir):
    index = records.load_index(records_dir)
    for class_id in range(1, 21):
        assert index.count("train", class_id) == 4
        assert index.count("val", class_id) == 2


def test_audit_names_pairs_photos_folds_and_subset(records_dir):
    text = audit(records.load_index(records_dir))
    assert "train: 80 pairs on 40 photos" in text and "val: 40 pairs on 20 photos" in text
    assert "a subset of the 10,582" in text and "a subset of the 1,449" in text
    assert all(name in text for name in folds.PASCAL_CLASSES)
    assert "fold 1:    20 pairs" in text


@pytest.mark.parametrize("depth", ["VOC2012", "VOCdevkit", "."])
def test_voc_is_found_from_its_parents(small_voc, depth):
    kit = small_voc.parent / "download" / "VOCdevkit"
    kit.mkdir(parents=True)
    shutil.move(small_voc, kit / "VOC2012")
    given = {"VOC2012": kit / "VOC2012", "VOCdevkit": kit, ".": kit.parent}[depth]
    assert voc_source.find_voc(given) == kit / "VOC2012"


def test_two_voc_years_are_ambiguous(small_voc):
    shutil.copytree(small_voc, small_voc.parent / "VOC2007")
    with pytest.raises(ValueError, match="--voc_dir: .*VOC2007.*VOC2012"):
        voc_source.find_voc(small_voc.parent)


def test_plain_segmentation_class(small_voc):
    (small_voc / "SegmentationClassAug").rename(small_voc / "SegmentationClass")
    (lists(small_voc) / "trainaug.txt").rename(lists(small_voc) / "train.txt")
    assert build(small_voc).splits["train"]["photos"] == 3


def test_lists_of_paths_are_understood(small_voc):
    path = lists(small_voc) / "val.txt"
    path.write_text("/JPEGImages/2007_val_000.jpg /SegmentationClassAug/2007_val_000.png\n")
    assert build(small_voc).count("val", 1) == 1


@pytest.mark.parametrize(
    "gone, message",
    [
        ("JPEGImages", "expected a folder JPEGImages, received none. Complete"),
        (
            "SegmentationClassAug",
            "expected a folder SegmentationClass, received none. Complete",
        ),
        ("ImageSets", "no ImageSets/Segmentation in it. Point it"),
        ("ImageSets/Segmentation/val.txt", "val.txt: expected a list.*no such file"),
        (
            "JPEGImages/2007_train_001.jpg",
            "7 of 8 files; missing: .*2007_train_001.jpg.*--on_er",
        ),
        ("SegmentationClassAug/2007_val_000.png", "missing: .*2007_val_000.png"),
        (".", "expected a folder .*which is not there. docs/guides/data.md"),
    ],
)
def test_missing_parts(small_voc, gone, message):
    path = small_voc / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=message):
        build(small_voc)
    assert not (small_voc.parent / "out").exists()


@pytest.mark.parametrize(
    "text, message",
    [
        ("\n", "expected one photo id a line.*an empty list. Copy"),
        ("2007_val_000\n2007_val_000\n", "received twice: 2007_val_000. Remove"),
        (
            "2007_val_000\n2007_train_001\n",
            "1 in both trainaug.txt and val.txt .*train_001.*Rem",
        ),
    ],
)
def test_wrong_lists(small_voc, text, message):
    (lists(small_voc) / "val.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        build(small_voc)


def test_a_list_of_other_bytes_than_utf8(small_voc):
    (lists(small_voc) / "val.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match="val.txt: .*UTF-8"):
        build(small_voc)


def small_label(path):
    png_files.write_png(path, two_classes(1, 2)[:-1])


def rgb_label(path):
    png_files.write_png(path, np.full((110, 140, 3), (1, 2, 3), np.uint8))


def strange_ids(path):
    png_files.write_png(path, two_classes(21, 254))


def damaged(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_names_in_capitals_are_found(small_voc):
    for folder, suffix in (("JPEGImages", ".JPG"), ("SegmentationClassAug", ".PNG")):
        for path in list((small_voc / folder).iterdir()):
            path.rename(path.with_suffix(suffix))
    assert build(small_voc).splits["train"]["photos"] == 3


def label_maps(index):
    found = {}
    for split, stream in index.splits.items():
        for class_id in map(int, stream["classes"]):
            for data in tf.data.TFRecordDataset(index.files(split, class_id)):
                record = records.parse(data)
                found[record["filename"].numpy()] = record["label"].numpy()
    return found


def test_colours_of_voc_decide_whatever_their_numbers(small_voc):
    """As programs leave them that make PNGs smaller, or write RGB."""
    maps = small_voc / "SegmentationClassAug"
    expected = label_maps(build(small_voc))
    for number, path in enumerate(sorted(maps.glob("*.png"))):
        with Image.open(path) as image:
            image.load()
        ids, colours = np.unique(np.array(image)), image.getpalette()
        anew = Image.fromarray(np.searchsorted(ids, np.array(image)).astype(np.uint8))
        anew.putpalette([v for i in map(int, ids) for v in colours[3 * i : 3 * i + 3]])
        (image.convert("RGB") if number == 1 else anew).save(path)
    for name, label in label_maps(build(small_voc, overwrite=True)).items():
        np.testing.assert_array_equal(label, expected[name])


BAD_LABELS = [
    (
        small_label,
        "expected a label map of its photo's size, 140x110 .*received 140x109. Export",
    ),
    (rgb_label, "expected a label map with one channel.*received mode RGB"),
    (strange_ids, r"expected class ids 0..20 and 255 .*received also \[21, 254\]. Map"),
    (damaged, "expected a label map .*cannot be decoded.*truncated"),
]


@pytest.mark.parametrize("spoil, message", BAD_LABELS)
def test_bad_label_stops_with_its_name(small_voc, spoil, message):
    spoil(small_voc / "SegmentationClassAug" / "2007_train_001.png")
    with pytest.raises(ValueError, match="2007_train_001.png: " + message):
        build(small_voc)
    assert sorted(p.name for p in small_voc.parent.iterdir()) == ["VOC2012"]


def test_bad_photos_are_skipped_counted_and_named(small_voc, capsys):
    damaged(small_voc / "JPEGImages" / "2007_train_000.jpg")
    (small_voc / "JPEGImages" / "2007_train_002.jpg").unlink()
    index = build(small_voc, on_error="skip")
    assert index.splits["train"]["photos"] == 1 and index.splits["train"]["skipped"] == 2
    output = capsys.readouterr().out
    assert "skipped 2 bad photos" in output
    assert "2007_train_000.jpg" in output and "2007_train_002.jpg" in output
    assert "2 skipped" in audit(index)


def test_rotated_and_grey_photos_are_handled(small_voc):
    path = small_voc / "JPEGImages" / "2007_train_000.jpg"
    with Image.open(path) as image:
        sideways = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways.save(path, exif=exif)
    path = small_voc / "JPEGImages" / "2007_train_001.jpg"
    with Image.open(path) as image:
        grey = image.convert("L")
    grey.save(path)
    assert build(small_voc).splits["train"]["photos"] == 3


def test_command_prints_the_audit(small_voc, capsys):
    commands.run(build_voc, f"--voc_dir={small_voc}", f"--out={small_voc.parent / 'out'}")
    assert "train: 6 pairs on 3 photos" in capsys.readouterr().out


def test_small_photos_and_small_files_on_request(small_voc):
    out = small_voc.parent / "out"
    commands.run(
        build_voc, f"--voc_dir={small_voc}", f"--out={out}", "--short_side=50", "--shard_mb=7"
    )
    content = json.loads((out / "index.json").read_text())
    assert (content["short_side"], content["shard_mb"]) == (50, 7)
    index = records.load_index(out)
    record = next(iter(tf.data.TFRecordDataset(index.files("train", 1))))
    assert records.parse(record)["label"].shape == (50, 64, 1)


@pytest.mark.shared
def test_real_photos(shared, tmp_path):
    splits = voc_source.list_photos(voc_source.find_voc(shared / "data" / "VOC2012_subset"))
    assert {split: len(pairs) for split, pairs in splits.items()} == {"train": 1099, "val": 423}
    items = [
        listed._make_item(photo, voc_source.read_label, "oslsm", 20)
        for photo in splits["val"][:40]
    ]
    assert all(item.image_format == "jpeg" for item in items)
    assert sum(len(item.classes) for item in items) > 40
