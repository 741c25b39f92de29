"""Which episodes an evaluation has: fixed by a seed, fair to every photo, written down."""

import collections
import hashlib
import json
import random
import shutil

import numpy as np
import pytest

from crnet_tf.data import records
from crnet_tf.evaluation import manifest
from crnet_tf.evaluation.sampling import REPEATING, SAMPLINGS
from crnet_tf.images import png_files

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
            png_files.write_png(tmp_path / f"{name}.png", pixels)
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
    with pytest.raises(ValueError, match="received 4 of class 6, .*lists 9.*build"):
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
        class_id: dict(reversed(list(found.items())))
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


def test_only_the_photos_of_some_episodes(archive):
    entries = manifest.draw(archive, 1, 2, seed=0)
    few = archive.only(entries)
    assert set(few.by_name) == {n for e in entries for n in (*e.support, e.query)}
    assert few.by_class.keys() == archive.by_class.keys()
    for entry in entries:
        assert few.serialized(entry) == archive.serialized(entry)


def test_damaged_records_are_named(records_dir, tmp_path):
    shutil.copytree(records_dir, tmp_path / "records")
    (file,) = (tmp_path / "records" / "train").glob("class_07-*")
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match="class_07.*: expected whole records, received"):
        manifest.Archive(records.load_index(tmp_path / "records"), "train", [7])


def drawn(archive, sampling, count=60, shot=1, seed=0):
    return manifest.draw(archive, shot, count, seed, sampling)


def test_pairs_are_drawn_as_they_always_were(archive):
    """Published manifest hashes depend on it: written out once more, step by step."""
    generator = random.Random(9)
    pairs = [(c, name) for c in CLASSES for name in sorted(archive.by_class[c])]
    lines = []
    while len(lines) < 30:
        generator.shuffle(pairs)
        for class_id, query in pairs[: 30 - len(lines)]:
            others = sorted(set(archive.by_class[class_id]) - {query})
            support = json.dumps(generator.sample(others, 2))
            lines.append(
                f'{{"class_id": {class_id}, "support": {support}, "query": "{query}"}}'
            )
    expected = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert manifest.sha256(manifest.draw(archive, 2, 30, seed=9)) == expected


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_every_sampling_is_seeded_and_never_shows_the_query(archive, sampling):
    entries = drawn(archive, sampling, shot=2)
    assert entries == drawn(archive, sampling, shot=2)
    assert entries != drawn(archive, sampling, shot=2, seed=1)
    few = drawn(archive, sampling, count=7, shot=2)
    assert [entry.query for entry in few] == [entry.query for entry in entries[:7]]
    for entry in entries:
        assert len(entry.support) == 2 and entry.query not in entry.support
        assert {*entry.support, entry.query} <= set(archive.by_class[entry.class_id])
        assert sampling in REPEATING or len(set(entry.support)) == 2


def test_pairs_in_order_are_walked_cyclically_and_supports_may_repeat(archive):
    pairs = [(c, name) for c in CLASSES for name in sorted(archive.by_class[c])]
    entries = drawn(archive, "pairs_in_order", count=30, shot=3)
    assert [(entry.class_id, entry.query) for entry in entries] == (pairs * 3)[:30]
    assert any(len(set(entry.support)) < 3 for entry in entries)
    # More supports than the class has photos are allowed, as in HSNet.
    assert len(drawn(archive, "pairs_in_order", count=1, shot=9)[0].support) == 9


def test_photos_are_walked_once_a_pass_with_a_class_of_theirs(shared_photos):
    photos_ = sorted(shared_photos.by_name)
    entries = drawn(shared_photos, "photos", count=40 * len(photos_))
    passes = [
        [entry.query for entry in entries[i : i + len(photos_)]]
        for i in range(0, len(entries), len(photos_))
    ]
    assert all(sorted(queries) == photos_ for queries in passes)
    assert passes[0] != passes[1]
    of_both = [entry.class_id for entry in entries if entry.query == "both"]
    counts = collections.Counter(of_both)
    assert set(counts) == {1, 2} and min(counts.values()) > 8  # of 40, 20 expected


@pytest.mark.parametrize("sampling", ["classes", "classes_repeating"])
def test_classes_are_drawn_alike_however_many_photos_they_have(shared_photos, sampling):
    entries = drawn(shared_photos, sampling, 400)
    counts = collections.Counter(e.class_id for e in entries)
    assert set(counts) == {1, 2} and min(counts.values()) > 150  # class 1 has 3 photos of 13
    assert {e.query for e in entries} == set(shared_photos.by_name)


@pytest.fixture
def shared_photos(records_dir):
    """Class 1 with 3 photos, class 2 with 11; one photo is of both."""
    archive = manifest.Archive(records.load_index(records_dir), "train", ())
    archive.by_class = {
        1: {name: b"" for name in ("both", "a1", "a2")},
        2: {name: b"" for name in ("both", *(f"b{i}" for i in range(10)))},
    }
    return archive


@pytest.mark.parametrize("sampling, shot", [("pairs", 3), ("photos", 3), ("classes", 4)])
def test_more_shots_than_a_class_holds(shared_photos, sampling, shot):
    match = f"{shot}-shot.*at least {shot + 1} photos.*train split.*aeroplane .1.: 3.*lower"
    with pytest.raises(ValueError, match=match):
        drawn(shared_photos, sampling, shot=shot)
    assert drawn(shared_photos, sampling, shot=2)


def test_what_cannot_be_drawn(archive, shared_photos):
    with pytest.raises(ValueError, match="of pairs, .*, classes_repeating, received 'random'"):
        drawn(archive, "random")
    with pytest.raises(ValueError, match="shot: expected 1 or more, received 0"):
        drawn(archive, "pairs", shot=0)
    shared_photos.by_class = {}
    with pytest.raises(ValueError, match="received no class"):
        drawn(shared_photos, "pairs")
    shared_photos = manifest.Archive(archive.index, "train", ())
    shared_photos.by_class = {3: {"alone": b""}}
    with pytest.raises(ValueError, match=r"at least 2 photos.*bird \(3\): 1"):
        drawn(shared_photos, "pairs_in_order", shot=5)


def test_a_photo_of_two_classes_is_one_photo(records_dir):
    """In the fixture photo 0 holds classes 1 and 6, photo 5 classes 6 and 11."""
    archive = manifest.Archive(records.load_index(records_dir), "train", (1, 6))
    both = set(archive.by_class[1]) & set(archive.by_class[6])
    assert both
    assert set(archive.by_name) == set(archive.by_class[1]) | set(archive.by_class[6])
    for name in both:
        assert archive.by_class[1][name] == archive.by_class[6][name] == archive.by_name[name]
        image, label = archive.photo(name)
        assert image.dtype == label.dtype == np.uint8
        assert image.shape == (110, 140, 3) and label.shape == (110, 140)
        assert {1, 6} <= set(np.unique(label))
        parsed = records.parse(archive.by_name[name])
        np.testing.assert_array_equal(image, parsed["image"])


def test_negative_queries_hold_not_one_pixel_of_the_class(archive):
    entries = manifest.draw(archive, 2, 30, seed=0)
    found = manifest.negatives(archive, entries, seed=0)
    assert found == manifest.negatives(archive, entries, seed=0)
    assert found != manifest.negatives(archive, entries, seed=1)
    assert [(e.class_id, e.support) for e in found] == [
        (e.class_id, e.support) for e in entries
    ]
    for entry in found:
        assert entry.class_id not in archive.photo(entry.query)[1]
        assert archive.serialized(entry)[-1] == archive.by_name[entry.query]
    assert len({entry.query for entry in found}) > 4
    manifest.check(found, archive, "negatives")


def test_a_photo_that_shows_a_little_of_the_class_is_no_negative(records_dir, tmp_path):
    """The handmade photos are listed with class 7; each has a line of class 6."""
    archive = handmade(records_dir, tmp_path, [(20, 30), (20, 31)])
    archive.by_class[6] = {"elsewhere": b""}
    entries = [manifest.Entry(6, ("elsewhere",), "elsewhere")]
    with pytest.raises(ValueError, match="expected photos without class 6 .*received none"):
        manifest.negatives(archive, entries, seed=0)


def test_photos_of_classes_that_look_alike_in_label_maps_are_no_negatives(
    records_dir, tmp_path
):
    """Class 261 is drawn as class 7 is: such a query's mask would not be empty."""
    archive = handmade(records_dir, tmp_path, [(20, 30), (20, 31)])
    archive.by_class[261] = {"elsewhere": b""}
    entries = [manifest.Entry(261, ("elsewhere",), "elsewhere")]
    with pytest.raises(ValueError, match="expected photos without class 261"):
        manifest.negatives(archive, entries, seed=0)


def test_ways_begin_with_the_querys_class(archive):
    entries = manifest.draw_ways(archive, 2, 3, 60, seed=4)
    assert entries == manifest.draw_ways(archive, 2, 3, 60, seed=4)
    pairs = collections.Counter((e.classes[0], e.query) for e in entries)
    assert set(pairs.values()) == {5} and len(pairs) == 12  # as "pairs"
    for entry in entries:
        assert entry.query in archive.by_class[entry.classes[0]]
        assert len(set(entry.classes)) == len(entry.classes) == len(entry.support) == 2
        for class_id, support in zip(entry.classes, entry.support, strict=True):
            assert len(set(support)) == 3 and entry.query not in support
            assert set(support) <= set(archive.by_class[class_id])
    assert len({entry.classes for entry in entries}) == 6  # every ordered pair of 3 classes


def test_ways_are_told_apart_by_label_maps(records_dir):
    """Class c + 254 is drawn as c is."""
    archive = manifest.Archive(records.load_index(records_dir), "train", CLASSES)
    first = min(CLASSES)
    twin = first + 254
    archive.by_class[twin] = {f"more{i}": b"" for i in range(5)}
    drawn = [e.classes for e in manifest.draw_ways(archive, 2, 3, 60, seed=4)]
    assert any(twin in classes for classes in drawn)
    assert not any({first, twin} == set(classes) for classes in drawn)


def test_ways_need_as_many_classes(archive, tmp_path):
    assert len(manifest.draw_ways(archive, 3, 1, 5, seed=0)[0].classes) == 3
    for way in (0, 4):
        with pytest.raises(ValueError, match=f"way: expected 1..3, .*received {way}"):
            manifest.draw_ways(archive, way, 1, 5, seed=0)
    with pytest.raises(ValueError, match="4-shot episodes need at least 5"):
        manifest.draw_ways(archive, 2, 4, 5, seed=0)
    entries = manifest.draw_ways(archive, 2, 2, 5, seed=0)
    manifest.write(tmp_path / "ways.jsonl", entries)
    first = json.loads((tmp_path / "ways.jsonl").read_text().splitlines()[0])
    assert first["query"] == entries[0].query and len(first["support"]) == 2


@pytest.mark.parametrize("shot", [1, 3])
def test_read_is_the_inverse_of_write(archive, tmp_path, shot):
    entries = manifest.draw(archive, shot, 9, seed=3)
    manifest.write(tmp_path / "m.jsonl", entries)
    assert manifest.read(tmp_path / "m.jsonl") == entries


def test_repeated_supports_are_read_where_allowed(archive, tmp_path):
    entries = drawn(archive, "pairs_in_order", shot=5)
    manifest.write(tmp_path / "m.jsonl", entries)
    assert manifest.read(tmp_path / "m.jsonl", repeated_supports=True) == entries
    with pytest.raises(ValueError, match="line 1: .*which has a support twice"):
        manifest.read(tmp_path / "m.jsonl")


GOOD = '{"class_id": 7, "support": ["a"], "query": "b"}'


@pytest.mark.parametrize(
    "bad",
    [
        "not json",
        "",
        "[7]",
        '{"class_id": 7, "support": ["a"]}',
        '{"class_id": 7, "support": ["a"], "query": "b", "fold": 1}',
        '{"class_id": "cat", "support": ["a"], "query": "b"}',
        '{"class_id": 7, "support": "a", "query": "b"}',
        '{"class_id": 7, "support": null, "query": "b"}',
        '{"class_id": 7, "support": [1], "query": "b"}',
        '{"class_id": 7, "support": [], "query": "b"}',
        '{"class_id": 7, "support": ["b"], "query": "b"}',
        '{"class_id": 7, "support": ["a", "c"], "query": "b"}',
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, bad):
    path = tmp_path / "m.jsonl"
    path.write_text(f"{GOOD}\n{GOOD}\n{bad}\n{GOOD}\n")
    with pytest.raises(ValueError, match="m.jsonl, line 3: expected .*received.*Mend the line"):
        manifest.read(path)


def test_bytes_and_empty_files_are_no_manifests(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="line 1"):
        manifest.read(path)
    path.write_text("")
    with pytest.raises(ValueError, match="an empty file"):
        manifest.read(path)


def test_a_manifest_of_other_records_is_noticed(archive):
    entries = manifest.draw(archive, 1, 12, seed=0)
    manifest.check(entries, archive, "m.jsonl")
    name = next(iter(archive.by_class[6]))
    for strange, named in (
        (manifest.Entry(6, ("2099_000001",), name), "2099_000001"),
        (manifest.Entry(6, (name,), "2099_000002"), "2099_000002"),
        (manifest.Entry(9, (name,), name), name),  # a class that is not here
    ):
        match = f"m.jsonl: a manifest of other records: expected.*train.*received {named}.*Give"
        with pytest.raises(ValueError, match=match):
            manifest.check([*entries, strange], archive, "m.jsonl")
