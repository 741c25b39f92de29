"""The benchmark of a searched folder: its ratios are those of its rows."""

import numpy as np

from benchmarks import predict


def test_the_table_gives_ratios_to_the_first_way_and_pixels_to_the_exact_one():
    names = list(predict.WAYS)
    found = {name: np.array([8.0, 12.0]) for name in names}
    found[names[-1]] = np.array([2.0, 3.0])
    masks = {name: [np.zeros((2, 5), np.uint8)] * 4 for name in names}
    masks[names[-1]] = [np.eye(2, 5, dtype=np.uint8)] * 4
    *_, row = predict.table(found, masks, count=4).splitlines()
    assert row == f"| {names[-1]} | 0.500 | 0.750 | 4.00 | 1.50 | 20.00 % |"
