"""Work side by side keeps its order."""

import pytest

from crnet_tf.common import threads


def test_results_come_in_order_and_few_wait():
    made, taken = [], []

    def items():
        for number in range(20):
            made.append(number)
            yield number

    for future in threads.futures_of(lambda number: 2 * number, items(), ahead=3):
        assert len(made) <= len(taken) + 4
        taken.append(future.result())
    assert taken == [2 * number for number in range(20)]


def test_one_thread_works_beside_whoever_makes_the_items_and_tells_its_errors():
    done = []

    def work(number):
        if number == 3:
            raise OSError("full")
        done.append(number)

    with pytest.raises(OSError, match="full"):
        for future in threads.futures_of(work, range(9), threads=1, ahead=1):
            future.result()
    assert done[:3] == [0, 1, 2]
