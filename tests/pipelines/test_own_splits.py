"""Which photos of one's own are held out, and which classes a fold tests on."""

import numpy as np
import pytest

from crnet_tf.annotations.listing import PhotoFile, read_lines
from pipelines.sources import own_splits


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
        with pytest.raises(ValueError, match="--test_classes: .*a, b, c"):
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
    with pytest.raises(ValueError, match="received g/1.*'f/0'"):
        own_splits.split_by_lists(listed, tmp_path / "val")


def test_lists_are_utf8_with_or_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "list.txt"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_bytes("élan/1 \r\n\r\n\tcat/2".encode(encoding))
        assert read_lines(path) == ["élan/1", "cat/2"]
    for encoding in ("latin-1", "utf-16"):
        path.write_bytes("élan/1".encode(encoding))
        with pytest.raises(ValueError, match="list.txt: .*UTF-8"):
            own_splits.split_by_lists(some_photos(6), path)
