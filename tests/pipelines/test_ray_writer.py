"""Records written by workers against the plain writer's; by Ray's own where it is installed."""

import functools
import sys

import numpy as np
import pytest
from helpers import commands
from helpers.voc import write_voc

from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.data import records
from crnet_tf.data.writing import shards, writer
from crnet_tf.data.writing.examples import Item, make_example
from crnet_tf.images import png_files
from pipelines import build_voc
from pipelines.sources import voc as voc_source
from pipelines.workers import pool
from pipelines.writing import ray_writer

SETTINGS = {"dataset": "mine", "source": "here", "filter": "none", "class_names": "abcde"}


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


class Twice(pool.Here):
    """Workers that do each piece two times, as where one dies when it has all but ended."""

    def results(self, work, items, in_order=False):
        return super().results(lambda item: (work(item), work(item))[1], items)


by_workers = functools.partial(ray_writer.write_streams, workers=Twice())


def test_folder_is_the_plain_writers_byte_for_byte(voc_dir, records_dir, tmp_path):
    build_voc.build_voc(
        voc_dir, tmp_path / "out", source=str(voc_dir), write_streams=by_workers
    )
    theirs, ours = contents(records_dir), contents(tmp_path / "out")
    assert ours.pop("index.json") and theirs.pop("index.json")
    assert ours == theirs
    assert [p.name for p in tmp_path.iterdir()] == ["out"]  # no work folder, no lock


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
