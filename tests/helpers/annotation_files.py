"""Annotations of one photo in the formats of other tools, small and right; and what reads
them, whatever they say."""

import json
import pathlib

import numpy as np

from crnet_tf.annotations import brush, coco_json, label_studio, labelme, yolo
from crnet_tf.common.errors import InputError
from crnet_tf.images import png_files

SIZE = 12, 16  # H, W
PHOTO = "a.png"
LABELME = {
    "imagePath": PHOTO,
    "imageHeight": SIZE[0],
    "imageWidth": SIZE[1],
    "shapes": [
        {"label": "cat", "shape_type": "polygon", "points": [[1, 1], [9, 2.5], [5, 8]]},
        {"label": "cat", "shape_type": "rectangle", "points": [[10, 1], [14, 5]]},
        {"label": "dog", "shape_type": "circle", "points": [[8, 8], [10, 8]]},
        {"label": "__ignore__", "shape_type": "polygon", "points": [[0, 0], [2, 0], [0, 2]]},
        {"label": "dog", "shape_type": "line", "points": [[0, 0], [2, 2]]},
    ],
}
COCO = {
    "images": [{"id": 7, "file_name": PHOTO, "height": SIZE[0], "width": SIZE[1]}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}],
    "annotations": [
        {
            "id": 1, "image_id": 7, "category_id": 1, "iscrowd": 0,
            "segmentation": [[1, 1, 9, 2.5, 5, 8], [10, 1, 14, 1, 14, 5]],
        },
        {
            "id": 2, "image_id": 7, "category_id": 5, "iscrowd": 1,
            "segmentation": {"size": [*SIZE], "counts": [100, 30, 62]},
        },
        {
            "id": 3, "image_id": 7, "category_id": 5,
            "segmentation": {"size": [*SIZE], "counts": "k03900000000000a2"},
        },
    ],
}  # fmt: skip
_STROKE = np.zeros(SIZE, bool)
_STROKE[5:8, 3:9] = True
_AT = {"original_height": SIZE[0], "original_width": SIZE[1]}
STUDIO = [
    {
        "data": {"image": f"/data/upload/1/{PHOTO}"},
        "annotations": [
            {
                "result": [
                    {
                        "type": "polygonlabels", **_AT,
                        "value": {
                            "points": [[0, 0], [50, 0], [50, 90]], "polygonlabels": ["cat"],
                        },
                    },
                    {
                        "type": "brushlabels", **_AT,
                        "value": {
                            "format": "rle", "rle": brush.encoded(_STROKE),
                            "brushlabels": ["dog"],
                        },
                    },
                ]
            }
        ],
    }
]  # fmt: skip
YOLO = {"path": ".", "train": ".", "names": {0: "cat", 1: "dog"}}
YOLO_LINES = "0 0.1 0.1 0.6 0.2 0.3 0.7\n1 0.5 0.5 0.9 0.5 0.9 0.9 0.5 0.9\n"
DOCUMENTS = {"labelme": LABELME, "coco": COCO, "labelstudio": STUDIO, "yolo": YOLO}

_READERS = {
    "labelme": (lambda path: labelme.list_photos(path.parent), labelme.read_label),
    "coco": (lambda path: coco_json.list_photos(path, path.parent), coco_json.read_label),
    "labelstudio": (
        lambda path: label_studio.list_photos(path, path.parent),
        label_studio.read_label,
    ),
    "yolo": (yolo.list_photos, yolo.read_label),
}


def write_photo(folder: pathlib.Path) -> pathlib.Path:
    """The photo that the documents are of; its folder."""
    png_files.write_png(folder / PHOTO, np.zeros((*SIZE, 3), np.uint8))
    return folder


def read(folder: pathlib.Path, kind: str, content: bytes, lines: bytes | None = None) -> list:
    """Label maps of the photos that a file of a kind of `DOCUMENTS` says. (JSON is YAML, too.)

    Args:
        folder: of `write_photo`. lines: of the text file beside the photo, in YOLO's format.

    Raises:
        InputError, FileNotFoundError: what the readers raise, of the file or of one photo.
    """
    path = folder / "a.json"
    path.write_bytes(content)
    if kind == "yolo":
        (folder / PHOTO).with_suffix(".txt").write_bytes(lines or YOLO_LINES.encode())
    list_photos, read_label = _READERS[kind]
    listing = list_photos(path)
    for problem in listing.problems:
        assert "a.json" in problem or "expected" in problem, problem
    labels = [read_label(photo) for photo in listing.photos]
    assert all(label.shape == SIZE and label.dtype == np.uint8 for label in labels)
    return labels


def check(folder: pathlib.Path, kind: str, content: bytes, lines: bytes | None = None) -> bool:
    """Whether `read` gives a label map; an error of it must say what was expected."""
    try:
        return bool(read(folder, kind, content, lines))
    except (InputError, FileNotFoundError) as error:
        assert "expected" in str(error), error
        return False


def text(kind: str) -> bytes:
    """The right document of a kind as a file."""
    return json.dumps(DOCUMENTS[kind]).encode()
