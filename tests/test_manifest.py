"""Which episodes an evaluation has: fixed by a seed, fair to every photo, written down."""

import collections
import hashlib
import json

import numpy as np
import pytest

from crnet_tf import episodes, manifest, photos, records

CLASSES = (6, 7, 8)


@pytest.fixture(scope="module")
def archive(records_dir):
    """4 photos of each of 3 classes."""
    return manifest.Archive(records.load_index(records_dir), "train", CLASSES)


def handmade(records_dir, tmp_path, sizes):
    """An archive of one class with photos of these (height, width)."""
    archive = manifest.Archive(records.load_index(records_dir), "train", ())
    archive.by_class = {7: {}}
    for i, (height, width) in enumerate(sizes):
        label = np.zeros((height, width), np.uint8)
        label[: height // 2, i:] = 7
        label[-1] = 255
        label[-2] = 6
        files = []
        for name, pixels in (("image", np.stack([label * (i + 1)] * 3, -1)), ("label", label)):
            photos.write_png(tmp_path / f"{name}.png", pixels)
            files.append((tmp_path / f"{name}.png").read_bytes())
        record = records.serialize(files[0], "png", files[1], f"photo{i}", height, width)
        archive.by_class[7][f"photo{i}"] = record
    return archive


def test_an_archive_holds_every_photo_of_its_classes(archive, records_dir):
    index = records.load_index(records_dir)
    assert sorted(archive.by_class) == list(CLASSES)
    for class_id, found in archive.by_class.items():
        assert len(found) == index.count("train", class_id)
        for name, record in found.items():
            parsed = records.parse(record)
            assert parsed["filename"] == name and class_id in parsed["label"].numpy()


def test_missing_records_are_noticed(records_dir):
    index = records.load_index(records_dir)
    index.splits["train"]["classes"]["6"]["records"] = 9
    with pytest.raises(ValueError, match="expected 9 photos of class 6.*received 4.*Build"):
        manifest.Archive(index, "train", CLASSES)


def test_a_seed_fixes_the_episodes(archive):
    first = manifest.draw(archive, 2, 30, seed=5)
    assert manifest.draw(archive, 2, 30, seed=5) == first
    again = manifest.sha256(manifest.draw(archive, 2, 30, seed=5))
    assert again == manifest.sha256(first)
    assert manifest.sha256(manifest.draw(archive, 2, 30, seed=6)) != again


def test_the_order_of_the_records_does_not_matter(archive, records_dir):
    turned = manifest.Archive(records.load_index(records_dir), "train", ())
    turned.by_class = {
        class_id: dict(reversed(found.items()))
        for class_id, found in reversed(archive.by_class.items())
    }
    assert manifest.draw(turned, 1, 20, seed=0) == manifest.draw(archive, 1, 20, seed=0)


@pytest.mark.parametrize("shot", [1, 3])
def test_supports_are_other_photos_of_the_class(archive, shot):
    for entry in manifest.draw(archive, shot, 40, seed=0):
        assert len(set(entry.support)) == len(entry.support) == shot
        assert entry.query not in entry.support
        assert {*entry.support, entry.query} <= set(archive.by_class[entry.class_id])


def test_every_pair_is_the_query_once_before_any_is_twice(archive):
    pairs = [(entry.class_id, entry.query) for entry in manifest.draw(archive, 1, 30, seed=1)]
    for start in (0, 12):
        assert len(set(pairs[start : start + 12])) == 12
    assert set(collections.Counter(pairs).values()) == {2, 3}
    assert pairs[:12] != pairs[12:24]  # shuffled anew


def test_more_episodes_begin_with_the_same_ones(archive):
    few, many = (manifest.draw(archive, 1, count, seed=2) for count in (5, 12))
    assert [entry.query for entry in few] == [entry.query for entry in many[:5]]


def test_a_manifest_is_one_json_object_a_line_with_its_hash(archive, tmp_path):
    entries = manifest.draw(archive, 2, 7, seed=0)
    path = tmp_path / "manifest.jsonl"
    manifest.write(path, entries)
    lines = path.read_text().splitlines()
    read = [json.loads(line) for line in lines]
    again = [manifest.Entry(x["class_id"], tuple(x["support"]), x["query"]) for x in read]
    assert again == entries
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == manifest.sha256(entries)
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.jsonl"]


def test_batches_are_the_episodes_in_order_with_the_truth_at_its_size(records_dir, tmp_path):
    sizes = [(20, 30), (44, 16), (25, 25)]
    archive = handmade(records_dir, tmp_path, sizes)
    entries = [
        manifest.Entry(7, (f"photo{support}",), f"photo{query}")
        for support, query in ((1, 0), (2, 1), (0, 2))
    ]
    found = list(manifest.batches(archive, entries, 33, batch_size=2).as_numpy_iterator())
    assert [len(batch["class_id"]) for batch in found] == [2, 1]
    assert found[0]["query_truth"].shape == (2, 44, 30, 1)
    for number, entry in enumerate(entries):
        batch, i = found[number // 2], number % 2
        support, query = (records.parse(record) for record in archive.serialized(entry))
        np.testing.assert_array_equal(
            batch["query_image"][i], episodes.resize_image(query["image"], 33)
        )
        np.testing.assert_array_equal(
            batch["support_mask"][i, 0],
            episodes.resize_mask(episodes.binary_mask(support["label"], 7), 33),
        )
        height, width = sizes[number]
        assert batch["class_id"][i] == 7 and batch["query_size"][i].tolist() == [height, width]
        truth = batch["query_truth"][i].copy()
        np.testing.assert_array_equal(
            truth[:height, :width], episodes.binary_mask(query["label"], 7)
        )
        truth[:height, :width] = 255
        assert np.all(truth == 255)


def test_episodes_of_several_shots_are_batched_too(archive):
    entries = manifest.draw(archive, 3, 2, seed=0)
    batch = next(iter(manifest.batches(archive, entries, 33, batch_size=2)))
    assert batch["support_image"].shape == (2, 3, 33, 33, 3)
    for i, entry in enumerate(entries):
        for k, name in enumerate(entry.support):
            record = records.parse(archive.by_class[entry.class_id][name])
            expected = episodes.resize_image(record["image"], 33)
            np.testing.assert_array_equal(batch["support_image"][i, k], expected)
