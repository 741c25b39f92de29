"""Tiny data made on the spot, shared by the tests of several modules."""

import fcntl
import os
import pathlib
import types

import numpy as np
import pytest
from PIL import Image

from crnet_tf import photos
from pipelines.build_voc import build_voc

SHARED = pathlib.Path(__file__).parents[2] / "shared"
TRAIN_PHOTOS, VAL_PHOTOS = 40, 20  # 4 and 2 records of each of the 20 classes


def write_voc(root: pathlib.Path, train: int, val: int) -> pathlib.Path:
    """A tree in VOC layout: every photo 140x110 px holds two classes in two rectangles."""
    for folder in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    palette = np.frombuffer(photos.voc_palette(), np.uint8).reshape(256, 3)
    for split, file, count in (("train", "trainaug.txt", train), ("val", "val.txt", val)):
        names = [f"2007_{split}_{i:03d}" for i in range(count)]
        for i, name in enumerate(names):
            label = two_classes(i % 20 + 1, (i % 20 + 5 + i // 20) % 20 + 1)
            noise = np.random.default_rng(i).integers(0, 60, (*label.shape, 3))
            photo = np.clip(palette[np.where(label == 255, 0, label)] + noise, 0, 255)
            Image.fromarray(photo.astype(np.uint8)).save(root / "JPEGImages" / f"{name}.jpg")
            photos.write_label(
                root / "SegmentationClassAug" / f"{name}.png", label, photos.voc_palette()
            )
        (root / "ImageSets" / "Segmentation" / file).write_text("\n".join(names) + "\n")
    return root


def two_classes(left: int, right: int) -> np.ndarray:
    """uint8 [110,140]: two rectangles with a void border, both kept by OSLSM's filter."""
    label = np.zeros((110, 140), np.uint8)
    for class_id, x in ((left, 4), (right, 72)):
        label[8:102, x : x + 64] = 255
        label[10:100, x + 2 : x + 62] = class_id
    return label


@pytest.fixture(scope="session")
def voc_dir(tmp_path_factory):
    return write_voc(tmp_path_factory.mktemp("voc") / "VOC2012", TRAIN_PHOTOS, VAL_PHOTOS)


@pytest.fixture(scope="session")
def records_dir(voc_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("records") / "pascal5i"
    build_voc(voc_dir, out)
    return out


@pytest.fixture
def small_voc(tmp_path):
    """Four photos of one's own, to damage."""
    return write_voc(tmp_path / "VOC2012", train=3, val=1)


@pytest.fixture(scope="session")
def shared():
    """../shared of the development machine: real photos and weights, not in the repository."""
    if not SHARED.is_dir():
        pytest.skip("../shared (real photos and weights) is not on this machine")
    return SHARED


@pytest.fixture(scope="module")
def network():
    """A tiny network, calibrated, with prototypes and answers that are not all about a half."""
    from test_features import lively  # not above: most tests need none of it

    return lively(calibrated_threshold=0.45, prototype_weight=2.0)


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "best.keras"
    network.save(path)
    return path


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """A tiny checkpoint, and version folders of it: few-shot, and taught "cup" and "mug".

    Written once for all processes that share the tests.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root = base / "exports"
    with open(base / "exports.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            export_tiny(base / "exports.partial").rename(root)
    return types.SimpleNamespace(
        checkpoint=root / "best.keras",
        few_shot=root / "crnet" / "1",
        taught=root / "things" / "1",
    )


def export_tiny(root: pathlib.Path) -> pathlib.Path:
    # Not above: most tests need none of it.
    from test_features import lively, photo

    from crnet_tf.options import Options
    from export import parity, saved_model, teach
    from export.settings import Settings

    root.mkdir()
    checkpoint, settings = root / "best.keras", Settings(max_pixels=2**21)
    lively().save(checkpoint)
    classes = {"cup": [photo(1), photo(2)], "mug": [photo(3)]}
    with pytest.MonkeyPatch.context() as patch:  # compared where exports are tested
        patch.setattr(parity, "few_shot", lambda *_: {})
        patch.setattr(parity, "taught", lambda *_: {})
        saved_model.export(checkpoint, root / "crnet", settings, refine_steps=1)
        options = Options(refine_steps=1)
        teach.teach(checkpoint, classes, root / "things", options, settings)
    return root
