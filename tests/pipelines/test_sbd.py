"""SBD in the layout of benchmark.tgz, alone and merged with VOC 2012 as it is downloaded."""

import shutil

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from helpers.voc import two_classes
from PIL import Image

from crnet_tf.data import records
from crnet_tf.images import png_files
from pipelines.build_voc import build_voc
from pipelines.sources import sbd
from pipelines.sources.voc import find_voc, list_photos

# Which archive lists a photo: VOC's train and val, SBD's train and val.
VOC = {"train": ["2007_000032", "2007_000039"], "val": ["2008_000002", "2008_000007"]}
SBD = {"train": ["2007_000032", "2008_000002", "2009_000001"], "val": ["2010_000003"]}


def write_mat(path, label, name="GTcls", **options):
    """As SBD has it: a 1x1 struct, boundaries as 20 sparse maps, classes as a column."""
    boundaries = np.empty((20, 1), object)
    for c in range(20):
        boundaries[c, 0] = scipy.sparse.csc_matrix(label == c + 1)
    present = np.array([[c] for c in np.unique(label) if c], np.uint8)
    fields = {"Boundaries": boundaries, "Segmentation": label, "CategoriesPresent": present}
    scipy.io.savemat(path, {name: fields}, **{"do_compression": True} | options)


def write_photo(folder, name):
    shade = int(name[-3:])
    Image.fromarray(np.full((110, 140, 3), shade, np.uint8)).save(folder / f"{name}.jpg")


def write_lists(folder, lists):
    folder.mkdir(parents=True, exist_ok=True)
    for file, names in lists.items():
        (folder / f"{file}.txt").write_text("".join(f"{name}\n" for name in names))


def sbd_label(name):
    return np.where(two_classes(3, 4) == 255, 0, two_classes(3, 4))


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    write_lists(root / "ImageSets" / "Segmentation", VOC)
    for name in VOC["train"] + VOC["val"]:
        write_photo(root / "JPEGImages", name)
        png_files.write_label(
            root / "SegmentationClass" / f"{name}.png",
            two_classes(1, 2),
            png_files.voc_palette(),
        )
    return root


@pytest.fixture
def release(tmp_path):
    root = tmp_path / "benchmark_RELEASE" / "dataset"
    for folder in ("img", "cls", "inst"):
        (root / folder).mkdir(parents=True)
    write_lists(root, SBD)
    for name in SBD["train"] + SBD["val"]:
        write_photo(root / "img", name)
        write_mat(root / "cls" / f"{name}.mat", sbd_label(name))
    return root


def names(photos):
    return [photo.name for photo in photos]


def test_lists_of_the_two_archives(voc, release):
    pairs = list_photos(voc, release, "pairs")
    assert names(pairs["train"]) == ["2007_000032", "2007_000039", "2009_000001", "2010_000003"]
    assert names(list_photos(voc, release, "pfenet")["train"]) == names(pairs["train"])[:3]
    assert names(pairs["val"]) == VOC["val"]


def test_labels_of_voc_win(voc, release):
    index = build_voc(voc, voc.parent / "out", sbd_dir=release.parent)
    counts = {c: index.count("train", c) for c in range(1, 21) if index.count("train", c)}
    assert counts == {1: 2, 2: 2, 3: 2, 4: 2}
    assert {c for c in range(1, 21) if index.count("val", c)} == {1, 2}


def test_photos_of_sbd_only_where_voc_has_none(voc, release):
    write_photo(voc / "JPEGImages", "2010_000003")
    folders = [photo.path.parent.name for photo in list_photos(voc, release)["train"]]
    assert folders == ["JPEGImages", "JPEGImages", "img", "JPEGImages"]


def test_merging_equals_a_ready_made_merge(voc, release, tmp_path):
    merged = build_voc(voc, tmp_path / "merged", sbd_dir=release)
    labels = voc / "SegmentationClassAug"
    shutil.copytree(voc / "SegmentationClass", labels)
    for name in ("2009_000001", "2010_000003"):
        png_files.write_label(labels / f"{name}.png", sbd_label(name), png_files.voc_palette())
        shutil.copy(release / "img" / f"{name}.jpg", voc / "JPEGImages")
    trainaug = names(list_photos(voc, release)["train"])
    write_lists(voc / "ImageSets" / "Segmentation", {"trainaug": trainaug})
    assert build_voc(voc, tmp_path / "ready").splits == merged.splits


def test_index_says_which_list_and_archives(voc, release, tmp_path):
    for name, filter in (("pairs", "oslsm"), ("pfenet", "area2048")):
        index = build_voc(voc, tmp_path / name, sbd_dir=release, list_name=name)
        text = (tmp_path / name / records.INDEX_NAME).read_text()
        assert index.filter == filter and f"benchmark_RELEASE/dataset, list {name}" in text


def test_pfenets_list_cannot_be_told_from_a_merge(small_voc, tmp_path):
    with pytest.raises(ValueError, match="--list=pfenet: expected --sbd_dir"):
        build_voc(small_voc, tmp_path / "out", list_name="pfenet")


def test_unknown_list(voc):
    with pytest.raises(ValueError, match=r"--list: .*'panet'"):
        list_photos(voc, None, "panet")


@pytest.mark.parametrize("depth", ["dataset", "benchmark_RELEASE", "."])
def test_sbd_is_found_from_its_parents(release, depth):
    given = {"dataset": release, "benchmark_RELEASE": release.parent}
    assert sbd.find_sbd(given.get(depth, release.parents[1])) == release


def test_what_is_not_sbd(tmp_path):
    for folder, message in ((tmp_path, "does not hold them"), (tmp_path / "x", "not there")):
        with pytest.raises(FileNotFoundError, match=f"--sbd_dir: .*{message}"):
            sbd.find_sbd(folder)


def test_merge_needs_the_labels_of_voc(voc, release):
    (voc / "SegmentationClass").rename(voc / "SegmentationClassAug")
    with pytest.raises(FileNotFoundError, match="SegmentationClass,"):
        list_photos(find_voc(voc), release)


@pytest.mark.parametrize("compressed", [True, False])
def test_segmentation_is_read_as_written(tmp_path, compressed):
    label = np.random.default_rng(0).integers(0, 21, (61, 47)).astype(np.uint8)
    write_mat(tmp_path / "x.mat", label, do_compression=compressed)
    read = sbd.read_segmentation(tmp_path / "x.mat")
    assert read.dtype == np.uint8 and np.array_equal(read, label)


def test_damaged_mat_files_are_named(tmp_path):
    path = tmp_path / "2008_000002.mat"
    write_mat(path, sbd_label(path.stem))
    whole = path.read_bytes()
    cut = [whole[:size] for size in range(0, len(whole), 40)]
    for content in (*cut, b"<html>", whole + b"rest"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="2008_000002.mat: expected .*benchmark.tgz"):
            sbd.read_segmentation(path)


def test_flipped_bits_never_change_a_label(tmp_path):
    """Nor end the process, which SciPy alone does on some of these."""
    path, label = tmp_path / "x.mat", sbd_label("")
    write_mat(path, label)
    whole = path.read_bytes()
    refused = 0
    for at in range(128, len(whole), 5):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            assert np.array_equal(sbd.read_segmentation(path), label)  # a padding bit
        except ValueError:
            refused += 1
    assert refused > 100


def test_other_mat_files_are_refused(tmp_path):
    write_mat(tmp_path / "inst.mat", sbd_label(""), name="GTinst")
    with pytest.raises(ValueError, match="inst.mat: expected .*GTcls"):
        sbd.read_segmentation(tmp_path / "inst.mat")
    write_mat(tmp_path / "real.mat", sbd_label("").astype(float))
    with pytest.raises(ValueError, match=r"real.mat: expected .*received float64 \[110, 140\]"):
        sbd.read_segmentation(tmp_path / "real.mat")


def spoil(voc, release):
    """A damaged .mat, a truncated PNG and a missing photo; one training photo stays."""
    path = release / "cls" / "2009_000001.mat"
    path.write_bytes(path.read_bytes()[:-30])
    path = voc / "SegmentationClass" / "2007_000039.png"
    path.write_bytes(path.read_bytes()[:-60])
    (release / "img" / "2010_000003.jpg").unlink()


def test_bad_files_are_skipped_and_named(voc, release, tmp_path, capsys):
    spoil(voc, release)
    index = build_voc(voc, tmp_path / "out", sbd_dir=release, on_error="skip")
    assert index.splits["train"]["photos"] == 1 and index.splits["train"]["skipped"] == 3
    output = capsys.readouterr().out
    assert all(f in output for f in ("2009_000001.mat", "2007_000039.png", "2010_000003.jpg"))


def test_missing_photo_stops_before_the_work(voc, release, tmp_path):
    spoil(voc, release)
    with pytest.raises(FileNotFoundError, match="missing: .*img/2010_000003.jpg"):
        build_voc(voc, tmp_path / "out", sbd_dir=release)


def test_labels_must_have_the_size_of_their_photo(voc, release, tmp_path):
    write_mat(release / "cls" / "2009_000001.mat", sbd_label("")[1:])
    with pytest.raises(
        ValueError, match="2009_000001.*expected a label map of its photo's siz"
    ):
        build_voc(voc, tmp_path / "out", sbd_dir=release)
