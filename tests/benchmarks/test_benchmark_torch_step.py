"""The training step in PyTorch, beside ours; what needs no PyTorch, and what does."""

import pytest
from helpers.networks import build

from benchmarks import torch_step

SECONDS = {("features", "PyTorch"): 3.0, ("features", "TensorFlow"): 4.0}


def test_the_table_gives_rates_and_how_they_compare():
    first, second = torch_step.table(SECONDS, batch=6).splitlines()[2:]
    assert first == "| features | PyTorch | 3.000 | 2.00 | 0.75 |"
    assert second == "| features | TensorFlow | 4.000 | 1.50 | 1.00 |"


def test_kinds_count_as_often_as_a_step_has_them():
    seconds = {
        (k, by): s for k, s in (("a", 1.0), ("b", 2.0)) for by in ("TensorFlow", "PyTorch")
    }
    *_, last = torch_step.table_of_kinds(seconds, {"a": 3, "b": 1}).splitlines()
    assert last == "| all | 4 | 5.000 | 5.000 |"


def test_both_compute_the_same_loss_from_the_same_weights():
    pytest.importorskip("torch", reason="PyTorch is no requirement of the project")
    from benchmarks import torch_training

    network = build()
    _, episode, features = torch_training.prepared(network.config)
    torch_training.check_they_agree(network, episode, features)
    network.parts.condition.fuse.kernel.assign(2 * network.parts.condition.fuse.kernel)
    ways, counts = torch_training.convolutions(network, episode, features)
    assert len(ways) == 2 * len(counts) and all(map(callable, ways.values()))
