"""What a training learns of the held-out classes, shown by poisoning them.

The protocol keeps training photos that show a held-out class beside a base class: its pixels
are background there, its label is never read. `--drop_novel_images` leaves such photos out.
"""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
from helpers.networks import TINY
from PIL import Image

from crnet_tf.data import folds, records
from crnet_tf.images import png_files
from crnet_tf.training import callbacks, fitting
from pipelines.build_voc import build_voc

FOLD = 1
NOVEL = np.array(folds.test_classes("pascal5i", FOLD))
SETTINGS = dataclasses.replace(
    TINY, fold=FOLD, train_backbone=True, batch_size=4, steps=1, steps_per_epoch=1,
    refine_steps=1, optimizer="adamw", learning_rate=0.01,
)  # fmt: skip


def relabel(voc):
    """Every held-out class becomes another one in the label maps."""
    for path in sorted((voc / "SegmentationClassAug").glob("*.png")):
        label = np.array(Image.open(path))
        other = np.where(np.isin(label, NOVEL), np.roll(NOVEL, 1)[label % len(NOVEL)], label)
        png_files.write_label(path, other.astype(np.uint8), png_files.voc_palette())


def invert(voc):
    """Colours of all training photos that show a held-out class."""
    for path in sorted((voc / "SegmentationClassAug").glob("*train*.png")):
        if np.isin(np.array(Image.open(path)), NOVEL).any():
            photo = voc / "JPEGImages" / f"{path.stem}.jpg"
            Image.fromarray(255 - np.array(Image.open(photo))).save(photo)


@pytest.fixture(scope="module")
def trained(voc_dir, tmp_path_factory):
    """A function: poisons, dropped or not -> weights that a training ends with."""
    folder = tmp_path_factory.mktemp("poisoned")
    built = {}

    def records_of(poisons):
        if poisons not in built:
            voc = folder / "-".join(["voc", *(poison.__name__ for poison in poisons)])
            shutil.copytree(voc_dir, voc)
            for poison in poisons:
                poison(voc)
            built[poisons] = voc.with_suffix(".records")
            build_voc(voc, built[poisons])
        return built[poisons]

    def train(*poisons, drop=False):
        out = folder / f"run{len(list(folder.iterdir()))}"
        out.mkdir()
        settings = dataclasses.replace(SETTINGS, drop_novel_images=drop)
        index = records.load_index(records_of(poisons))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(callbacks, "Validate", lambda *_: keras.callbacks.Callback())
            network = fitting.train(settings, index, out)
        return np.concatenate([np.ravel(v.numpy()) for v in network.trainable_variables])

    return train


@pytest.fixture(scope="module")
def clean(trained):
    return trained()


def test_labels_of_held_out_classes_are_never_read(trained, clean):
    np.testing.assert_array_equal(trained(relabel), clean)


def test_pixels_of_held_out_classes_are_background_as_the_protocol_has_it(trained, clean):
    assert np.abs(trained(invert) - clean).max() > 1e-3


def test_nothing_of_them_is_left_where_their_photos_are_dropped(trained, clean):
    dropped = trained(drop=True)
    assert np.abs(dropped - clean).max() > 1e-3
    np.testing.assert_array_equal(trained(relabel, invert, drop=True), dropped)
