"""The audit's comparison with known counts, on made-up counts of a complete set."""

import dataclasses
import re

import pytest

from crnet_tf.data import records
from pipelines.checking import audit

COMPLETE = [
    ("pairs", "oslsm", "train", 10582, 13682),
    ("pairs", "area2048", "val", 1449, 1923),
    ("pfenet", "area2048", "train", 5953, 7903),
]


@pytest.fixture
def index(records_dir):
    return records.load_index(records_dir)


@pytest.mark.parametrize(("list_name", "filter", "split", "photos", "pairs"), COMPLETE)
def test_complete_sets_are_recognised(index, list_name, filter, split, photos, pairs):
    index = dataclasses.replace(index, filter=filter)
    verdict = audit.compare(index, split, photos, pairs, list_name)
    assert verdict == "; complete, as expected"
    verdict = audit.compare(index, split, photos, pairs - 6, list_name)
    assert verdict.startswith(f"; complete, but 6 fewer pairs than the expected {pairs:,}")


@pytest.mark.parametrize(
    ("split", "photos", "pairs", "verdict"),
    [
        ("train", 1099, 1661, "; a subset of the 10,582 .*pairs: 9,483 fewer .*12,021 fewer"),
        ("train", 10583, 13684, "; not just the 10,582 .*: 1 more photos, 2 more pairs"),
        ("test", 1449, 1866, "$"),
    ],
)
def test_it_says_how_others_differ(index, split, photos, pairs, verdict):
    assert re.match(verdict, audit.compare(index, split, photos, pairs))


def test_published_folds_add_up():
    """Of the published lists to 13,680 and 1,868; of PFENet's to its own totals."""
    lists = audit.PUBLISHED_FOLDS["pairs", "oslsm"]
    assert (sum(lists["train"]), sum(lists["val"])) == (13680, 1868)
    for split, folds in audit.PUBLISHED_FOLDS["pfenet", "area2048"].items():
        assert sum(folds) == audit.PASCAL5I_PAIRS["pfenet", "area2048"][split]


def test_published_counts_stand_beside_those_of_a_complete_set(index, monkeypatch):
    assert "published" not in audit.audit(index)
    monkeypatch.setitem(audit.PASCAL5I_PHOTOS, "pairs", {"train": 40, "val": 20})
    text = audit.audit(index)
    assert "fold 1:    20 pairs on    20 photos (published: 3,425)   bus 4" in text
    assert "complete, but 13,602 fewer pairs" in text


def test_own_folds_and_many_classes(index):
    own = dataclasses.replace(
        index, dataset="own", classes_by_fold=((1, 2), tuple(range(1, 21)))
    )
    text = audit.audit(own)
    assert "fold 0:     8 pairs on     8 photos   aeroplane 4  bicycle 4" in text
    many = tuple(range(1, 21)) + (1,)
    text = audit.audit(dataclasses.replace(own, classes_by_fold=(many,)))
    assert "21 classes of 4 to 4" in text and "without" not in text


def test_no_folds(index):
    assert "fold" not in audit.audit(dataclasses.replace(index, dataset="own"))


@pytest.mark.parametrize("dataset", ["coco20i", "coco20i-contiguous", "coco40-20-20"])
def test_coco(index, dataset):
    index = dataclasses.replace(
        index, dataset=dataset, filter="area2048", source="coco, COCO 2014"
    )
    verdict = audit.compare(index, "val", 40137, 82000)
    assert verdict == "; complete; HSNet's lists have 82,573 pairs"
    assert "a subset of the 82,081 of COCO 2014" in audit.compare(index, "train", 9, 9)
    index = dataclasses.replace(index, source="coco, COCO 2017")
    for split, photos in (("train", 117266), ("val", 4952)):
        assert audit.compare(index, split, photos, 2 * photos) == ""


def test_other_data_sets_have_nothing_to_compare_with(index):
    index = dataclasses.replace(index, dataset="demo")
    assert audit.compare(index, "train", 10582, 13682) == ""
