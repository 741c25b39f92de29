"""Records written by workers against the plain writer's; by Ray's own where it is installed."""

import functools
import pickle
import sys

import numpy as np
import pytest
from helpers import coco_files, commands, own_photos
from helpers.voc import write_voc

from crnet_tf.annotations import class_folders, label_maps, labelme
from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.data import records
from crnet_tf.data.writing import shards, writer
from crnet_tf.data.writing.examples import Item, make_example
from crnet_tf.images import png_files
from pipelines import build_coco, build_folder, build_voc
from pipelines.sources import voc as voc_source
from pipelines.workers import pool
from pipelines.writing import ray_writer

SETTINGS = {"dataset": "mine", "source": "here", "filter": "none", "class_names": "abcde"}


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


class Twice(pool.Here):
    """Workers elsewhere that do each piece two times, as where one dies when it has all but
    ended."""

    def results(self, work, items, in_order=False):
        sent = pickle.dumps(work)
        for item in items:
            for _ in range(2):
                work, sent_item = pickle.loads(sent), pickle.loads(pickle.dumps(item))
                result = pickle.loads(pickle.dumps(work(sent_item)))
            yield result


by_workers = functools.partial(ray_writer.write_streams, workers=Twice())


def test_folder_is_the_plain_writers_byte_for_byte(voc_dir, records_dir, tmp_path):
    build_voc.build_voc(
        voc_dir, tmp_path / "out", source=str(voc_dir), write_streams=by_workers
    )
    theirs, ours = contents(records_dir), contents(tmp_path / "out")
    assert ours.pop("index.json") and theirs.pop("index.json")
    assert ours == theirs
    assert [p.name for p in tmp_path.iterdir()] == ["out"]  # no work folder, no lock


def labelme_files(root, out, **how):
    listing = labelme.list_photos(own_photos.write_labelme(root))
    build_folder.build_folder(listing, labelme.read_label, out, source="x", **how)


def folders_of_classes(root, out, **how):
    listing = class_folders.list_photos(own_photos.write_folders(root))
    build_folder.build_folder(listing, class_folders.read_label, out, source="x", **how)


def label_maps_in_colour(root, out, **how):
    listing = label_maps.list_photos(*own_photos.write_label_maps(root, in_colour=True))
    build_folder.build_folder(listing, label_maps.read_label, out, source="x", **how)


def coco_2014(root, out, **how):
    pytest.importorskip("pycocotools")
    build_coco.build_coco(coco_files.write_coco(root), out, **how)


@pytest.mark.parametrize(
    "build", [labelme_files, folders_of_classes, label_maps_in_colour, coco_2014]
)
def test_every_builder_can_be_done_elsewhere(tmp_path, build):
    for name, how in (("plain", {}), ("workers", {"write_streams": by_workers})):
        build(tmp_path / f"in-{name}", tmp_path / name / "out", **how)
    theirs, ours = contents(tmp_path / "plain"), contents(tmp_path / "workers")
    if build is coco_2014:  # whose index names the folder that was read
        assert ours.pop("out/index.json") and theirs.pop("out/index.json")
    assert ours == theirs and len(ours) > 3


def test_long_streams_small_photos_and_bad_ones(tmp_path, monkeypatch, capsys):
    """Several shards a class, more classes than open files, photos shrunk, one left out."""
    monkeypatch.setattr(ray_writer, "CHUNK", 7)
    monkeypatch.setattr(shards.Cuts.__init__, "__defaults__", (1, 1))
    monkeypatch.setattr(shards.ShardWriter.__init__, "__defaults__", (1, 1))
    voc = write_voc(tmp_path / "VOC2012", train=30, val=3)
    bad = voc / "JPEGImages" / "2007_train_004.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    splits = voc_source.list_photos(voc)
    options = {"on_error": "skip", "short_side": 100, "shard_mb": 1}
    for name, how in (("plain", {}), ("workers", {"write_streams": by_workers})):
        writer.write_records(tmp_path / name, splits, noise, **SETTINGS, **options, **how)
    index = records.load_index(tmp_path / "workers")
    assert len(index.files("train", 1)) > 2
    assert contents(tmp_path / "workers") == contents(tmp_path / "plain")
    assert capsys.readouterr().out.count("skipped 1 bad photos") == 2


def noise(photo):
    """38 kB a photo however it is shrunk; in the streams of classes 1 and 3, or of one."""
    item = make_example(photo.path, photo.label, "none", 20)
    pixels = np.random.default_rng(0).integers(0, 256, (*item.label.shape, 3), np.uint8)
    label = item.label.copy()
    label[:, :70], label[:, 70:] = 1, 3
    classes = [1] if item.filename.endswith("3") else [1, 3]
    return Item(item.filename, png_files.encode_png(pixels), "png", label, classes)


def test_what_killed_workers_leave_is_removed(small_voc, tmp_path, monkeypatch):
    class Dying(pool.Here):
        def results(self, work, items, in_order=False):
            for number, item in enumerate(items):
                for folder in tmp_path.glob(".out.building/val"):
                    (folder / f".{number}.half").write_bytes(b"half")
                yield work(item)

    dying = functools.partial(ray_writer.write_streams, workers=Dying())
    build_voc.build_voc(small_voc, tmp_path / "out", write_streams=dying)
    assert not [path for path in contents(tmp_path / "out") if "half" in path]


def test_a_failed_rebuild_keeps_what_was_there(small_voc, tmp_path):
    out = tmp_path / "out"
    build_voc.build_voc(small_voc, out)
    before = contents(out)
    (small_voc / "JPEGImages" / "2007_val_000.jpg").write_bytes(b"no photo")
    with pytest.raises(InputError, match="2007_val_000.jpg"):
        build_voc.build_voc(small_voc, out, overwrite=True, write_streams=by_workers)
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["VOC2012", "out"]


def test_without_ray(small_voc, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    flags = [f"--voc_dir={small_voc}", f"--out={tmp_path / 'out'}"]
    with pytest.raises(BlockedError, match="--ray: expected the package ray.*Install it with"):
        commands.run(build_voc, *flags, "--ray=local")
