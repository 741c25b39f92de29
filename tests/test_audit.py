"""The audit's comparison with the published lists, on made-up counts of a complete set."""

import dataclasses

import pytest

from crnet_tf import records
from pipelines import audit


@pytest.mark.parametrize(
    ("filter", "split", "photos", "pairs", "verdict"),
    [
        ("oslsm", "train", 10582, 13682, "; complete, as expected"),
        ("area2048", "val", 1449, 1923, "; complete, as expected"),
        ("oslsm", "val", 1449, 1860, "; complete, but expected 1,866 pairs: other label maps"),
        ("oslsm", "train", 1099, 1661, "; a subset of the 10,582 of PASCAL-5i"),
    ],
)
def test_counts_are_compared_with_the_published_ones(
    records_dir, filter, split, photos, pairs, verdict
):
    index = dataclasses.replace(records.load_index(records_dir), filter=filter)
    assert audit._published(index, split, {"photos": photos}, pairs).startswith(verdict)


def test_other_data_sets_have_nothing_to_compare_with(records_dir):
    index = dataclasses.replace(records.load_index(records_dir), dataset="demo")
    assert audit._published(index, "train", {"photos": 10582}, 13682) == ""
