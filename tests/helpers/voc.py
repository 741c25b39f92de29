"""A small data set in the layout of PASCAL VOC."""

import pathlib

import numpy as np
from PIL import Image

from crnet_tf.images import png_files


def write_voc(root: pathlib.Path, train: int, val: int) -> pathlib.Path:
    """A tree in VOC layout: every photo 140x110 px holds two classes in two rectangles."""
    for folder in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    palette = np.frombuffer(png_files.voc_palette(), np.uint8).reshape(256, 3)
    for split, file, count in (("train", "trainaug.txt", train), ("val", "val.txt", val)):
        names = [f"2007_{split}_{i:03d}" for i in range(count)]
        for i, name in enumerate(names):
            label = two_classes(i % 20 + 1, (i % 20 + 5 + i // 20) % 20 + 1)
            noise = np.random.default_rng(i).integers(0, 60, (*label.shape, 3))
            photo = np.clip(palette[np.where(label == 255, 0, label)] + noise, 0, 255)
            Image.fromarray(photo.astype(np.uint8)).save(root / "JPEGImages" / f"{name}.jpg")
            png_files.write_label(
                root / "SegmentationClassAug" / f"{name}.png", label, png_files.voc_palette()
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
