"""COCO in its own layout: JSON of instances, polygons, crowds as run lengths."""

import json

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from crnet_tf.data import folds

HEIGHT, WIDTH = 100, 120
GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
CATEGORY_IDS = [i for i in range(1, 91) if i not in GAPS]
CLASS_IDS = {category: number for number, category in enumerate(CATEGORY_IDS, 1)}
PERSON, STOP_SIGN, TOOTHBRUSH = 1, 13, 90  # category ids; classes 1, 12, 80


def box(left, top, right, bottom):
    """A rectangle as a polygon: pixels left..right-1, top..bottom-1."""
    return [left, top, right, top, right, bottom, left, bottom]


def box_mask(left, top, right, bottom):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[max(top, 0) : bottom, max(left, 0) : right] = 1
    return mask


def packed(mask):
    """Compressed run lengths, as in result files."""
    runs = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(runs["size"]), "counts": runs["counts"].decode()}


def uncompressed(mask):
    """Run lengths as in the annotation files, where crowds have them."""
    pixels = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], pixels])))
    counts = np.diff(np.concatenate([[0], edges, [pixels.size]]))
    return {"counts": counts.tolist(), "size": list(mask.shape)}


def annotation(number, image_id, category_id, segmentation, iscrowd=0):
    return {
        "segmentation": segmentation,
        "area": 1.0,
        "iscrowd": iscrowd,
        "image_id": image_id,
        "bbox": [0.0, 0.0, 1.0, 1.0],
        "category_id": category_id,
        "id": number,
    }


def image(name, number):
    file = f"COCO_{name}_{number:012d}.jpg"
    return {
        "license": 1,
        "file_name": file,
        "coco_url": f"http://images.cocodataset.org/{name}/{file}",
        "height": HEIGHT,
        "width": WIDTH,
        "date_captured": "2013-11-14 16:03:19",
        "flickr_url": "",
        "id": number,
    }


def write_json(path, images, annotations):
    categories = [
        {"supercategory": "thing", "id": i, "name": name}
        for i, name in zip(CATEGORY_IDS, folds.COCO_CLASSES, strict=True)
    ]
    content = {
        "info": {"description": "COCO Dataset", "year": 2014},
        "images": images,
        "licenses": [{"url": "", "id": 1, "name": ""}],
        "annotations": annotations,
        "categories": categories,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_coco(root, year="2014"):
    """Two photos with two classes and one without annotations, of train and of val."""
    for split, first in (("train", 9), ("val", 42)):
        name = f"{split}{year}"
        (root / name).mkdir(parents=True)
        images = [image(name, number) for number in (first + 2, first, first + 1)]
        for entry in images:
            pixels = np.full((HEIGHT, WIDTH, 3), entry["id"], np.uint8)
            Image.fromarray(pixels).save(root / name / entry["file_name"])
        annotations = [
            annotation(1, first, PERSON, [box(0, 0, 60, 50)]),
            annotation(2, first + 1, TOOTHBRUSH, packed(box_mask(60, 0, 120, 50))),
            annotation(3, first, TOOTHBRUSH, [box(60, 0, 120, 50)]),
            annotation(4, first + 1, STOP_SIGN, [box(0, 50, 60, 100)]),
            annotation(5, first, PERSON, uncompressed(box_mask(0, 60, 120, 90)), iscrowd=1),
        ]
        write_json(root / "annotations" / f"instances_{name}.json", images, annotations)
    return root
