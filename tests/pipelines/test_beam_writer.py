"""Beam's records against the plain writer's, with the DirectRunner."""

import functools
import importlib.util
import sys

import numpy as np
import pytest
from helpers import commands
from helpers.voc import write_voc

import pipelines
from crnet_tf.data import records
from crnet_tf.data.writing import shards, writer
from crnet_tf.data.writing.examples import Item, make_example
from crnet_tf.images import png_files
from pipelines import build_voc
from pipelines.sources import voc as voc_source

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="apache_beam is not installed"
)
quiet = pytest.mark.filterwarnings("ignore")  # Beam's own
SETTINGS = {"dataset": "mine", "source": "here", "filter": "none", "class_names": "abcde"}


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def write_both(tmp_path, splits, make_item, **options):
    """Folders of the plain and of Beam's records."""
    writer.write_records(tmp_path / "plain", splits, make_item, **SETTINGS, **options)
    write_with_beam(tmp_path / "beam", splits, make_item, **options)
    return tmp_path / "plain", tmp_path / "beam"


def write_with_beam(out, splits, make_item, **options):
    return writer.write_records(
        out, splits, make_item, write_streams=by_beam(), **SETTINGS, **options
    )


def by_beam():
    from pipelines.writing import beam_writer

    return functools.partial(beam_writer.write_streams, options=["--runner=DirectRunner"])


@needs_beam
@quiet
def test_folder_is_the_plain_writers_byte_for_byte(voc_dir, records_dir, tmp_path):
    commands.run(
        build_voc, f"--voc_dir={voc_dir}", f"--out={tmp_path / 'beam'}", "--runner=DirectRunner"
    )
    assert contents(tmp_path / "beam") == contents(records_dir)
    assert [p.name for p in tmp_path.iterdir()] == ["beam"]  # no work folder, no lock


@needs_beam
@quiet
def test_long_streams_small_photos_and_bad_ones(tmp_path, capsys):
    """Several shards a class, photos shrunk, one that cannot be read left out."""
    voc = write_voc(tmp_path / "VOC2012", train=60, val=3)
    bad = voc / "JPEGImages" / "2007_train_004.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    splits = voc_source.list_photos(voc)
    plain, by_beam = write_both(
        tmp_path, splits, noise, on_error="skip", short_side=100, shard_mb=1
    )
    index = records.load_index(by_beam)
    assert len(index.files("train", 1)) > 1
    assert contents(by_beam) == contents(plain)
    assert capsys.readouterr().out.count("skipped 1 bad photos") == 2


def noise(pair):
    """38 kB a photo however it is shrunk, each in the streams of classes 1 and 3."""
    item = make_example(*pair, "none", 20)
    pixels = np.random.default_rng(0).integers(0, 256, (*item.label.shape, 3), np.uint8)
    label = item.label.copy()
    label[:, :70], label[:, 70:] = 1, 3
    return Item(item.filename, png_files.encode_png(pixels), "png", label, [1, 3])


@needs_beam
@quiet
def test_a_failed_build_leaves_nothing(small_voc, tmp_path):
    photo = small_voc / "JPEGImages" / "2007_train_001.jpg"
    photo.write_bytes(b"no photo")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="2007_train_001.jpg(.|\n)*--on_error=skip"):
        build_voc.build_voc(small_voc, tmp_path / "out", write_streams=by_beam())
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@needs_beam
@quiet
def test_a_failed_rebuild_keeps_what_was_there(small_voc, tmp_path):
    out = tmp_path / "out"
    build_voc.build_voc(small_voc, out)
    before = contents(out)
    (small_voc / "JPEGImages" / "2007_val_000.jpg").write_bytes(b"no photo")
    with pytest.raises(RuntimeError, match="2007_val_000.jpg"):
        build_voc.build_voc(small_voc, out, overwrite=True, write_streams=by_beam())
    assert contents(out) == before


@needs_beam
@quiet
def test_complete_records_are_left_alone(small_voc, tmp_path, capsys):
    build_voc.build_voc(small_voc, tmp_path / "out")
    build_voc.build_voc(small_voc, tmp_path / "out", write_streams=by_beam())
    assert "is complete with these settings" in capsys.readouterr().out


@needs_beam
@pytest.mark.parametrize("shard_bytes", [1, 40, 100, 10**6])
def test_cuts_are_those_of_the_plain_writer(tmp_path, shard_bytes):
    from pipelines.writing import beam_writer

    sizes = [(position, 20 + position * 7 % 31) for position in range(0, 60, 3)]
    stream = shards.ShardWriter(tmp_path)
    stream.shard_bytes = shard_bytes
    for _, size in sizes:
        stream.write(1, bytes(size - shards.FRAME_BYTES))
    counts = [file["records"] for file in stream.finish()["1"]["files"]]
    starts = beam_writer.shard_starts(reversed(sizes), shard_bytes)
    positions = [position for position, _ in sizes]
    assert starts == [positions[sum(counts[:n])] for n in range(len(counts))]


def test_without_beam(small_voc, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "pipelines.writing.beam_writer", raising=False)
    monkeypatch.delattr(pipelines, "beam_writer", raising=False)
    flags = [f"--voc_dir={small_voc}", f"--out={tmp_path / 'out'}"]
    with pytest.raises(RuntimeError, match="--runner: expected Apache Beam.*Install it with"):
        commands.run(build_voc, *flags, "--runner=DirectRunner")
    with pytest.raises(ValueError, match="--runner_option: expected --runner too"):
        commands.run(build_voc, *flags, "--runner_option=parallelism=2")
