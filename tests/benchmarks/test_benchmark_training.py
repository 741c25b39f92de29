"""The profile of a training step runs every part of it, and says what a store brings."""

import keras
import numpy as np
import tensorflow as tf
from helpers.networks import TINY, build, episode, targets

from benchmarks import training


def test_every_part_is_run_forward_and_back():
    network = build()
    inputs = episode(batch=1)
    batch = [tf.nest.map_structure(tf.constant, x) for x in (inputs, targets(inputs))]
    parts = training.part_functions(network, batch)
    values = {name: run() for name, run in training.timed_functions(parts).items()}
    assert len(values) == 2 * len(parts) == 12
    assert all(np.isfinite(value) and value > 0 for value in values.values()), values


def test_the_report_gives_rates_and_their_ratio():
    keras.utils.set_random_seed(0)
    seconds = {"step": 2.0, "features": 0.5, "projection": 0.1, "projection gradient": 0.25}
    text = training.report(build(), seconds, {"projection": None})
    assert f"| photos | 2.000 | {TINY.batch_size / 2:.2f} | 1 |" in text
    assert f"| 0.500 | {TINY.batch_size / 0.5:.2f} | 4.00 |" in text
    assert "| projection | 0.100 | 0.250 | 50 % |" in text
