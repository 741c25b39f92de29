"""Photos of one's own, in every format -> records."""

import io
import json
import os
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers import commands
from helpers.own_photos import (
    CLASSES,
    HEIGHT,
    WIDTH,
    scene,
    write_coco,
    write_folders,
    write_label_maps,
    write_labelme,
    write_photo,
)
from PIL import Image

from crnet_tf.annotations import class_folders, coco_json, label_maps, labelme
from crnet_tf.annotations.listing import PhotoFile
from crnet_tf.common import cli
from crnet_tf.data import records
from crnet_tf.images import png_files
from pipelines import build_folder
from pipelines.checking import verifying
from pipelines.sources import own_splits


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
    assert not verifying.verify(tmp_path / "out").faults


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


@pytest.mark.parametrize("ending", ["_label.png", ".jpg"])
def test_masks_of_other_names_are_pointed_at(tmp_path, ending, capsys):
    source = write_folders(tmp_path / "in")
    for mask in sorted(source.glob("*/masks/*.png")):
        mask.rename(mask.with_name(mask.stem + ending))
    listing = class_folders.list_photos(source)
    message = f"cat0.jpg: expected a mask .*There is cat0{ending}: a mask is a PNG of its photo"
    with pytest.raises(ValueError, match=message):
        build(class_folders, listing, tmp_path / "out")
    assert "not a class" not in capsys.readouterr().out  # that follows from it


def test_a_class_without_pixels_is_shown(tmp_path):
    source = write_folders(tmp_path / "in")
    for path in (source / "dog" / "masks").iterdir():
        png_files.write_png(path, np.zeros((HEIGHT, WIDTH), np.uint8))
    listing = class_folders.list_photos(source)
    index = build(class_folders, listing, tmp_path / "out", folds=3, on_error="skip")
    assert index.count("train", 2) == index.count("val", 2) == 0
    assert "too few" in build_folder.table(index).splitlines()[3]


def test_one_class_is_not_enough(tmp_path):
    write_photo(tmp_path / "in" / "cat" / "images" / "a.jpg", 0)
    (tmp_path / "in" / "cat" / "masks").mkdir()
    png_files.write_png(tmp_path / "in" / "cat" / "masks" / "a.png", scene(0) // 9 * 0 + 1)
    with pytest.raises(ValueError, match="expected at least 2 classes.*received 1"):
        build(class_folders, class_folders.list_photos(tmp_path / "in"), tmp_path / "out")


def test_an_empty_split_is_told_with_its_cause_before_anything_is_written(tmp_path):
    listing = class_folders.list_photos(write_folders(tmp_path / "in", per_class=2))
    with pytest.raises(ValueError, match="'val'.* none of 6.*at least 3"):
        build(class_folders, listing, tmp_path / "out")
    (tmp_path / "val.txt").write_text("\n".join(p.name for p in listing.photos))
    with pytest.raises(ValueError, match="'train'.* none of 6.*val.txt"):
        build(class_folders, listing, tmp_path / "out", val_list=tmp_path / "val.txt")
    crowded = [PhotoFile(f"a/{i}", None, None, (1, 2)) for i in range(9)]
    with pytest.raises(ValueError, match="'train'.* none of 9.*--test_classes"):
        own_splits.split_by_share(crowded, 0.3, {2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "val.txt"]


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
    with pytest.raises(ValueError, match="--name: .*'pascal5i'"):
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
    with pytest.raises(ValueError, match="expected .*--on_error=skip"):
        build(module, listing, tmp_path / "out")


def test_two_files_of_one_name_in_a_coco_file(tmp_path, capsys):
    pytest.importorskip("pycocotools")
    annotations, images = write_coco(tmp_path / "in")
    content = json.loads(annotations.read_text(encoding="utf-8"))
    write_photo(images / "p1.png", 7)
    content["images"][5]["file_name"] = "p1.png"
    annotations.write_text(json.dumps(content), encoding="utf-8")
    listing = coco_json.list_photos(annotations, images)
    with pytest.raises(ValueError, match="p1.png: expected .*received p1.jpg"):
        build(coco_json, listing, tmp_path / "strict")
    index = build(coco_json, listing, tmp_path / "out", on_error="skip")
    assert "p1.png: expected every name once" in capsys.readouterr().out
    labels, _ = parsed(index)
    assert labels.keys() == {f"p{number}" for number in range(5)}
    np.testing.assert_array_equal(labels["p1"], scene(1))


def test_names_that_are_no_text_can_be_told(tmp_path, monkeypatch):
    """A name of other bytes than UTF-8, in a problem that the command prints."""
    source = write_folders(tmp_path / "in")
    odd = source / "cat" / "images" / os.fsdecode(b"caf\xe9.jpg")
    try:
        write_photo(odd, 0)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")  # that knows no "é"
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "argv", ["build_folder"])
    arguments = f"--source={source}", "--on_error=skip", f"--out={tmp_path / 'out'}"
    cli.run(lambda: commands.run(build_folder, *arguments), lambda: None)
    screen.seek(0)
    said = screen.read()
    assert r"caf\udce9.jpg: expected a mask" in said and r"\xe9lan" in said


def test_command_names_missing_flags(tmp_path):
    class Given:
        format, annotations, images = "coco", None, "photos"

    with pytest.raises(ValueError, match="--format=coco: .*--annotations"):
        build_folder.list_photos(Given)


def test_an_empty_mask_is_named(tmp_path):
    source = write_folders(tmp_path / "in")
    mask = sorted((source / "cat" / "masks").iterdir())[0]
    png_files.write_png(mask, np.zeros((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(ValueError, match=f"{mask.name}: expected"):
        build(class_folders, class_folders.list_photos(source), tmp_path / "out")
    index = build(
        class_folders, class_folders.list_photos(source), tmp_path / "out", on_error="skip"
    )
    assert sum(split["skipped"] for split in index.splits.values()) == 1


def test_a_training_list_alone_is_refused(tmp_path):
    source = write_folders(tmp_path / "in")
    (tmp_path / "train.txt").write_text("cat/p0")
    with pytest.raises(ValueError, match="--train_list: .*--val_list"):
        commands.run(
            build_folder, f"--source={source}", f"--out={tmp_path / 'out'}",
            f"--train_list={tmp_path / 'train.txt'}",
        )  # fmt: skip
