import json
import os
import pathlib
import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from helpers import commands
from PIL import Image

from crnet_tf.annotations import class_folders, coco, coco_json, label_maps, labelme
from crnet_tf.annotations.listing import PhotoFile, files_of, read_lines
from crnet_tf.data import records
from crnet_tf.images import png_files
from pipelines import build_folder, verify
from pipelines.sources import own_splits

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


def build(module, listing, out, **options):
    return build_folder.build_folder(listing, module.read_label, out, source="x", **options)


def parsed(index):
    """{photo id: label map} of all records, and {split: ids}."""
    labels, ids = {}, {}
    for split in index.splits:
        for class_id in range(1, len(index.class_names) + 1):
            for data in tf.data.TFRecordDataset(index.files(split, class_id)):
                record = records.parse(data)
                name = record["filename"].numpy().decode()
                labels[name] = record["label"].numpy()[..., 0]
                ids.setdefault(split, set()).add(name)
    return labels, ids


@pytest.mark.parametrize("kind", ["labelme", "ids", "colours", "coco"])
def test_all_formats_of_the_same_scenes_give_the_same_label_maps(tmp_path, kind):
    if kind == "labelme":
        module, listing = labelme, labelme.list_photos(write_labelme(tmp_path / "in"))
        assert listing.notes == ["6 shapes of kind point left out."]
    elif kind == "coco":
        pytest.importorskip("pycocotools")
        module, listing = coco_json, coco_json.list_photos(*write_coco(tmp_path / "in"))
    else:
        paths = write_label_maps(tmp_path / "in", in_colour=kind == "colours")
        module, listing = label_maps, label_maps.list_photos(*paths)
    index = build(module, listing, tmp_path / "out", folds=3)
    assert index.class_names == CLASSES and index.num_folds == 3
    labels, ids = parsed(index)
    assert labels.keys() == {f"p{number}" for number in range(6)}
    for number in range(6):
        np.testing.assert_array_equal(labels[f"p{number}"], scene(number))
    assert not ids["train"] & ids["val"]


def test_class_folders(tmp_path):
    source = write_folders(tmp_path / "in")
    png_files.write_png(  # 0, 1 and void
        source / "cat" / "masks" / "cat0.png",
        scene(0) * 255 + (scene(0) == 2).astype(np.uint8) * 2,
    )
    index = build(
        class_folders, class_folders.list_photos(source), tmp_path / "out", test_classes=["dog"]
    )
    assert index.dataset == "out" and index.test_classes(0) == (2,)
    assert index.train_classes(0) == (1, 3)
    labels, ids = parsed(index)
    assert set(np.unique(labels["dog/dog1"])) == {0, 2}
    np.testing.assert_array_equal(labels["dog/dog1"] == 2, np.indices((HEIGHT, WIDTH))[0] >= 12)
    assert {name for name in ids["val"] if name.startswith("dog")} == {
        f"dog/dog{n}" for n in range(5)
    }  # nothing ever trains on them
    assert sum(name.startswith("cat") for name in ids["val"]) == 2
    text = build_folder.table(index)
    assert "too few" not in text and "fold 0 tests on dog" in text


def test_masks_with_void(tmp_path):
    mask = np.array([[0, 1, 255]], np.uint8)
    png_files.write_png(tmp_path / "m.png", mask)
    label = class_folders.read_label(
        PhotoFile("a", tmp_path / "a.jpg", tmp_path / "m.png", (7,))
    )
    np.testing.assert_array_equal(label, [[0, 7, 255]])


def labelme_photo(folder, size, shapes):
    Image.new("RGB", size).save(folder / "a.png")
    drawn = [(value, kind, np.array(points)) for value, kind, points in shapes]
    return PhotoFile("a", folder / "a.png", (size, drawn), (5,))


def test_labelme_polygons_circles_and_special_labels(tmp_path):
    shapes = (
        (5, "circle", ((20.0, 20.0), (20.0, 30.0))),
        (255, "polygon", ((30.0, 0.0), (40.0, 0.0), (40.0, 10.0), (30.0, 10.0))),
        (0, "rectangle", ((18.0, 18.0), (22.0, 22.0))),
    )
    label = labelme.read_label(labelme_photo(tmp_path, (60, 50), shapes))
    assert label.shape == (50, 60) and label.dtype == np.uint8
    distance = np.hypot(*(np.indices((50, 60)) - 20))
    assert np.all(label[(distance < 9) & (distance > 3)] == 5)
    assert not np.any(label[distance > 11] == 5)
    assert np.all(label[18:23, 18:23] == 0)
    assert np.all(label[0:11, 30:41] == 255) and np.sum(label == 255) == 121


def test_labelme_polygons_take_little_memory(tmp_path):
    path = write_labelme(tmp_path, count=1) / "p0.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    polygon = [[n % WIDTH + 0.5, n % HEIGHT + 0.25] for n in range(100_000)]
    content["shapes"] = [{"label": "cat", "points": polygon}]
    path.write_text(json.dumps(content), encoding="utf-8")
    del content, polygon
    tracemalloc.start()
    listing = labelme.list_photos(tmp_path)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(listing.photos) == 1 and kept < 2_500_000  # 16 bytes a corner and a little


def test_photos_without_a_labelme_file_are_counted(tmp_path):
    write_labelme(tmp_path)
    for photo in ("extra.jpg", "below/extra.png"):
        write_photo(tmp_path / photo, 0)
    (tmp_path / "p0.json").rename(tmp_path / "other.json")  # names its photo p0.jpg itself
    listing = labelme.list_photos(tmp_path)
    assert len(listing.photos) == 6 and not listing.problems
    assert listing.notes[1:] == ["2 photos without a usable JSON file; left out."]


def test_two_labelme_files_of_one_photo_are_a_problem(tmp_path):
    """Two records of it would each call the other's objects background."""
    write_labelme(tmp_path, count=3)
    content = (tmp_path / "p1.json").read_text()
    (tmp_path / "second_look.json").write_text(content)
    listing = labelme.list_photos(tmp_path)
    assert [photo.name for photo in listing.photos] == ["p0", "p1", "p2"]
    (problem,) = listing.problems
    assert "second_look.json: expected a photo of its own, received p1.jpg" in problem


def test_wrong_labelme_files(tmp_path):
    write_labelme(tmp_path, count=4)
    (tmp_path / "p0.json").write_text("{")
    (tmp_path / "p1.jpg").unlink()
    content = json.loads((tmp_path / "p2.json").read_text())
    content["shapes"] = [{"label": "cat", "shape_type": "polygon", "points": [[1, 2]]}]
    (tmp_path / "p2.json").write_text(json.dumps(content))
    listing = labelme.list_photos(tmp_path)
    assert len(listing.photos) == 1 and len(listing.problems) == 3
    for name, problem in zip(("p0", "p1", "p2"), listing.problems, strict=True):
        assert f"{name}.json: expected" in problem
    with pytest.raises(ValueError, match="p0.json.*And 2 more. --on_error=skip"):
        build(labelme, listing, tmp_path / "out")


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("imagePath", None, "imagePath None, which is no text"),
        ("imagePath", 7, "imagePath 7, which is no text"),
        ("imageWidth", float("inf"), "OverflowError"),
        ("imageHeight", float("nan"), "ValueError"),
        ("imageHeight", None, "TypeError"),
        ("shapes", [{"label": "cat", "points": [[10**400, 0]] * 3}], "OverflowError"),
        ("shapes", None, "TypeError"),
    ],
)
def test_wrong_values_in_labelme_files(tmp_path, key, value, message):
    path = write_labelme(tmp_path) / "p0.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {key: value}), encoding="utf-8")
    listing = labelme.list_photos(tmp_path)
    (problem,) = listing.problems
    assert "p0.json: expected a JSON file of Labelme" in problem and message in problem
    assert len(listing.photos) == 5


def test_json_of_many_brackets(tmp_path):
    (write_labelme(tmp_path / "a") / "p0.json").write_text("[" * 200_000)
    (problem,) = labelme.list_photos(tmp_path / "a").problems
    assert "p0.json: expected a JSON file of Labelme" in problem
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path / "b")
    annotations.write_text("[" * 200_000)
    with pytest.raises(ValueError, match="expected COCO's JSON format.*RecursionError"):
        coco_json.list_photos(annotations, images)


def test_objects_without_a_segmentation_are_counted(tmp_path):
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path)
    content = json.loads(annotations.read_text())
    boxes = [
        {"image_id": image_id, "category_id": 20, "bbox": [0, 0, 9, 9]} | drawn
        for image_id, drawn in ((0, {}), (7, {"segmentation": []}))
    ]
    content["annotations"] += boxes
    annotations.write_text(json.dumps(content))
    notes = coco_json.list_photos(annotations, images).notes
    assert "2 objects without a segmentation; background." in notes


def test_files_as_windows_writes_them(tmp_path):
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path / "coco")
    content = json.loads(annotations.read_text())
    for image in content["images"]:
        image["file_name"] = f"..\\{images.name}\\{image['file_name']}"
    content["annotations"][0]["iscrowd"] = "0"
    annotations.write_text(json.dumps(content), encoding="utf-8-sig")
    listing = coco_json.list_photos(annotations, images)
    assert not listing.problems and len(listing.photos) == 6
    assert not listing.photos[0].label[0].annotations[0].crowd
    path = write_labelme(tmp_path / "labelme") / "p0.json"
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert not labelme.list_photos(path.parent).problems


def test_coco_crowds_are_void_and_small_objects_in_front(tmp_path):
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path)
    content = json.loads(annotations.read_text())
    whole = [[0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]]
    half = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH // 2, HEIGHT * WIDTH // 2]}
    content["annotations"] += [
        {"image_id": 0, "category_id": 20, "area": 9999, "iscrowd": 0, "segmentation": whole},
        {"image_id": 7, "category_id": 20, "area": 1, "iscrowd": 1, "segmentation": half},
    ]
    annotations.write_text(json.dumps(content))
    listing = coco_json.list_photos(annotations, images)
    first, second = (coco_json.read_label(photo) for photo in listing.photos[:2])
    np.testing.assert_array_equal(first, np.where(scene(0), scene(0), 2))
    expected = scene(1)
    expected[:, : WIDTH // 2][expected[:, : WIDTH // 2] == 0] = 255
    np.testing.assert_array_equal(second, expected)


def test_coco_photos_without_a_segmentation_are_left_out_and_counted(tmp_path):
    """Whether their files are there or not."""
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path / "in")
    write_photo(images / "bare.jpg", 0)
    content = json.loads(annotations.read_text(encoding="utf-8"))
    for number, name in enumerate(["bare.jpg", "elsewhere.jpg"], 100):
        entry = {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}
        content["images"].append(entry)
    annotations.write_text(json.dumps(content), encoding="utf-8")
    listing = coco_json.list_photos(annotations, images)
    assert [photo.name for photo in listing.photos] == [f"p{i}" for i in range(6)]
    assert listing.problems == []
    assert "2 photos without a segmentation; left out." in listing.notes
    index = build(coco_json, listing, tmp_path / "out")
    assert sum(split["photos"] for split in index.splits.values()) == 6


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c.pop("categories"), "expected COCO's JSON format.*KeyError"),
        (lambda c: c["annotations"][0].update(image_id=1), "unknown image or category"),
        (lambda c: c["annotations"].clear(), "expected objects with a segmentation"),
        (lambda c: c["images"][1].update(id=0), r"every photo once, received id \[0\] more"),
        (
            lambda c: c["images"][1].update(file_name="p0.jpg"),
            r"every photo once, received file_name \['p0.jpg'\]",
        ),
        (
            lambda c: c["categories"][1].update(id=10),
            r"every category once, received id \[10\]",
        ),
        (
            lambda c: c["categories"][1].update(name="cat"),
            r"every category once, received name \['cat'\]",
        ),
        (lambda c: c["images"][0].update(file_name=7), "file_name 7, which is no text"),
        (lambda c: c["images"][0].update(height=float("inf")), "JSON format.*OverflowError"),
        (lambda c: c["images"][0].update(width="wide"), "JSON format.*ValueError"),
        (lambda c: c["categories"][0].update(id="one"), "category ids of the types int, str"),
        (lambda c: c["categories"][0].update(name=3), "name 3, which is no text"),
    ],
)
def test_wrong_coco_files(tmp_path, change, message):
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path)
    content = json.loads(annotations.read_text())
    change(content)
    annotations.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        coco_json.list_photos(annotations, images)


@pytest.mark.parametrize("kind", ["labelme", "coco"])
@pytest.mark.parametrize("width", [2**40, -WIDTH, WIDTH + 1])
def test_a_label_map_is_drawn_at_its_photos_size_only(tmp_path, capsys, kind, width):
    """2**40 px would take more memory than there is; NumPy and Pillow refuse it at once."""
    if kind == "labelme":
        module, arguments = labelme, [write_labelme(tmp_path / "in")]
        path = tmp_path / "in" / "p0.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content |= {"imageWidth": width, "imageHeight": max(width, HEIGHT)}
        path.write_text(json.dumps(content), encoding="utf-8")
    else:
        pytest.importorskip("pycocotools")
        module, arguments = coco_json, write_coco(tmp_path / "in")
        content = json.loads(arguments[0].read_text())
        content["images"][0] |= {"width": width, "height": max(width, HEIGHT)}
        arguments[0].write_text(json.dumps(content))
    listing = module.list_photos(*arguments)
    build(module, listing, tmp_path / "out", folds=3, on_error="skip")
    expected = f"p0.jpg: expected a label map of its photo's size, {WIDTH}x{HEIGHT}"
    assert expected in capsys.readouterr().out
    with pytest.raises(ValueError, match=expected):
        build(module, listing, tmp_path / "strict", folds=3)


@pytest.mark.parametrize("kind", ["labelme", "coco"])
def test_a_turned_photo_has_its_label_map_upright(tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, as cameras do
    if kind == "labelme":
        module, arguments = labelme, [write_labelme(tmp_path / "in")]
        photo = tmp_path / "in" / "p0.jpg"
    else:
        pytest.importorskip("pycocotools")
        module, arguments = coco_json, write_coco(tmp_path / "in")
        photo = tmp_path / "in" / "photos" / "p0.jpg"
    Image.open(photo).transpose(Image.Transpose.ROTATE_90).save(photo, exif=exif)
    index = build(module, module.list_photos(*arguments), tmp_path / "out", folds=3)
    np.testing.assert_array_equal(parsed(index)[0]["p0"], scene(0))


@pytest.mark.parametrize(
    "text, message",
    [
        ("cat,1\ndog", "with 0 or 1 numbers, such as 'dog'"),
        ("cat;1\ndog;2", "with commas.* with 0 numbers, such as 'cat;1'"),
        ("", "received 0 lines of 0 names with no numbers, such as none"),
        ("cat,1\ncat,2", "2 lines of 1 names"),
        ("cat,1\ndog,1", "two alike"),
        ("cat,300", "received 1 lines"),
        ("cat,one\ndog,2", "expected lines NAME,ID"),
    ],
)
def test_wrong_colour_tables(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        label_maps.read_table(tmp_path / "t.csv")


def test_background_void_and_heads_in_capitals(tmp_path):
    (tmp_path / "t.csv").write_text("Name,ID\nBackground,0\nCat,1\nVOID,255\n")
    keys = label_maps.read_table(tmp_path / "t.csv").keys
    assert keys == {"background": 0, "Cat": 1, "void": 255}


def test_a_single_class_can_be_evaluated_on(tmp_path):
    source = write_folders(tmp_path / "in")
    shutil.rmtree(source / "élan")
    shutil.rmtree(source / "dog")
    listing = class_folders.list_photos(source)
    assert listing.class_names == ("cat",)
    with pytest.raises(ValueError, match="at least 2 classes.*--evaluation_only"):
        build(class_folders, listing, tmp_path / "out")
    with pytest.raises(ValueError, match="no --folds, --test_classes"):
        build(class_folders, listing, tmp_path / "out", folds=2, evaluation_only=True)
    index = build(class_folders, listing, tmp_path / "out", evaluation_only=True)
    assert (index.count("train", 1), index.count("val", 1)) == (0, len(listing.photos))
    assert index.test_classes(0) == (1,) and index.train_classes(0) == ()
    assert build_folder.table(index).splitlines()[-1] == "fold 0 tests on cat"
    assert not verify.verify(tmp_path / "out").faults


def test_colour_table_as_json(tmp_path):
    (tmp_path / "t.json").write_text('{"cat": [1, 2, 3], "void": [255, 255, 255]}')
    keys = label_maps.read_table(tmp_path / "t.json").keys
    assert keys == {"cat": 0x010203, "void": 0xFFFFFF}


def test_a_missing_list_table_or_annotation_file_is_said_plainly(tmp_path):
    pytest.importorskip("pycocotools")
    (tmp_path / "folder").mkdir()
    readers = (read_lines, label_maps.read_table, coco_json._read, read_coco)
    for read in readers:
        with pytest.raises(FileNotFoundError, match="none': expected.*nothing"):
            read(tmp_path / "none")
        with pytest.raises(FileNotFoundError, match="folder': expected.*received a folder"):
            read(tmp_path / "folder")


def read_coco(path):
    return coco.read_instances(path, path.parent, ())


def test_photos_and_label_maps_in_one_folder(tmp_path):
    images, labels, table = write_label_maps(tmp_path, in_colour=False)
    for path in labels.iterdir():
        path.rename(images / path.name)
    with pytest.raises(ValueError, match="expected two folders.*Move the label maps"):
        label_maps.list_photos(images, tmp_path / "maps" / ".." / images.name, table)


def test_reading_all_label_maps_shows_progress(tmp_path, capsys):
    label_maps.list_photos(*write_label_maps(tmp_path, in_colour=False))
    assert "6/6" in capsys.readouterr().err


@pytest.mark.parametrize("in_colour", [False, True])
def test_label_maps_are_read_once_while_there_is_room(in_colour, tmp_path, monkeypatch):
    paths = write_label_maps(tmp_path, in_colour)
    kept = label_maps.list_photos(*paths).photos
    monkeypatch.setattr(label_maps, "KEPT_MB", 0)
    again = label_maps.list_photos(*paths).photos
    read = [label_maps.read_label(photo) for photo in again]
    assert len(read) == 6 and all(len(np.unique(label)) > 1 for label in read)
    for path in paths[1].iterdir():
        path.unlink()
    for photo, label in zip(kept, read, strict=True):
        found = label_maps.read_label(photo)
        assert found.dtype == np.uint8 and found.shape == label.shape
        np.testing.assert_array_equal(found, label)
    with pytest.raises(FileNotFoundError):
        label_maps.read_label(again[0])


def test_255_is_void_as_an_id_and_blue_as_a_colour(tmp_path):
    for kind, table in {"ids": "name,id\ncat,1\n", "colours": "blue,0,0,255\n"}.items():
        for folder in ("images", "maps"):
            (tmp_path / kind / folder).mkdir(parents=True)
        write_photo(tmp_path / kind / "images" / "p.jpg", 0)
        (tmp_path / kind / "table.csv").write_text(table)
        label = np.zeros((HEIGHT, WIDTH), np.uint8)
        label[:9], label[9:20] = 255, 1
        if kind == "colours":
            label = np.where(label[..., None] == 255, np.uint8([0, 0, 255]), np.uint8(0))
        png_files.write_png(tmp_path / kind / "maps" / "p.png", label)
        paths = (tmp_path / kind / name for name in ("images", "maps", "table.csv"))
        (photo,) = label_maps.list_photos(*paths).photos
        read = label_maps.read_label(photo)
        assert read[0, 0] == (255 if kind == "ids" else 1)
        assert read[10, 0] == (1 if kind == "ids" else 0) and read[30, 0] == 0


def test_a_colour_outside_the_table_is_named(tmp_path):
    images, labels, table = write_label_maps(tmp_path, in_colour=True)
    smooth = np.full((HEIGHT, WIDTH, 3), (1, 2, 3), np.uint8)
    png_files.write_png(labels / "p3.png", smooth)
    (problem,) = label_maps.list_photos(images, labels, table).problems
    assert "p3.png: expected the colours" in problem and "(1, 2, 3)" in problem


def test_photos_without_labels_and_labels_without_photos(tmp_path, capsys):
    source = write_folders(tmp_path / "in")
    (source / "cat" / "masks" / "cat0.png").unlink()
    (source / "dog" / "images" / "dog0.jpg").unlink()
    (source / "dog" / "images" / ".hidden.jpg").write_bytes(b"")
    (source / "dog" / "images" / "Thumbs.db").write_bytes(b"")
    listing = class_folders.list_photos(source)
    assert len(listing.problems) == 2
    with pytest.raises(ValueError, match="cat0.jpg: expected a mask.*And 1 more"):
        build(class_folders, listing, tmp_path / "out")
    index = build(class_folders, listing, tmp_path / "out", on_error="skip")
    assert sum(index.count(split, 1) for split in index.splits) == 4
    assert "2 files skipped" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["_mask.png", ".jpg"])
def test_masks_of_other_names_are_pointed_at(tmp_path, ending, capsys):
    source = write_folders(tmp_path / "in")
    for mask in sorted(source.glob("*/masks/*.png")):
        mask.rename(mask.with_name(mask.stem + ending))
    listing = class_folders.list_photos(source)
    message = f"cat0.jpg: expected a mask .*There is cat0{ending}: a mask is a PNG of its photo"
    with pytest.raises(ValueError, match=message):
        build(class_folders, listing, tmp_path / "out")
    assert "not a class" not in capsys.readouterr().out  # that follows from it


def test_sources_that_are_not_there_or_one_class_say_so(tmp_path):
    source = write_folders(tmp_path / "in")
    for folder, message in ((tmp_path / "gone", "not there"), (source / "cat", "single class")):
        with pytest.raises(FileNotFoundError, match=f"received .*{message}"):
            class_folders.list_photos(folder)


def test_a_class_without_pixels_is_shown(tmp_path):
    source = write_folders(tmp_path / "in")
    for path in (source / "dog" / "masks").iterdir():
        png_files.write_png(path, np.zeros((HEIGHT, WIDTH), np.uint8))
    listing = class_folders.list_photos(source)
    index = build(class_folders, listing, tmp_path / "out", folds=3, on_error="skip")
    assert index.count("train", 2) == index.count("val", 2) == 0
    assert "too few" in build_folder.table(index).splitlines()[3]


def test_shapes_that_leave_the_photo(tmp_path):
    """Cut off at its border; far beyond, where Pillow draws nothing, they are refused."""
    source = write_labelme(tmp_path / "in")
    path = source / "p0.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for kind, points, filled in (
        ("polygon", [[-500, -500], [30, -500], [30, 500], [-500, 500]], np.s_[:, :31]),
        ("rectangle", [[40, 30], [700, 500]], np.s_[30:, 40:]),
        ("circle", [[WIDTH / 2, HEIGHT / 2], [WIDTH / 2, 500]], np.s_[:, :]),
        ("polygon", [[-90, -90], [-50, -90], [-50, -50]], np.s_[:0, :0]),
    ):
        content["shapes"] = [{"label": "cat", "shape_type": kind, "points": points}]
        path.write_text(json.dumps(content), encoding="utf-8")
        expected = np.zeros((HEIGHT, WIDTH), np.uint8)
        expected[filled] = 1
        np.testing.assert_array_equal(
            labelme.read_label(labelme.list_photos(source).photos[0]), expected
        )
    for far in (1e9, 1e300):
        content["shapes"] = [{"label": "cat", "points": [[0, 0], [far, 0], [far, -far]]}]
        path.write_text(json.dumps(content), encoding="utf-8")
        (problem,) = labelme.list_photos(source).problems
        assert "p0.json: expected shapes in px of a photo of 48x36" in problem


def test_one_class_is_not_enough(tmp_path):
    write_photo(tmp_path / "in" / "cat" / "images" / "a.jpg", 0)
    (tmp_path / "in" / "cat" / "masks").mkdir()
    png_files.write_png(tmp_path / "in" / "cat" / "masks" / "a.png", scene(0) // 9 * 0 + 1)
    with pytest.raises(ValueError, match="expected at least 2 classes.*received 1"):
        build(class_folders, class_folders.list_photos(tmp_path / "in"), tmp_path / "out")


@pytest.mark.parametrize("count, folds", [(7, 3), (4, 4), (20, 4)])
def test_folds_deal_classes_evenly(count, folds):
    dealt = own_splits.deal_folds(range(count), folds)
    assert sum(dealt, []) == list(range(1, count + 1))
    sizes = [len(classes) for classes in dealt]
    assert len(dealt) == folds and max(sizes) - min(sizes) <= 1


def test_wrong_folds():
    for count in (1, 4):
        with pytest.raises(ValueError, match="--folds: expected 2..3"):
            own_splits.deal_folds("abc", count)
    for names in (["x"], ["a", "b", "c"], []):
        with pytest.raises(ValueError, match="--test_classes: expected some of a, b, c"):
            own_splits.named_fold(list("abc"), names)


def some_photos(count):
    random = np.random.default_rng(0)
    return [
        PhotoFile(f"f/{i}", None, None, tuple(sorted({*random.integers(1, 6, 2).tolist()})))
        for i in range(count)
    ]


def test_split_gives_every_class_its_share_and_does_not_depend_on_the_order():
    listed = some_photos(200)
    split = own_splits.split_by_share(listed, 0.3, set())
    assert sorted(split["train"] + split["val"]) == sorted(listed)
    for class_id in range(1, 6):
        held, all_of = (
            sum(class_id in photo.classes for photo in some) for some in (split["val"], listed)
        )
        assert 0.2 < held / all_of < 0.5
    again = own_splits.split_by_share(listed[::-1], 0.3, set())
    assert again["val"] == split["val"][::-1]


def test_split_of_few_photos_and_of_classes_never_trained_on():
    few = [PhotoFile(f"a/{i}", None, None, (1,)) for i in range(4)]
    for share in (0.01, 0.99):
        split = own_splits.split_by_share(few, share, set())
        assert len(split["val"]) == len(split["train"]) == 2
    crowded = [PhotoFile(f"a/{i}", None, None, (i % 3 + 1, (i + 1) % 3 + 1)) for i in range(9)]
    split = own_splits.split_by_share(crowded, 0.4, set())
    for part in split.values():  # a photo for one class is one for another, too
        assert all(sum(c in p.classes for p in part) >= 2 for c in (1, 2, 3))
    listed = some_photos(100)
    split = own_splits.split_by_share(listed, 0.3, {2})
    assert not any(2 in photo.classes for photo in split["train"])


def test_an_empty_split_is_told_with_its_cause_before_anything_is_written(tmp_path):
    listing = class_folders.list_photos(write_folders(tmp_path / "in", per_class=2))
    with pytest.raises(ValueError, match="split 'val': .* none of 6.*a class has at least 3"):
        build(class_folders, listing, tmp_path / "out")
    (tmp_path / "val.txt").write_text("\n".join(p.name for p in listing.photos))
    with pytest.raises(ValueError, match="split 'train': .* none of 6.*val.txt names them all"):
        build(class_folders, listing, tmp_path / "out", val_list=tmp_path / "val.txt")
    crowded = [PhotoFile(f"a/{i}", None, None, (1, 2)) for i in range(9)]
    with pytest.raises(ValueError, match="split 'train': .* none of 9.*--test_classes"):
        own_splits.split_by_share(crowded, 0.3, {2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "val.txt"]


def test_copies_of_a_photo_stay_in_one_split(tmp_path):
    listed = []
    for name, content in [("a", b"1"), ("b", b"2"), ("c", b"33"), ("d", b"1"), ("e", b"4")]:
        (tmp_path / name).write_bytes(content)
        listed.append(PhotoFile(name, tmp_path / name, None, (1 + (name > "c"),)))
    same = own_splits.copies(listed)
    assert same["a"] == same["d"] != same["b"] and "c" not in same
    for share in (0.2, 0.4, 0.6, 0.8):
        split = own_splits.split_by_share(listed, share, set(), same)
        assert any({"a", "d"} <= {photo.name for photo in part} for part in split.values())
    split = own_splits.split_by_share(listed, 0.01, {2}, same)
    assert {"a", "d", "e"} <= {photo.name for photo in split["val"]}


def test_split_by_lists(tmp_path):
    listed = some_photos(6)
    (tmp_path / "val").write_text("f/1.jpg\n\nf/4\n")
    split = own_splits.split_by_lists(listed, tmp_path / "val")
    assert [p.name for p in split["val"]] == ["f/1", "f/4"] and len(split["train"]) == 4
    (tmp_path / "train").write_text("f/4\nf/5\n")
    with pytest.raises(ValueError, match="expected no photo of .*received f/4 too"):
        own_splits.split_by_lists(listed, tmp_path / "val", tmp_path / "train")
    (tmp_path / "val").write_text("g/1\n")
    with pytest.raises(ValueError, match="expected names of photos.*received g/1.*'f/0'"):
        own_splits.split_by_lists(listed, tmp_path / "val")


def test_lists_are_utf8_with_or_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "list.txt"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_bytes("élan/1 \r\n\r\n\tcat/2".encode(encoding))
        assert read_lines(path) == ["élan/1", "cat/2"]
    for encoding in ("latin-1", "utf-16"):
        path.write_bytes("élan/1".encode(encoding))
        with pytest.raises(ValueError, match="list.txt: expected a list in UTF-8.*Save it"):
            own_splits.split_by_lists(some_photos(6), path)


def test_lists_keep_test_classes_out_of_training(tmp_path):
    listing = class_folders.list_photos(write_folders(tmp_path / "in"))
    listed = [photo.name for photo in listing.photos if photo.classes == (1,)][:2]
    (tmp_path / "val.txt").write_text("\n".join(listed))
    options = {"test_classes": ["cat"], "val_list": tmp_path / "val.txt"}
    with pytest.raises(
        ValueError, match="val.txt: expected no training photo.*received 3 .cat"
    ):
        build(class_folders, listing, tmp_path / "out", **options)
    others = [photo.name for photo in listing.photos if photo.classes != (1,)]
    (tmp_path / "train.txt").write_text("\n".join(others))
    options["train_list"] = tmp_path / "train.txt"
    index = build(class_folders, listing, tmp_path / "out", **options)
    assert (index.count("train", 1), index.count("val", 1)) == (0, 2)


def test_names_of_known_data_sets_are_taken(tmp_path):
    listing = class_folders.list_photos(write_folders(tmp_path / "in"))
    with pytest.raises(ValueError, match="--name: expected another name.*'pascal5i'"):
        build(class_folders, listing, tmp_path / "pascal5i")
    assert build(class_folders, listing, tmp_path / "demo", name="mine").dataset == "mine"


def test_long_and_strange_names_and_links(tmp_path):
    source = write_folders(tmp_path / "in")
    names = ["x" * 250, "猫 1", "a.b.c", "-rf", "日本%s"]
    for name, folder in [(n, f) for n in names for f in ("images", "masks")]:
        suffix = {"images": ".jpg", "masks": ".png"}[folder]
        target = source / "cat" / folder / f"cat1{suffix}"
        os.symlink(target, source / "cat" / folder / f"{name}{suffix}")
    index = build(class_folders, class_folders.list_photos(source), tmp_path / "out", folds=2)
    labels, _ = parsed(index)
    assert {f"cat/{name}" for name in names} <= labels.keys()


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    source, elsewhere = write_folders(tmp_path / "in"), tmp_path / "elsewhere"
    for kind in ("images", "masks"):
        (elsewhere / kind).mkdir(parents=True)
        for path in (source / "cat" / kind).glob("cat0.*"):
            path.rename(elsewhere / kind / path.name)
        os.symlink(elsewhere / kind, source / "cat" / kind / "more")
        os.symlink(source / "cat", source / "cat" / kind / "circle")
    listing = class_folders.list_photos(source)
    assert not listing.problems
    names = {photo.name for photo in listing.photos if photo.classes == (1,)}
    assert names == {"cat/more/cat0", *(f"cat/cat{i}" for i in range(1, 5))}


def test_folders_that_lead_to_each_other_end(tmp_path):
    for name, other in ("ab", "ba"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.jpg").touch()
        os.symlink(tmp_path / other, tmp_path / name / "other")
    found = files_of(tmp_path / "a", (".jpg",))
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a/a.jpg", "a/other/b.jpg"]


def test_links_that_lead_nowhere_are_named(tmp_path, capsys):
    source = write_folders(tmp_path / "in")
    for path in (source / "cat" / "images" / "cat0.jpg", source / "cat" / "masks" / "cat1.png"):
        path.unlink()
        os.symlink(tmp_path / "gone", path)
    listing = class_folders.list_photos(source)
    index = build(class_folders, listing, tmp_path / "out", on_error="skip")
    assert sum(index.splits[split]["skipped"] for split in index.splits) == 2
    output = capsys.readouterr().out
    assert all(f"{name}: expected" in output for name in ("cat0.jpg", "cat1.png"))


@pytest.mark.parametrize("kind", ["folders", "labelmaps"])
def test_two_files_of_one_name(tmp_path, kind):
    if kind == "folders":
        source = write_folders(tmp_path / "in")
        images, masks = source / "cat" / "images" / "cat1", source / "cat" / "masks" / "cat1"
        module, arguments = class_folders, [source]
    else:
        arguments = write_label_maps(tmp_path / "in", in_colour=False)
        images, masks = arguments[0] / "p1", arguments[1] / "p1"
        module = label_maps
    write_photo(images.with_suffix(".png"), 7)
    png_files.write_png(masks.with_suffix(".bmp"), scene(0))  # named before the .png
    listing = module.list_photos(*arguments)
    assert len(listing.problems) == 2
    assert f"{images}.png: expected every name once, received {images.name}.jpg" in str(listing)
    with pytest.raises(ValueError, match="expected every name once.*--on_error=skip"):
        build(module, listing, tmp_path / "out")


def test_two_files_of_one_name_in_a_coco_file(tmp_path, capsys):
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path / "in")
    content = json.loads(annotations.read_text(encoding="utf-8"))
    write_photo(images / "p1.png", 7)
    content["images"][5]["file_name"] = "p1.png"
    annotations.write_text(json.dumps(content), encoding="utf-8")
    listing = coco_json.list_photos(annotations, images)
    with pytest.raises(ValueError, match="p1.png: expected every name once, received p1.jpg"):
        build(coco_json, listing, tmp_path / "strict")
    index = build(coco_json, listing, tmp_path / "out", on_error="skip")
    assert "p1.png: expected every name once" in capsys.readouterr().out
    labels, _ = parsed(index)
    assert labels.keys() == {f"p{number}" for number in range(5)}
    np.testing.assert_array_equal(labels["p1"], scene(1))


def test_a_coco_category_of_photos_that_are_missing_is_no_class(tmp_path):
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path / "in")
    content = json.loads(annotations.read_text(encoding="utf-8"))
    content["annotations"][0]["category_id"] = 99
    annotations.write_text(json.dumps(content), encoding="utf-8")
    assert "unicorn" in coco_json.list_photos(annotations, images).class_names
    (images / "p0.jpg").unlink()
    assert coco_json.list_photos(annotations, images).class_names == CLASSES


def test_names_that_are_no_text_can_be_told(tmp_path):
    """A name of other bytes than UTF-8, in a problem that the command prints."""
    source = write_folders(tmp_path / "in")
    odd = source / "cat" / "images" / os.fsdecode(b"caf\xe9.jpg")
    try:
        write_photo(odd, 0)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    command = ["-m", "pipelines.build_folder", f"--source={source}", "--on_error=skip"]
    done = subprocess.run(
        [sys.executable, *command, f"--out={tmp_path / 'out'}"],
        cwd=pathlib.Path(__file__).parents[2],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},  # and a terminal that knows no "é"
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert r"caf\udce9.jpg: expected a mask" in done.stdout and r"\xe9lan" in done.stdout


def test_command_names_missing_flags(tmp_path):
    class Given:
        format, annotations, images = "coco", None, "photos"

    with pytest.raises(ValueError, match="--format=coco: expected .*received no --annotations"):
        build_folder.list_photos(Given)


def test_rectangles_of_two_and_of_four_corners_are_the_same(tmp_path):
    """Labelme writes two, X-AnyLabeling all four."""
    two = ((5, "rectangle", ((30.0, 8.0), (10.0, 20.0))),)
    four = ((5, "rectangle", ((10.0, 8.0), (30.0, 8.0), (30.0, 20.0), (10.0, 20.0))),)
    drawn = [labelme_photo(tmp_path, (60, 50), shapes) for shapes in (two, four)]
    maps = [labelme.read_label(photo) for photo in drawn]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.sum(maps[1] == 5) == 21 * 13


def test_an_empty_mask_is_named(tmp_path):
    source = write_folders(tmp_path / "in")
    mask = sorted((source / "cat" / "masks").iterdir())[0]
    png_files.write_png(mask, np.zeros((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(ValueError, match=f"{mask.name}: expected a mask with some foreground"):
        build(class_folders, class_folders.list_photos(source), tmp_path / "out")
    index = build(
        class_folders, class_folders.list_photos(source), tmp_path / "out", on_error="skip"
    )
    assert sum(split["skipped"] for split in index.splits.values()) == 1


def test_a_training_list_alone_is_refused(tmp_path):
    source = write_folders(tmp_path / "in")
    (tmp_path / "train.txt").write_text("cat/p0")
    with pytest.raises(ValueError, match="--train_list: expected --val_list with it"):
        commands.run(
            build_folder, f"--source={source}", f"--out={tmp_path / 'out'}",
            f"--train_list={tmp_path / 'train.txt'}",
        )  # fmt: skip
