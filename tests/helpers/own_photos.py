"""The same six scenes of three classes in every format that photos of one's own may have."""

import json

import numpy as np
from PIL import Image

from crnet_tf.images import png_files

HEIGHT, WIDTH = 36, 48
CLASSES = ("cat", "dog", "élan")
COLOURS = {"cat": (128, 0, 0), "dog": (64, 0, 128), "élan": (0, 128, 0)}


def boxes(number):
    """{class id: (top, left, bottom, right)} of scene `number`: two classes, side by side."""
    first, second = number % 3 + 1, (number + 1) % 3 + 1
    return {first: (4 + number, 5, 20, 20), second: (6, 26 + number, 30, 44)}


def scene(number):
    """Label map uint8 [H,W] of a scene."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    for class_id, (top, left, bottom, right) in boxes(number).items():
        label[top:bottom, left:right] = class_id
    return label


def write_photo(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(noise).save(path)


def write_folders(root, per_class=5, size=(HEIGHT, WIDTH)):
    for class_id, name in enumerate(CLASSES, 1):
        for number in range(per_class):
            write_photo(root / name / "images" / f"{name}{number}.jpg", [class_id, number])
            mask = 255 * (np.indices(size)[0] >= 10 + class_id)
            (root / name / "masks").mkdir(exist_ok=True)
            png_files.write_png(
                root / name / "masks" / f"{name}{number}.png", mask.astype(np.uint8)
            )
    return root


def write_labelme(root, count=6):
    for number in range(count):
        write_photo(root / f"p{number}.jpg", number)
        shapes = [{"label": "dog", "shape_type": "point", "points": [[3, 3]]}]
        for class_id, (top, left, bottom, right) in boxes(number).items():
            corners = [[right - 1, top], [left, bottom - 1]]
            shapes.append(
                {"label": CLASSES[class_id - 1], "shape_type": "rectangle", "points": corners}
            )
        content = {"shapes": shapes, "imagePath": f"..\\elsewhere\\p{number}.jpg"}
        content |= {"imageWidth": WIDTH, "imageHeight": HEIGHT, "imageData": None}
        (root / f"p{number}.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def write_label_maps(root, in_colour, count=6):
    table = np.zeros((256, 3), np.uint8)
    for class_id, name in enumerate(CLASSES, 1):
        table[class_id] = COLOURS[name]
    for number in range(count):
        write_photo(root / "photos" / f"p{number}.jpg", number)
        (root / "maps").mkdir(exist_ok=True)
        label = scene(number)
        png_files.write_png(
            root / "maps" / f"p{number}.png", table[label] if in_colour else label
        )
    rows = [
        f"{name},{','.join(map(str, colour)) if in_colour else i}"
        for i, (name, colour) in enumerate(COLOURS.items(), 1)
    ]
    heading = "name,r,g,b" if in_colour else "name,id"
    (root / "table.csv").write_text("\n".join([heading, *rows]), encoding="utf-8")
    return root / "photos", root / "maps", root / "table.csv"


def write_coco(root, count=6):
    images, annotations = [], []
    for number in range(count):
        write_photo(root / "photos" / f"p{number}.jpg", number)
        images.append(
            {"id": 7 * number, "file_name": f"p{number}.jpg", "width": WIDTH, "height": HEIGHT}
        )
        for class_id, (top, left, bottom, right) in boxes(number).items():
            polygon = [left, top, right, top, right, bottom, left, bottom]
            annotations.append(
                {"image_id": 7 * number, "category_id": 10 * class_id, "iscrowd": 0,
                 "area": (bottom - top) * (right - left), "segmentation": [polygon]}
            )  # fmt: skip
    categories = [{"id": 10 * i, "name": name} for i, name in enumerate(CLASSES, 1)]
    categories.append({"id": 99, "name": "unicorn"})
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    return root / "instances.json", root / "photos"
