"""Files as people have them, through the builder: flags, notes and records."""

import base64
import json

import numpy as np
import pytest
from helpers import commands
from helpers.own_photos import scene, write_coco, write_folders, write_labelme
from PIL import Image

from crnet_tf.data import records
from pipelines import build_folder


def build(tmp_path, *flags):
    commands.run(build_folder, *flags, "--evaluation_only", f"--out={tmp_path / 'out'}")
    return records.load_index(tmp_path / "out")


def counts(index):
    return {name: index.count("val", c) for c, name in enumerate(index.class_names, 1)}


def test_crowds_by_the_flag(tmp_path, capsys):
    pytest.importorskip("pycocotools")
    path, images = write_coco(tmp_path / "in")
    content = json.loads(path.read_text())
    for entry in content["annotations"]:
        entry["iscrowd"] = 1
    path.write_text(json.dumps(content))
    flags = "--format=coco", f"--annotations={path}", f"--images={images}"
    with pytest.raises(ValueError, match="--crowds=objects"):
        build(tmp_path, *flags)
    index = build(tmp_path, *flags, "--crowds=objects")
    assert counts(index) == {"cat": 4, "dog": 4, "élan": 4}


def test_a_photo_inside_its_labelme_file_becomes_a_record(tmp_path):
    source = write_labelme(tmp_path / "in")
    content = json.loads((source / "p0.json").read_text(encoding="utf-8"))
    content["imageData"] = base64.b64encode((source / "p0.jpg").read_bytes()).decode()
    (source / "p0.json").write_text(json.dumps(content), encoding="utf-8")
    (source / "p0.jpg").unlink()
    index = build(tmp_path, "--format=labelme", f"--source={source}")
    assert sum(counts(index).values()) == 12 and index.splits["val"]["photos"] == 6


def test_instances_by_the_flag(tmp_path, capsys):
    source = write_labelme(tmp_path / "in")
    content = json.loads((source / "p0.json").read_text(encoding="utf-8"))
    content["shapes"][1]["label"] = "cat-2"
    (source / "p0.json").write_text(json.dumps(content), encoding="utf-8")
    flags = "--format=labelme", f"--source={source}"
    assert set(counts(build(tmp_path, *flags))) == {"cat", "dog", "élan"}
    assert "cat-2" in capsys.readouterr().out
    apart = build(tmp_path, *flags, "--noinstances", "--overwrite")
    assert set(counts(apart)) == {"cat", "cat-2", "dog", "élan"}


def test_a_foreground_colour_by_the_flag(tmp_path):
    source = write_folders(tmp_path / "in")
    for path in source.glob("*/masks/*.png"):
        mask = np.array(Image.open(path))
        colours = np.array([(250, 240, 10), (20, 20, 200)], np.uint8)[mask // 255]
        Image.fromarray(colours).save(path)
    with pytest.raises(ValueError, match="masks/cat0.png: .*--foreground_colour"):
        build(tmp_path, f"--source={source}")
    index = build(tmp_path, f"--source={source}", "--foreground_colour=#1414c8")
    assert set(counts(index).values()) == {5}
    with pytest.raises(ValueError, match="--foreground_colour: expected --format=folders"):
        build(tmp_path, "--format=labelme", f"--source={source}", "--foreground_colour=red")


@pytest.mark.parametrize("ending", [".jpg.png", ".JPG.png"])
def test_masks_called_as_the_whole_photo(tmp_path, ending):
    source = write_folders(tmp_path / "in")
    for path in source.glob("*/masks/*.png"):
        path.rename(path.with_name(path.stem + ending))
        photo = path.parents[1] / "images" / f"{path.stem}.jpg"
        photo.rename(photo.with_suffix(ending[:4]))
    assert set(counts(build(tmp_path, f"--source={source}")).values()) == {5}


def test_photos_without_any_size_in_coco(tmp_path):
    pytest.importorskip("pycocotools")
    path, images = write_coco(tmp_path / "in")
    content = json.loads(path.read_text())
    for image in content["images"]:
        del image["width"], image["height"]
    path.write_text(json.dumps(content))
    index = build(tmp_path, "--format=coco", f"--annotations={path}", f"--images={images}")
    assert index.splits["val"]["photos"] == 6 and scene(0).any()


@pytest.mark.parametrize(
    ("flag", "kind"),
    [("--crowds=objects", "coco"), ("--background=none", "coco"), ("--noinstances", "labelme")],
)
def test_a_flag_of_another_format_is_refused(tmp_path, flag, kind):
    source = write_folders(tmp_path / "in")
    with pytest.raises(ValueError, match=f"{flag.split('=')[0]}: expected --format={kind}"):
        build(tmp_path, f"--source={source}", flag)
    assert not (tmp_path / "out").exists()
