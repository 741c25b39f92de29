"""The same photos as each builder wants them, and a plain loop that writes the same records.

The loop is what one would write with TensorFlow, Pillow and pycocotools alone.
"""

import csv
import dataclasses
import functools
import io
import json
import os
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image
from pycocotools.coco import COCO

from crnet_tf.annotations import class_folders, label_maps
from crnet_tf.data import folds, records
from crnet_tf.images import label_files, png_files
from crnet_tf.images.mask_values import VOID
from pipelines import build_coco, build_demo, build_folder, build_fss1000, build_voc

OBJECTS = 7  # polygons a photo, as in COCO 2014
CORNERS = 24  # of a polygon


@dataclasses.dataclass(frozen=True)
class Case:
    """A builder, and where the photos are that it reads."""

    name: str
    build: Callable[[pathlib.Path], records.Index]  # folder to make -> its index
    photo: Callable[[str], pathlib.Path]  # id -> file
    draw: Callable[[str], np.ndarray] | None = None  # plainly: id -> label map without a file


def cases(pairs: list[tuple[pathlib.Path, pathlib.Path]], work: pathlib.Path) -> list[Case]:
    """Every builder on photos of PASCAL VOC.

    Args:
        pairs: (photo, label map) files.
        work: empty folder for the layouts that the builders want; photos are linked to.
    """
    made = [
        _voc(pairs, work / "voc"),
        _coco(pairs, work / "coco"),
        _fss1000(pairs, work / "fss1000"),
        _folders(pairs, work / "folders"),
        _labelmaps(pairs, work / "labelmaps"),
    ]
    return [*made, _demo(len(pairs))]


def _halves(pairs):
    """{"train", "val"}: a few photos in val, as some builders want both."""
    return {"train": pairs[:-4], "val": pairs[-4:]}


def _voc(pairs, root):
    lists = root / "ImageSets" / "Segmentation"
    for folder in (lists, root / "JPEGImages", root / "SegmentationClassAug"):
        folder.mkdir(parents=True)
    for photo, label in pairs:
        os.symlink(photo, root / "JPEGImages" / photo.name)
        os.symlink(label, root / "SegmentationClassAug" / label.name)
    for split, file in (("train", "trainaug.txt"), ("val", "val.txt")):
        names = [photo.stem for photo, _ in _halves(pairs)[split]]
        (lists / file).write_text("\n".join(names))
    return Case(
        "build_voc",
        lambda out: build_voc.build_voc(root, out, filter="none"),
        lambda name: root / "JPEGImages" / f"{name}.jpg",
    )


def _coco(pairs, root):
    """Ellipses of random places and classes: drawing costs what COCO's polygons cost."""
    (root / "annotations").mkdir(parents=True)
    categories = [{"id": i, "name": name} for i, name in enumerate(folds.COCO_CLASSES, 1)]
    found = {}  # id -> photo, function that draws it
    for split, chosen in _halves(pairs).items():
        (root / f"{split}2014").mkdir()
        images, annotations = [], []
        for number, (photo, label) in enumerate(chosen):
            os.symlink(photo, root / f"{split}2014" / photo.name)
            height, width = label_files.read_label(label).shape
            size = {"height": height, "width": width}
            images.append({"id": number, "file_name": photo.name, **size})
            for polygon in _ellipses(height, width, np.random.default_rng(number)):
                annotations.append(
                    {"id": len(annotations), "image_id": number, "iscrowd": 0,
                     "category_id": 1 + len(annotations) % 80, "segmentation": [polygon]}
                )  # fmt: skip
        content = {"images": images, "annotations": annotations, "categories": categories}
        path = root / "annotations" / f"instances_{split}2014.json"
        path.write_text(json.dumps(content))
        annotated = COCO(path)
        for number, (photo, _) in enumerate(chosen):
            found[photo.stem] = photo, functools.partial(_painted, annotated, number)
    return Case(
        "build_coco",
        lambda out: build_coco.build_coco(root, out, filter="none"),
        lambda name: found[name][0],
        lambda name: found[name][1](),
    )


def _painted(annotated, image_id):
    """Label map of a photo, smaller objects over larger ones."""
    objects = [
        (annotated.annToMask(annotation), annotation["category_id"])
        for annotation in annotated.imgToAnns[image_id]
    ]
    objects.sort(key=lambda drawn: -np.count_nonzero(drawn[0]))
    label = np.zeros_like(objects[0][0])
    for mask, category_id in objects:
        label[mask == 1] = category_id
    return label


def _ellipses(height, width, random):
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    for _ in range(OBJECTS):
        x, y = random.uniform(0, width), random.uniform(0, height)
        across, down = random.uniform(0.05, 0.3, 2) * (width, height)
        corners = np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], axis=1)
        yield corners.ravel().round(2).tolist()


def _fss1000(pairs, root):
    """Classes of ten photos each; one of them tests."""
    data = root / "data"
    for number, (photo, label) in enumerate(pairs):
        folder, name = data / f"class{number // 10:03d}", number % 10 + 1
        folder.mkdir(parents=True, exist_ok=True)
        os.symlink(photo, folder / f"{name}.jpg")
        _write_mask(folder / f"{name}.png", label)
    (root / "test.txt").write_text("class000")
    return Case(
        "build_fss1000",
        lambda out: build_fss1000.build_fss1000(data, out, root / "test.txt"),
        lambda name: data / f"{name}.jpg",
    )


def _folders(pairs, root):
    """Photos of one class each, the first one in their label map."""
    for photo, label in pairs:
        ids = np.unique(label_files.read_label(label))
        folder = root / folds.PASCAL_CLASSES[min(set(ids.tolist()) - {0, VOID}) - 1]
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        os.symlink(photo, folder / "images" / photo.name)
        _write_mask(folder / "masks" / label.name, label)
    return _of_folder("folders", class_folders, [root], lambda name: _below_images(root, name))


def _below_images(root, name):
    class_name, _, photo = name.partition("/")
    return root / class_name / "images" / f"{photo}.jpg"


def _labelmaps(pairs, root):
    for kind, column in (("images", 0), ("labels", 1)):
        (root / kind).mkdir(parents=True)
        for pair in pairs:
            os.symlink(pair[column], root / kind / pair[column].name)
    with open(root / "table.csv", "w", newline="") as file:
        csv.writer(file).writerows(zip(folds.PASCAL_CLASSES, range(1, 21), strict=True))
    paths = [root / "images", root / "labels", root / "table.csv"]
    return _of_folder("labelmaps", label_maps, paths, lambda name: paths[0] / f"{name}.jpg")


def _of_folder(name, module, paths, photo):
    return Case(
        f"build_folder, {name}",
        lambda out: build_folder.build_folder(
            module.list_photos(*paths), module.read_label, out, source=name, name="mine"
        ),
        photo,
    )


def _demo(count):
    """Draws its photos too: the plain loop only writes them."""
    drawn = []

    def build(out):
        drawn[:] = [out]
        return build_demo.build_demo(out, train_photos=max(20, count - 20), val_photos=20)

    photo = "VOC/JPEGImages/{}.jpg"
    return Case("build_demo, which draws", build, lambda name: drawn[0] / photo.format(name))


def _write_mask(path, label):
    ids = label_files.read_label(label)
    mask = np.where((ids > 0) & (ids < VOID), 255, 0).astype(np.uint8)
    png_files.write_png(path, mask)


# === The plain loop ===


@dataclasses.dataclass(frozen=True)
class Source:
    """A photo as the plain loop is given it: all decisions are taken already."""

    name: str
    photo: pathlib.Path
    label: Callable[[], np.ndarray]  # reads the label map that the builder stored, or draws it
    streams: list[tuple[str, str]]  # (split, class id)


def sources(index: records.Index, case: Case, folder: pathlib.Path) -> list[Source]:
    """What a builder has stored; label maps that are not drawn are written into `folder`."""
    folder.mkdir()
    found = {}
    for split, content in index.splits.items():
        for class_id in content["classes"]:
            dataset = tf.data.TFRecordDataset(index.files(split, int(class_id)))
            for serialized in dataset.as_numpy_iterator():
                name = records.filename(serialized)
                if name not in found:
                    if case.draw:
                        label = functools.partial(case.draw, name)
                    else:
                        label = _stored(serialized, folder / f"{len(found)}.png")
                    found[name] = Source(name, case.photo(name), label, [])
                found[name].streams.append((split, class_id))
    return list(found.values())


def _stored(serialized, path):
    features = tf.train.Example.FromString(serialized).features.feature
    path.write_bytes(features[records.LABEL].bytes_list.value[0])
    return functools.partial(_read, path)


def _read(path):
    return np.array(Image.open(path))


def write_plainly(given: list[Source], folder: pathlib.Path) -> None:
    """The bare minimum: files read, put into Examples, written to one stream a class."""
    folder.mkdir()
    streams = {}
    for source in given:
        record = _example(source.photo.read_bytes(), source.label(), source.name)
        for key in source.streams:
            if key not in streams:
                streams[key] = tf.io.TFRecordWriter(str(folder / "-".join(key)))
            streams[key].write(record)
    for stream in streams.values():
        stream.close()


def _example(image, pixels, name):
    height, width = pixels.shape
    label = io.BytesIO()
    Image.fromarray(pixels).save(label, "PNG")
    features = {
        records.IMAGE: image,
        records.IMAGE_FORMAT: b"jpeg",
        records.HEIGHT: height,
        records.WIDTH: width,
        records.FILENAME: name.encode(),
        records.LABEL: label.getvalue(),
        records.LABEL_FORMAT: b"png",
    }
    example = tf.train.Example(
        features=tf.train.Features(feature={key: _feature(v) for key, v in features.items()})
    )
    return example.SerializeToString(deterministic=True)


def _feature(value):
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
