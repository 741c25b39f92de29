import io
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from helpers import commands
from helpers.voc import two_classes
from PIL import Image

from crnet_tf.common.disk import sha256_of
from crnet_tf.data import records
from crnet_tf.images import png_files
from pipelines import verify as verify_lib
from pipelines.build_voc import build_voc
from pipelines.checking import leakage
from pipelines.checking.findings import Report
from pipelines.checking.inspect_record import Fingerprint
from pipelines.checking.perceptual_hash import near_pairs, perceptual_hash
from pipelines.checking.verifying import verify

ROOT = pathlib.Path(__file__).parents[2]


def scene(seed):
    """A photo [110,140,3] unlike those of other seeds: coarse colours, fine noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    smooth = np.array(coarse.resize((140, 110), Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + rng.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)


def write_scenes(root, splits):
    """VOC layout of {split: [seeds]}; every photo holds classes 1 and 2."""
    for folder in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for split, file in (("train", "trainaug.txt"), ("val", "val.txt")):
        for seed in splits[split]:
            name = f"photo_{seed}"
            Image.fromarray(scene(seed)).save(root / f"JPEGImages/{name}.jpg", quality=95)
            png_files.write_png(root / f"SegmentationClassAug/{name}.png", two_classes(1, 2))
        names = "".join(f"photo_{seed}\n" for seed in splits[split])
        (root / "ImageSets/Segmentation" / file).write_text(names)
    return root


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    voc = write_scenes(folder / "VOC2012", {"train": range(6), "val": range(6, 9)})
    build_voc(voc, folder / "records")
    return folder / "records"


@pytest.fixture
def made(sound, tmp_path):
    """Records of one's own, to damage."""
    return pathlib.Path(shutil.copytree(sound, tmp_path / "records"))


def stream_file(folder, split="train", class_id=1):
    return pathlib.Path(records.load_index(folder).files(split, class_id)[0])


def read(path):
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def write(folder, path, stored):
    """Writes a file of records and tells index.json about it: consistent, but wrong within."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for serialized in stored:
            writer.write(serialized)
    index = json.loads((folder / "index.json").read_text())
    for stream in index["splits"][path.parent.name]["classes"].values():
        for file in stream["files"]:
            if file["name"] == path.name:
                file["records"], file["sha256"] = len(stored), sha256_of(path)
                stream["records"] = len(stored)
    (folder / "index.json").write_text(json.dumps(index))


def change(folder, split="train", **fields):
    """Gives the first photo of a split other fields, in both streams it stands in."""
    for class_id in (1, 2):
        path = stream_file(folder, split, class_id)
        first, *others = read(path)
        write(folder, path, [remade(first, **fields), *others])


def remade(serialized, **fields):
    feature = tf.train.Example.FromString(serialized).features.feature
    content = {
        "image": feature[records.IMAGE].bytes_list.value[0],
        "image_format": feature[records.IMAGE_FORMAT].bytes_list.value[0].decode(),
        "label": feature[records.LABEL].bytes_list.value[0],
        "filename": records.filename(serialized),
        "height": feature[records.HEIGHT].int64_list.value[0],
        "width": feature[records.WIDTH].int64_list.value[0],
    }
    return records.serialize(**content | fields)


def jpeg(image, **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def found(findings):
    return {(finding.kind, finding.file, finding.record) for finding in findings}


FILE = "train/class_01-00000-of-00001.tfrecord"
OTHER = "train/class_02-00000-of-00001.tfrecord"


def test_a_sound_set_has_no_findings(sound):
    report = verify(sound)
    assert report.faults == report.warnings == []
    assert report.splits == {
        "train": {"classes": 2, "records": 12, "photos": 6},
        "val": {"classes": 2, "records": 6, "photos": 3},
    }


def test_every_flipped_byte_is_found(made):
    path = made / FILE
    content = path.read_bytes()
    for place in (3, 9, 14, len(content) // 2, len(content) - 1):  # length, its sum, data, sum
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        faults = found(verify(made).faults)
        assert ("sha256", FILE, "") in faults
        assert any(k in ("damaged", "truncated") and file == FILE for k, file, _ in faults)


def test_truncated_file_is_named_with_the_record(made):
    path = made / FILE
    path.write_bytes(path.read_bytes()[:-100])
    faults = verify(made).faults
    assert ("truncated", FILE, "record 5") in found(faults)
    assert any(
        f.kind == "count" and "expected 6 records, received 5" in f.message for f in faults
    )


def test_removed_file(made):
    (made / FILE).unlink()
    assert ("file", FILE, "") in found(verify(made).faults)


def test_a_file_nobody_lists(made):
    shutil.copy(made / FILE, made / "train/class_03-00000-of-00001.tfrecord")
    report = verify(made)
    assert not report.faults
    assert found(report.warnings) == {
        ("unlisted", "train/class_03-00000-of-00001.tfrecord", "")
    }


@pytest.mark.parametrize("of_file", [True, False])
def test_wrong_count(made, of_file):
    index = json.loads((made / "index.json").read_text())
    stream = index["splits"]["train"]["classes"]["1"]
    (stream["files"][0] if of_file else stream)["records"] = 7
    (made / "index.json").write_text(json.dumps(index))
    (fault,) = verify(made).faults
    assert fault.kind == "count" and "expected 7 records, received 6" in fault.message


def test_more_photos_than_stated(made):
    index = json.loads((made / "index.json").read_text())
    index["splits"]["train"]["photos"] = 5
    (made / "index.json").write_text(json.dumps(index))
    (fault,) = verify(made).faults
    assert fault.message == "expected at most 5 photos, received 6"


def test_damaged_index(made):
    index = json.loads((made / "index.json").read_text())
    del index["splits"]["train"]["classes"]["1"]["files"][0]["sha256"]
    (made / "index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="index.json is damaged in split 'train' .*sha256"):
        verify(made)


def label_with(value):
    label = two_classes(1, 2)
    label[0, 0] = value
    return png_files.encode_png(label)


palette = png_files.encode_label(two_classes(1, 2), png_files.voc_palette())
WRONG_WITHIN = {
    "expected label ids 0..20 and 255, received also [21]": {"label": label_with(21)},
    "cannot decode": {"image": jpeg(scene(0))[:900]},
    "cannot decode:": {"label": label_with(1)[:200]},
    "received 'gif'": {"image_format": "gif"},
    "expected a JPEG or PNG photo as image/format says, received 'png'": {
        "image_format": "png"
    },
    "stored 140x111, photo 140x110": {"height": 111},
    "photo 140x110, label map 140x100": {
        "label": png_files.encode_png(np.ascontiguousarray(two_classes(1, 2)[:100]))
    },
    "expected an 8-bit grey PNG as label map": {"label": palette},
}


@pytest.mark.parametrize("message", WRONG_WITHIN)
def test_wrong_within_a_record(made, message):
    change(made, **WRONG_WITHIN[message])
    faults = verify(made).faults
    assert {fault.record for fault in faults} == {"photo_0"}
    assert any(message in fault.message and fault.file == FILE for fault in faults)


def test_no_example(made):
    path = made / FILE
    write(made, path, [b"not a record", *read(path)])
    (fault,) = verify(made).faults
    assert (fault.kind, fault.file, fault.record) == ("record", FILE, "record 0")


def test_photo_without_the_class_of_its_stream(made):
    change(made, label=png_files.encode_png(two_classes(1, 3)))
    (fault,) = verify(made).faults
    assert (fault.kind, fault.file, fault.record) == ("class", OTHER, "photo_0")
    assert "expected class 2 in its label map, received [0, 1, 3, 255]" in fault.message


def test_photo_twice_in_a_stream(made):
    path = made / FILE
    stored = read(path)
    write(made, path, [*stored, stored[2]])
    assert found(verify(made).faults) == {("twice", FILE, "photo_2")}


def test_two_versions_of_a_photo(made):
    path = made / OTHER
    first, *others = read(path)
    write(made, path, [remade(first, image=jpeg(scene(0), quality=50)), *others])
    assert found(verify(made).faults) == {("differs", OTHER, "photo_0")}


def test_photo_id_in_both_splits(made):
    path = stream_file(made, "val")
    write(made, path, [read(made / FILE)[3], *read(path)[1:]])
    assert ("leakage", "train and val", "photo_3") in found(verify(made).faults)


def test_same_bytes_in_both_splits(made):
    stored = tf.train.Example.FromString(read(made / FILE)[3])
    change(made, "val", image=stored.features.feature[records.IMAGE].bytes_list.value[0])
    report = verify(made)
    assert found(report.faults) == {("leakage", "train and val", "photo_3, photo_6")}
    assert not report.warnings  # said once


def test_of_very_many_photos_in_both_splits_a_thousand_pairs_are_named():
    report = Report("records", "mine", "0")
    splits = {
        split: {f"{split}{n}": Fingerprint(b"1", 0, frozenset({1})) for n in range(40)}
        for split in ("train", "val")
    }
    leakage.check_splits(splits, 64, report)
    *named, rest = report.faults
    assert len(named) == 1000 and rest.message.startswith("600 more pairs")
    assert {w.kind for w in report.warnings} == {"same photo"}  # alike is not said as well


def test_same_bytes_in_one_split(made):
    stored = tf.train.Example.FromString(read(made / FILE)[3])
    change(made, image=stored.features.feature[records.IMAGE].bytes_list.value[0])
    report = verify(made)
    assert not report.faults
    assert found(report.warnings) == {("same photo", "train", "photo_0, photo_3")}
    assert "a support could be its own query" in report.text()


def test_a_photo_in_the_folders_of_two_classes_is_background_in_each():
    report = Report("records", "mine", "0")
    same = {
        f"{name}/a": Fingerprint(b"1", 0, frozenset({0, n, 255}))
        for n, name in enumerate("bc", 1)
    }
    leakage.check_splits({"train": same}, -1, report)
    (warning,) = report.warnings
    assert "b/a, c/a" in str(warning) and "each calls the other's object" in str(warning)


def keep_folds(folder, folds, **others):
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(index | {"folds": folds} | others))


def test_a_class_held_out_of_the_only_fold_is_never_trained_on(made):
    keep_folds(made, [[1]])
    kinds = [(f.kind, f.record) for f in verify(made).faults]
    assert ("class leakage", "") in kinds  # its stream
    assert {r for _, r in kinds if r} == {f"photo_{seed}" for seed in range(6)}  # its pixels
    keep_folds(made, [[3]], validation_folds=[[2]])
    assert any("class 2" in str(f) for f in verify(made).faults)
    keep_folds(made, [[3]], validation_folds=[[4]])
    assert not verify(made).faults


def test_of_several_folds_photos_with_test_classes_are_counted(made, sound):
    report = verify(sound)  # classes 1 and 2, both of fold 0
    assert report.folds["0"] == {"training photos": 0, "with test classes": 0}
    assert report.folds["1"] == {"training photos": 6, "with test classes": 0}
    keep_folds(made, [[1], [2]])
    report = verify(made)
    assert report.folds["0"] == {"training photos": 6, "with test classes": 6}
    assert "fold 0: 6 of 6 training photos also hold test classes" in report.text()
    assert not report.faults


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.4])
def test_resized_copy_in_both_splits(made, scale):
    small = Image.fromarray(scene(3)).resize((round(140 * scale), round(110 * scale)))
    label = Image.fromarray(two_classes(1, 2)).resize(small.size, Image.Resampling.NEAREST)
    change(
        made, "val", image=jpeg(np.array(small), quality=60),
        label=png_files.encode_png(np.array(label)), width=small.width, height=small.height,
    )  # fmt: skip
    report = verify(made)
    assert not report.faults
    assert found(report.warnings) == {("looks alike", "train and val", "photo_3, photo_6")}
    assert not verify(made, distance=-1).warnings


def test_hash_survives_copies_and_tells_photos_apart():
    hashes = [perceptual_hash(scene(seed)) for seed in range(40)]
    copies = [
        perceptual_hash(np.array(Image.fromarray(scene(seed)).resize((90, 70))))
        for seed in range(40)
    ]
    assert [(i, j) for i, j, _ in near_pairs(hashes, copies)] == [(i, i) for i in range(40)]


def test_near_pairs_counts_bits():
    first, second = [0, 2**64 - 1], [0b111, 2**63]
    pairs = set(near_pairs(first, second, 63))
    assert pairs == {(0, 0, 3), (0, 1, 1), (1, 0, 61), (1, 1, 63)}
    assert set(near_pairs(first * 100, second, 2)) == {(2 * i, 1, 1) for i in range(100)}


def test_command_says_it_and_exits_so(made, tmp_path, capsys):
    (made / FILE).unlink()
    with pytest.raises(SystemExit, match="1"):
        commands.run(
            verify_lib, f"--records={made}", f"--out={tmp_path / 'reports' / 'report.json'}"
        )
    text = capsys.readouterr().out
    assert FILE in text and "2 faults" in text
    report = json.loads((tmp_path / "reports" / "report.json").read_text())
    assert report["faults"][0]["file"] == FILE
    assert report["splits"]["val"]["photos"] == 3


@pytest.mark.shared
def test_a_part_of_voc_is_sound(shared, tmp_path):
    source, root = shared / "data/VOC2012_subset", tmp_path / "VOC2012"
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for folder in ("JPEGImages", "SegmentationClassAug"):
        (root / folder).symlink_to((source / folder).resolve())
    for name in ("trainaug.txt", "val.txt"):
        ids = (source / "ImageSets/Segmentation" / name).read_text().split("\n")[:20]
        (lists / name).write_text("\n".join(ids) + "\n")
    build_voc(root, tmp_path / "records")
    report = verify(tmp_path / "records")
    assert report.faults == report.warnings == []
