"""The demo set: drawn photos in VOC layout, and the records made of them.

`pipelines.build_demo` builds it by hand, `crnet_tf.train` when it is given no records.
"""

import functools
import json
import pathlib

import numpy as np
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import holds, locked, replaced
from crnet_tf.common.progress import with_progress
from crnet_tf.data import folds
from crnet_tf.data.demo import scenes
from crnet_tf.data.index import Index
from crnet_tf.images import photos, png_files

DATASET = "demo"
TRAIN_PHOTOS = 480
VAL_PHOTOS = 160
# Written beside the photos; raise it when what is drawn changes, so that old sets are noticed.
DRAWING = 1
_SETTINGS_NAME = "settings.json"
_JPEG_QUALITY = (85, 95)


def build_demo(
    out: photos.PathLike,
    seed: int = 0,
    train_photos: int = TRAIN_PHOTOS,
    val_photos: int = VAL_PHOTOS,
    overwrite: bool = False,
) -> Index:
    """Draws the demo set into `out/VOC` and builds `out/records`; leaves a complete one alone.

    Args:
        out: folder to make.
        seed: of everything drawn, at least 0.
        train_photos, val_photos: at least 20 each, so that every class occurs.
        overwrite: draw and build again what is there.

    Raises:
        ValueError: seed or counts out of range.
        FileExistsError: `out` holds a set of other settings, or other things.
        RuntimeError: another process is building it.
    """
    from crnet_tf.data.writing import writer

    _check_numbers(seed, train_photos, val_photos)
    out = pathlib.Path(out)
    counts = {"train": train_photos, "val": val_photos}
    settings = {"drawing": DRAWING, "seed": seed, "photos": counts}
    with locked(out / "VOC") as voc:
        if not _is_drawn(voc, settings, overwrite):
            with replaced(voc) as work:
                _draw_voc(work, seed, counts)
                (work / _SETTINGS_NAME).write_text(json.dumps(settings) + "\n")
    return writer.write_records(
        out / "records",
        {split: _pairs(voc, split, count) for split, count in counts.items()},
        functools.partial(_make_item, num_classes=len(folds.DEMO_CLASSES)),
        dataset=DATASET,
        source=f"pipelines.build_demo, drawing {DRAWING}, seed {seed}",
        # By construction every class has enough pixels (scenes.MIN_PIXELS); OSLSM's grid of
        # 32 px is too coarse for photos of this size.
        filter="none",
        class_names=folds.DEMO_CLASSES,
        overwrite=overwrite,
    )


def _pairs(voc, split, count):
    """(photo file, label file) of a split, in order."""
    return [
        (voc / "JPEGImages" / f"{name}.jpg", voc / "SegmentationClassAug" / f"{name}.png")
        for name in _names(split, count)
    ]


def _names(split, count):
    return [f"demo_{split}_{number:04d}" for number in range(count)]


def _make_item(pair, num_classes):
    from crnet_tf.data.writing.examples import make_example

    return make_example(*pair, filter="none", num_classes=num_classes)


def _check_numbers(seed, train_photos, val_photos):
    if seed < 0:
        raise InputError(f"--seed: expected 0 or more, received {seed}.")
    least = len(folds.DEMO_CLASSES)
    for name, count in (("train", train_photos), ("val", val_photos)):
        if count < least:
            raise InputError(
                f"{name} photos: expected at least {least}, one a class, received {count}."
            )


def _is_drawn(voc, settings, overwrite):
    if not holds(voc, _SETTINGS_NAME, lambda path: True):
        return False
    there = json.loads((voc / _SETTINGS_NAME).read_text())
    if there != settings and not overwrite:
        raise FileExistsError(
            f"{voc}: expected a demo set of {settings}, received one of {there}. --overwrite "
            "draws it again; another --out keeps both."
        )
    return there == settings and not overwrite


def _draw_voc(root, seed, counts):
    """Writes photos, label maps and lists in VOC layout."""
    lists = root / "ImageSets" / "Segmentation"
    for folder in (root / "JPEGImages", root / "SegmentationClassAug", lists):
        folder.mkdir(parents=True)
    for split, file in (("train", "trainaug.txt"), ("val", "val.txt")):
        names = _names(split, counts[split])
        for number in with_progress(range(counts[split]), f"draw {split}"):
            # A photo depends on its own number only: more photos leave the first ones alike.
            rng = np.random.default_rng([seed, split == "val", number])
            photo, label = scenes.draw_scene(_draw_classes(number, rng), rng)
            quality = int(rng.integers(*_JPEG_QUALITY))
            Image.fromarray(photo).save(
                root / "JPEGImages" / f"{names[number]}.jpg", quality=quality, subsampling=0
            )
            encoded = png_files.encode_label(label, png_files.voc_palette())
            (root / "SegmentationClassAug" / f"{names[number]}.png").write_bytes(encoded)
        (lists / file).write_text("".join(f"{name}\n" for name in names))


def _draw_classes(number, rng):
    """Every class is the first in one of 20 photos; one or two others join it."""
    total = len(folds.DEMO_CLASSES)
    first = number % total + 1
    others = [c for c in range(1, total + 1) if c != first]
    return [first, *(int(c) for c in rng.choice(others, rng.integers(1, 3), replace=False))]
