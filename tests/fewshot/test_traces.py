"""A graph is traced once for each size of frame, however many photos and supports come."""

import pytest
import tensorflow as tf
from helpers.networks import lively, photo

from crnet_tf.fewshot.learner import Learner
from crnet_tf.fewshot.segmenter import Segmenter
from crnet_tf.options import Options

SIZES = [(40, 52), (52, 40), (33, 33), (61, 35), (70, 90)]


@pytest.fixture(scope="module")
def network():
    return lively(prototype_weight=2.0)


@pytest.fixture
def graphs(monkeypatch):
    """All functions of ours that can be traced and were made since."""
    made, plain = [], tf.function

    def watched(*arguments, **options):
        function = plain(*arguments, **options)
        if arguments:  # Keras' own decorators have none
            made.append(function)
        return function

    monkeypatch.setattr(tf, "function", watched)
    return made


def most_traces(graphs):
    return max(graph.experimental_get_tracing_count() for graph in graphs)


def test_photos_of_five_sizes_are_one_graph(network, graphs):
    support = photo(1)
    segmenter = Segmenter(network).fit(support)
    for seed in range(10):
        segmenter.predict(photo(seed, *SIZES[seed % 5]).image)
    assert most_traces(graphs) == 1


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"kshot": "mean", "leave_one_out": True},
        {"weighted_fusion": True, "test_scales": "1,1.25"},
        pytest.param(
            {"kshot": "finetune+fusion", "finetune_steps": 1, "finetune_views": 1},
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_any_number_of_supports_is_one_graph(network, graphs, options):
    learner = Learner(network, Options(**options))
    for k in (1, 3, 2):
        learner.fit([photo(seed, *SIZES[seed % 5]) for seed in range(k)]).steps(photo(9))
    assert most_traces(graphs) <= len(learner.frames)
