"""YOLO's segmentation format, as Ultralytics reads it: a text file of polygons a photo.

    data.yaml          names of the classes, folders of photos
    images/a.jpg       photos
    labels/a.txt       CLASS X Y X Y X Y ..., one object a line; x, y as shares of the photo

Small polygons stand in front of large ones; boxes (CLASS X Y WIDTH HEIGHT) are left out and
counted. Needs PyYAML to read, not to write.
"""

import json
import os
import pathlib

import numpy as np

from crnet_tf.annotations.answers import PhotoAnswer
from crnet_tf.annotations.labelme_shapes import Shape, draw, in_front_last
from crnet_tf.annotations.listing import (
    MALFORMED,
    PHOTO_SUFFIXES,
    Listing,
    PhotoFile,
    check_file,
    files_of,
    photo_name,
    read_lines,
    second_of_name,
)
from crnet_tf.annotations.outlines import PIXELS
from crnet_tf.annotations.tally import Tally
from crnet_tf.common import files
from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.common.folders import some_files
from crnet_tf.images.mask_values import label_value
from crnet_tf.images.orientation import upright_size

SPLITS = ("train", "val", "test")
_MOST_BYTES = 500_000  # of a data.yaml; a thousand names are 20,000


def list_photos(source: pathlib.Path) -> Listing:
    """Photos of the folders that a `data.yaml` names; one without a text file shows nothing.

    Raises:
        FileNotFoundError: there is no such file or folder, or no photo.
        InputError: it is no such file. BlockedError: PyYAML is missing.
    """
    class_names, folders = _described(source)
    found, problems = _photos_in(folders, source)
    tally, drawn = Tally(), []
    for name, path in found.items():
        try:
            size = upright_size(path)[::-1]
            drawn.append((name, path, size, _shapes(_text_of(path), size, tally)))
        except (OSError, InputError) as error:
            problems.append(str(error))
    held = sorted({shape.label for *_, shapes in drawn for shape in shapes}, key=int)
    unknown = [number for number in held if number not in class_names]
    if unknown:
        raise InputError(
            f"{source}: expected a name for every class, received none for {unknown[:3]}, of "
            "which there are polygons. Name them there, or correct the text files."
        )
    ids = {number: i for i, number in enumerate(held, 1)}
    names = tuple(class_names[number] for number in held)
    return Listing(names, [_listed(*one, ids) for one in drawn], problems, tally.notes())


def read_label(photo: PhotoFile) -> np.ndarray:
    """Label map uint8 [H,W] of a photo, drawn from its polygons."""
    size, shapes = photo.label
    return draw(size, shapes)


def _photos_in(folders, source):
    """{name: file} of the photos, and a problem for each further one of a name."""
    found, problems = {}, []
    for folder in folders:
        for path in files_of(folder, PHOTO_SUFFIXES):
            first = found.setdefault(photo_name(path, folder), path)
            if first != path:
                problems.append(second_of_name(path, first))
    if not found:
        raise FileNotFoundError(
            f"{source}: expected folders with photos, received none in "
            f"{', '.join(map(str, folders))}.{some_files(source.parent)}"
        )
    return found, problems


def _listed(name, path, size, shapes, ids):
    classes = sorted({ids[shape.label] for shape in shapes})
    coloured = tuple((label_value(ids[s.label]), s.kind, s.points) for s in shapes)
    return PhotoFile(name, path, (size, coloured), tuple(classes))


def _described(source):
    """{number, as text: class name} and the folders of photos that a data.yaml names."""
    check_file(source, "a data.yaml of YOLO")
    try:
        import yaml
    except ImportError as error:
        raise BlockedError(
            "YOLO's format: expected the package PyYAML, which reads data.yaml, received none. "
            "Install it: pip install -e '.[yolo]' (or pip install pyyaml)."
        ) from error
    try:
        if source.stat().st_size > _MOST_BYTES:
            raise InputError(f"more than {_MOST_BYTES:,} bytes")
        content = yaml.safe_load(source.read_text(encoding="utf-8-sig"))
        names = content["names"]
        names = dict(enumerate(names)) if isinstance(names, list) else names
        if any(isinstance(name, list | dict) for name in names.values()):
            raise InputError("names that are lists")  # of lists, maybe: of any length as text
        root = source.parent / (content.get("path") or "")
        folders = {root / content[split]: None for split in SPLITS if content.get(split)}
        return {str(i): str(name) for i, name in names.items()}, list(folders)
    except (*MALFORMED, yaml.YAMLError) as error:
        raise InputError(
            f"{source}: expected a data.yaml with names, and folders of photos under train or "
            f"val, received another ({type(error).__name__}: {error}). Correct it."
        ) from error


def _text_of(photo):
    """The text file of a photo: `labels` instead of the last `images` in its path."""
    before, _, below = str(photo).rpartition(f"{os.sep}images{os.sep}")
    folder = f"{before}{os.sep}labels{os.sep}{below}" if before else str(photo)
    return pathlib.Path(folder).with_suffix(".txt")


def _shapes(path, size, tally):
    """The polygons of a text file, the largest first, in px of a photo of (width, height)."""
    shapes = []
    for line in read_lines(path) if path.exists() else ():
        try:
            number, *shares = line.split()
            points = np.array(shares, float).reshape(-1, 2) * size
            shape = Shape(str(int(number)), "polygon", points, None)
        except ValueError as error:
            raise InputError(
                f"{path}: expected lines CLASS X Y X Y X Y ..., received {line[:60]!r}. Export "
                "it again."
            ) from error
        if len(points) == 2:
            tally.add("boxes without outlines; left out", str(path))
        elif len(points) > 2:
            shapes.append(shape)
    return in_front_last(shapes)[0]


# === Written ===


class Writer:
    """Writes `yolo/data.yaml`, `yolo/labels/NAME.txt` and, beside, links to the photos.

    Its polygons are those that OpenCV fills, as Ultralytics does; of an object of several
    parts each part is an object. Shares are of the upright photo.
    """

    def __init__(self, out: pathlib.Path, shapes: str):
        self.out, self.class_names = out / "yolo", ()

    def add(self, answer: PhotoAnswer) -> None:
        """Writes the text of a photo, empty where nothing was found, and the link."""
        self.class_names = answer.class_names
        labels, images = self.out / "labels", self.out / "images"
        for folder in (labels, images):
            files.make_folder(folder)
        lines = [
            _line(one, ring) for one in answer.objects for ring in one.joined_polygons(PIXELS)
        ]
        files.write_text(labels / f"{answer.name}.txt", "".join(lines))
        files.link(answer.path, images / f"{answer.name}{answer.path.suffix}")

    def finish(self) -> None:
        """Writes data.yaml; JSON's way to quote is YAML's, too."""
        names = [
            f"  {number}: {json.dumps(name, ensure_ascii=False)}\n"
            for number, name in enumerate(self.class_names)
        ]
        text = "train: images\nval: images\nnames:\n" + "".join(names)
        files.write_text(self.out / "data.yaml", text)


def _line(one, ring):
    height, width = one.size
    shares = (f"{x / width:.6f} {y / height:.6f}" for x, y in ring)
    return f"{one.class_id - 1} {' '.join(shares)}\n"
