"""Any number of small photos: drawn ones, again and again; and a tiny network for them."""

import itertools
import os
import pathlib

import keras
import numpy as np
from PIL import Image

from crnet_tf.config import Config
from crnet_tf.data.demo import scenes
from crnet_tf.fewshot.learnt_files import Learnt, write
from crnet_tf.images import png_files
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network.model import build_crnet

DRAWN = 100


def draw(folder: pathlib.Path) -> list[LabelledPhoto]:
    """A hundred drawn photos of classes 1 to 5 in turn, as files `NUMBER.jpg`, `NUMBER.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for number in range(DRAWN):
        class_id = number % 5 + 1
        image, label = scenes.draw_scene([class_id], np.random.default_rng(number))
        drawn.append(LabelledPhoto(image, (label == class_id).astype(np.uint8)))
        Image.fromarray(image).save(folder / f"{number}.jpg", quality=90)
        png_files.write_label(folder / f"{number}.png", label, png_files.voc_palette())
    return drawn


def write_model(folder: pathlib.Path, example: LabelledPhoto) -> pathlib.Path:
    """What `--model` takes: a tiny network, not trained, that was shown an example."""
    keras.utils.set_random_seed(0)
    config = Config(backbone="tiny", backbone_weights="none", image_size=33, channels=8)
    build_crnet(config).save(folder / "tiny.keras")
    learnt = Learnt(folder / "tiny.keras", {"kshot": "mean"}, 0.5, {"thing": [example]}, [])
    write(folder / "thing.crnet", learnt)
    return folder / "thing.crnet"


def write_list(path: pathlib.Path, drawn: pathlib.Path, count: int) -> None:
    """A list of `count` photos, the drawn ones again and again."""
    with open(path, "w") as file:
        for number in range(count):
            file.write(f"{drawn}/{number % DRAWN}.jpg\n")


def write_voc(
    root: pathlib.Path, drawn: pathlib.Path, count: int, large: str = "trainaug"
) -> None:
    """`count` photos in VOC's layout, links to the drawn ones; all but 20 in the list `large`,
    trainaug or val, these in the other."""
    names = [f"{number:07d}" for number in range(count)]
    for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClassAug", "png")):
        (root / folder).mkdir(parents=True)
        for name, number in zip(names, itertools.cycle(range(DRAWN)), strict=False):
            os.link(drawn / f"{number}.{suffix}", root / folder / f"{name}.{suffix}")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    small = {"trainaug": "val", "val": "trainaug"}[large]
    for name, part in ((large, names[:-20]), (small, names[-20:])):
        (lists / f"{name}.txt").write_text("\n".join(part) + "\n")
