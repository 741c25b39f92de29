"""Episodes on disk: as the protocol says, whole or not there, readable by anybody."""

import io
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from helpers import commands
from helpers.episode_batches import batches
from PIL import Image

from crnet_tf.data import records, resizing
from crnet_tf.evaluation import episode_records, manifest, protocols
from crnet_tf.evaluation.episode_records import episodes_from_tfrecords
from pipelines import build_episodes as command
from pipelines.writing.episodes import build_episodes

ROOT = pathlib.Path(__file__).parents[2]

SIZE = 41
FOLD, CLASSES = 1, (6, 7, 8, 9, 10)


@pytest.fixture(scope="module")
def archive(records_dir):
    return manifest.Archive(records.load_index(records_dir), "val", CLASSES)


@pytest.fixture(scope="module")
def framed(records_dir, tmp_path_factory):
    """Squares of 41 px, two seeds."""
    out = tmp_path_factory.mktemp("framed") / "episodes"
    build_episodes(
        records_dir, FOLD, out, episodes=6, seeds=(0, 3), tfrecords=True, image_size=SIZE
    )
    return out


@pytest.fixture(scope="module")
def unframed(records_dir, tmp_path_factory):
    """Photos as they are, two supports, of training classes (their photos are more)."""
    out = tmp_path_factory.mktemp("unframed") / "episodes"
    build_episodes(records_dir, FOLD, out, "panet", shot=2, episodes=5, tfrecords=True)
    return out


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def drawn(out, seed):
    return manifest.read(out / f"manifest-seed{seed}.jsonl")


def test_manifests_are_those_that_evaluation_draws(framed, archive):
    index = json.loads((framed / "episodes.json").read_text())
    assert index["class_names"]["6"] == "bus" and len(index["class_names"]) == 5
    assert index["records_sha256"] == archive.index.sha256
    for made, seed in zip(index["manifests"], (0, 3), strict=True):
        entries = manifest.draw(archive, 1, 6, seed)
        assert drawn(framed, seed) == entries
        assert made["seed"] == seed and made["manifest_sha256"] == manifest.sha256(entries)
    assert len(list(framed.iterdir())) == 5


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_every_protocol_is_built_as_it_says(records_dir, tmp_path, name):
    made = build_episodes(records_dir, FOLD, tmp_path / name, name)
    p = protocols.protocol(name)
    assert [m["seed"] for m in made["manifests"]] == list(p.seeds)
    found = manifest.Archive(records.load_index(records_dir), p.split, CLASSES)
    entries = drawn(tmp_path / name, p.seeds[-1])
    assert entries == manifest.draw(found, 1, p.episodes, p.seeds[-1], p.sampling)
    filters = [d for d in made["deviations"] if d.startswith("filter oslsm")]
    assert made["deviations"] == filters and bool(filters) == (p.filter != "oslsm")


def test_base_classes_are_the_others(records_dir, tmp_path):
    made = build_episodes(records_dir, FOLD, tmp_path / "b", episodes=40, classes="base")
    assert {e.class_id for e in drawn(tmp_path / "b", 0)}.isdisjoint(CLASSES)
    assert len(made["class_names"]) == 15


def pictures(value, role, kind):
    """Arrays of a feature, with Pillow."""
    encoded = value.features.feature[f"{role}/{kind}/encoded"].bytes_list.value
    return [np.array(Image.open(io.BytesIO(e))) for e in encoded]


def test_pillow_reads_the_episodes(framed, archive):
    """tf.train.Example is a protocol buffer that any framework reads; the rest is PNG."""
    path = str(framed / "episodes-seed3.tfrecord")
    values = [
        tf.train.Example.FromString(r)
        for r in tf.data.TFRecordDataset(path).as_numpy_iterator()
    ]
    for value, entry in zip(values, drawn(framed, 3), strict=True):
        feature = value.features.feature
        assert feature["class_id"].int64_list.value == [entry.class_id]
        assert feature["image_size"].int64_list.value == [SIZE]
        assert feature["query/id"].bytes_list.value == [entry.query.encode()]
        assert feature["support/id"].bytes_list.value == [n.encode() for n in entry.support]
        for role, name in (("support", entry.support[0]), ("query", entry.query)):
            photo, label = archive.photo(name)
            (image,), (mask,) = pictures(value, role, "image"), pictures(value, role, "mask")
            resized = resizing.resize_image(photo, SIZE)
            assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
            np.testing.assert_allclose(image, resized, atol=0.5 + 1e-3)
            truth = np.where(label == 255, 255, label == entry.class_id)
            expected = resizing.resize_mask(truth[..., None], SIZE)[..., 0]
            np.testing.assert_array_equal(mask, expected)
            assert set(np.unique(mask)) == {0, 1, 255}
        np.testing.assert_array_equal(pictures(value, "query", "truth")[0], truth)


@pytest.mark.parametrize("size", [SIZE, 65])
def test_unframed_episodes_have_the_pixels_of_evaluation(unframed, records_dir, size):
    archive = manifest.Archive(records.load_index(records_dir), "train", CLASSES)
    for seed in (1234, 1238):
        path = unframed / f"episodes-seed{seed}.tfrecord"
        expected = batches(archive, drawn(unframed, seed), size, batch_size=1)
        found = list(episodes_from_tfrecords(path, size).batch(1).as_numpy_iterator())
        assert len(found) == 5
        for episode, other in zip(found, expected.as_numpy_iterator(), strict=True):
            assert episode.keys() == other.keys() - {"query_truth", "query_size"}
            for key, value in episode.items():
                assert value.dtype == other[key].dtype
                np.testing.assert_array_equal(value, other[key])
    assert found[0]["support_image"].shape == (1, 2, size, size, 3)


def test_framed_episodes_need_no_size_and_are_whole_grey_levels_of_them(framed, archive):
    path = framed / "episodes-seed0.tfrecord"
    found = list(episodes_from_tfrecords(path).batch(6).as_numpy_iterator())
    expected = batches(archive, drawn(framed, 0), SIZE, batch_size=6)
    (expected,) = expected.as_numpy_iterator()
    for key in ("support_mask", "query_mask", "class_id"):
        np.testing.assert_array_equal(found[0][key], expected[key])
    for key in ("support_image", "query_image"):
        np.testing.assert_array_equal(found[0][key], np.rint(expected[key]))
        assert found[0][key].dtype == np.float32
    assert episodes_from_tfrecords(path, SIZE).element_spec["query_image"].shape == (41, 41, 3)


def test_letterboxed_episodes_are_padded_with_void(records_dir, tmp_path):
    build_episodes(
        records_dir, FOLD, tmp_path / "e", "pfenet", episodes=2, tfrecords=True, image_size=SIZE
    )
    path = tmp_path / "e" / "episodes-seed321.tfrecord"
    for episode in episodes_from_tfrecords(path).as_numpy_iterator():
        # Photos of 110 x 140: 41*110/140 = 32.2 -> 32 of 41 rows, 40 of 41 columns.
        assert np.all(episode["query_mask"][32:] == 255)
        assert np.all(episode["query_mask"][:, 40:] == 255)
        assert np.any(episode["query_mask"][31, :40] != 255)
        np.testing.assert_array_equal(
            episode["query_image"][32:], np.broadcast_to([124, 116, 104], (9, SIZE, 3))
        )


def test_sizes_that_do_not_go_with_a_file(framed, unframed, tmp_path):
    with pytest.raises(ValueError, match="size of 41 px.*received 65. Leave it out"):
        episodes_from_tfrecords(framed / "episodes-seed0.tfrecord", 65)
    with pytest.raises(ValueError, match="expected an image size, .*received none"):
        episodes_from_tfrecords(unframed / "episodes-seed1234.tfrecord")
    with pytest.raises(FileNotFoundError, match="expected a TFRecord of episodes"):
        episodes_from_tfrecords(tmp_path / "none.tfrecord")


def test_records_of_photos_are_no_episodes(archive, tmp_path):
    with pytest.raises(ValueError, match="received none in it"):
        episodes_from_tfrecords(archive.index.files("val", 6)[0])
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="received none in it"):
        episodes_from_tfrecords(tmp_path / "empty")


def test_episodes_that_were_cut_off_are_named(unframed, tmp_path):
    content = (unframed / "episodes-seed1234.tfrecord").read_bytes()
    cut = tmp_path / "cut.tfrecord"
    for length in (len(content) - 5, 100):
        cut.write_bytes(content[:length])
        with pytest.raises(ValueError, match="cut.tfrecord: expected whole records, received"):
            episode_records.StoredEpisodes(cut)
    with pytest.raises(ValueError, match="cut.tfrecord: expected whole records, received"):
        episodes_from_tfrecords(cut, SIZE)


def build_small(records_dir, out, **options):
    options = {"episodes": 6, "seeds": (0, 3), "tfrecords": True, "image_size": SIZE} | options
    return build_episodes(records_dir, FOLD, out, **options)


def test_the_same_again_is_the_same_and_left_alone(records_dir, framed, tmp_path, capsys):
    first = build_small(records_dir, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(framed)
    before = (tmp_path / "again" / "episodes.json").stat().st_mtime_ns
    assert build_small(records_dir, tmp_path / "again") == first
    assert "left alone" in capsys.readouterr().out
    assert (tmp_path / "again" / "episodes.json").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


@pytest.mark.parametrize(
    "options",
    [
        {"episodes": 7},
        {"seeds": (0,)},
        {"image_size": 33},
        {"protocol": "hsnet"},
        {"classes": "base"},
        {"tfrecords": False, "image_size": None},
    ],
)
def test_other_episodes_are_overwritten_when_asked_only(records_dir, framed, tmp_path, options):
    out = tmp_path / "e"
    shutil.copytree(framed, out)
    with pytest.raises(FileExistsError, match="expected .*received.*--overwrite"):
        build_small(records_dir, out, **options)
    build_small(records_dir, out, **options, overwrite=True)
    build_small(records_dir, out, **options)


@pytest.mark.parametrize("name", ["manifest-seed0.jsonl", "episodes-seed3.tfrecord"])
def test_damaged_files_are_noticed(records_dir, framed, tmp_path, name):
    shutil.copytree(framed, tmp_path / "e")
    path = tmp_path / "e" / name
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FileExistsError, match=f"{name}: .*received another"):
        build_small(records_dir, tmp_path / "e")
    path.unlink()
    with pytest.raises(FileExistsError, match=f"{name}: .*received none"):
        build_small(records_dir, tmp_path / "e")


def test_a_full_disk_is_an_os_error_and_leaves_nothing(records_dir, tmp_path, monkeypatch):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    to_disk = tf.io.TFRecordWriter
    monkeypatch.setattr(tf.io, "TFRecordWriter", lambda _: to_disk("/dev/full"))
    with pytest.raises(OSError, match="No space left.*--out"):
        build_small(records_dir, tmp_path / "e")
    assert not list(tmp_path.iterdir())


def test_other_things_are_never_deleted(records_dir, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="thesis.txt.*--out"):
            build_small(records_dir, out, overwrite=overwrite)
    build_small(records_dir, tmp_path / "ours", tfrecords=False, image_size=None)
    (tmp_path / "ours" / "notes.txt").write_text("put here later")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="notes.txt.*--out"):
            build_small(records_dir, tmp_path / "ours", overwrite=overwrite)
    (tmp_path / "ours" / "notes.txt").unlink()
    (tmp_path / "ours" / "kept").mkdir()
    (tmp_path / "ours" / "kept" / "episodes.json").write_text("of a copy")
    with pytest.raises(FileExistsError, match="kept/episodes.json.*--out"):
        build_small(records_dir, tmp_path / "ours", overwrite=True)
    assert (out / "thesis.txt").exists() and (tmp_path / "ours" / "kept").exists()


def test_a_failed_build_leaves_nothing(records_dir, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(episode_records, "serialize", broken)
    with pytest.raises(OSError, match="disk full"):
        build_small(records_dir, tmp_path / "e")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_built(records_dir, tmp_path):
    with pytest.raises(ValueError, match="--image_size: .*--tfrecords"):
        build_episodes(records_dir, FOLD, tmp_path / "e", image_size=SIZE)
    with pytest.raises(ValueError, match="2-shot episodes need at least 3 photos"):
        build_episodes(records_dir, FOLD, tmp_path / "e", shot=2)
    with pytest.raises(ValueError, match="fold: expected one of 0..3"):
        build_episodes(records_dir, 4, tmp_path / "e")
    for wrong in ("0,-1", "0,x", "3, 3"):
        said = f"--seeds: expected different whole numbers.*received '{wrong}'"
        with pytest.raises(ValueError, match=said):
            command._seeds(wrong.split(","))
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_it_made(records_dir, tmp_path, capsys):
    flags = [f"--records={records_dir}", "--fold=1", f"--out={tmp_path / 'e'}", "--seeds=2,5"]
    commands.run(command, *flags)
    said = capsys.readouterr().out
    assert "fold 1 (bus, car, cat, chair, cow), 1-shot, protocol crnet, 1000" in said
    assert "not as the protocol: seeds 2,5 (protocol: 0)" in said
    assert len(drawn(tmp_path / "e", 5)) == 1000
