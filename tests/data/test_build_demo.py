"""The demo set: drawn alike every time, and kept."""

import shutil

import numpy as np
import pytest
from PIL import Image

from crnet_tf.data import folds
from crnet_tf.data.demo import scenes, shapes
from crnet_tf.data.writing.filters import VOID
from crnet_tf.images import label_files, png_files
from pipelines.build_demo import build_demo

PHOTOS = {"train_photos": 40, "val_photos": 20}
FEW = {"train_photos": 20, "val_photos": 20}


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "demo"
    build_demo(out, **PHOTOS)
    return out


def labels(demo):
    return [
        label_files.read_label(p) for p in sorted((demo / "VOC/SegmentationClassAug").iterdir())
    ]


def test_same_seed_same_bytes(demo, tmp_path):
    build_demo(tmp_path / "again", **PHOTOS)
    assert contents(tmp_path / "again") == contents(demo)


def test_more_photos_leave_the_first_alike(demo, tmp_path):
    build_demo(tmp_path / "fewer", **FEW)
    here, there = (contents(out / "VOC/JPEGImages") for out in (tmp_path / "fewer", demo))
    assert all(there[name] == data for name, data in here.items()) and len(there) == 60


def test_distractors_in_every_photo_and_enough_pixels(demo):
    for label in labels(demo):
        ids, areas = np.unique(label, return_counts=True)
        listed = [a for i, a in zip(ids, areas, strict=True) if i not in (0, VOID)]
        assert len(listed) >= 2 and min(listed) >= scenes.MIN_PIXELS
        assert set(ids) <= {*range(21), VOID}


def test_every_class_in_both_splits(demo):
    index = build_demo(demo, **PHOTOS)
    assert index.dataset == "demo" and index.class_names == folds.DEMO_CLASSES
    for class_id in range(1, 21):
        assert index.count("train", class_id) >= 2 and index.count("val", class_id) >= 1


def test_classes_are_separated_by_void(demo):
    for label in labels(demo):
        for a, b in ((label[1:], label[:-1]), (label[:, 1:], label[:, :-1])):
            assert not ((a != b) & (a != VOID) & (b != VOID)).any()


def test_layout_sizes_and_palette(demo):
    for path in sorted((demo / "VOC/JPEGImages").iterdir()):
        label_path = demo / "VOC/SegmentationClassAug" / f"{path.stem}.png"
        with Image.open(path) as photo, Image.open(label_path) as label:
            assert photo.size == label.size and photo.mode == "RGB" and label.mode == "P"
            assert all(96 <= side <= 128 for side in photo.size)
            assert bytes(label.getpalette()[:63]) == png_files.voc_palette()[:63]


@pytest.mark.parametrize("name", folds.DEMO_CLASSES)
def test_shapes_of_a_family_vary_and_fit(name):
    rng = np.random.default_rng(0)
    outlines = shapes.outline(name, rng)
    assert all(o.ndim == 2 and np.abs(o).max() < 1.7 for o in outlines)
    v, u = np.mgrid[-20:20, -20:20].astype(float)
    first, second = (shapes.paint(name, u, v, 20, rng) for _ in range(2))
    assert first.shape == (40, 40, 3) and np.abs(first - second).max() > 0.01


def test_appearances_differ():
    looks = list(shapes.APPEARANCES.values())
    assert set(shapes.APPEARANCES) == set(folds.DEMO_CLASSES)
    keys = {(look.texture, look.first, look.second) for look in looks}
    assert len(keys) == len(looks)


def test_complete_set_is_left_alone_and_other_settings_need_overwrite(demo, tmp_path):
    out = tmp_path / "demo"
    shutil.copytree(demo, out)
    before, photo = contents(out), "VOC/JPEGImages/demo_train_0000.jpg"
    build_demo(out, **PHOTOS)
    assert contents(out) == before
    with pytest.raises(FileExistsError, match="expected .*received.*--overwrite"):
        build_demo(out, seed=2, **FEW)
    build_demo(out, seed=2, **FEW, overwrite=True)
    assert (out / photo).read_bytes() != before[photo]


def test_a_folder_of_other_things_is_never_touched(tmp_path):
    (tmp_path / "VOC").mkdir()
    (tmp_path / "VOC" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="expected .*--out"):
        build_demo(tmp_path, overwrite=True, **PHOTOS)
    assert (tmp_path / "VOC" / "mine.txt").read_text() == "mine"


def test_wrong_numbers(tmp_path):
    with pytest.raises(ValueError, match="--seed: .*-1"):
        build_demo(tmp_path, seed=-1)
    with pytest.raises(ValueError, match="val.* 20.*received 3"):
        build_demo(tmp_path, val_photos=3)


def test_unknown_shape():
    with pytest.raises(ValueError, match="shape: .*'cube'"):
        shapes.outline("cube", np.random.default_rng(0))


def test_overwrite_draws_again_also_behind_a_link(tmp_path):
    real = tmp_path / "disk" / "VOC"
    real.mkdir(parents=True)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "VOC").symlink_to(real)
    build_demo(tmp_path / "demo", **FEW)
    lost = sorted((real / "JPEGImages").iterdir())[0]
    lost.unlink()
    build_demo(tmp_path / "demo", overwrite=True, **FEW)
    assert lost.is_file() and (tmp_path / "demo" / "VOC").is_symlink()
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["VOC"]
