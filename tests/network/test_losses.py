"""The cross-entropies ignore void and add up over devices."""

import numpy as np
import pytest
from keras import ops

from crnet_tf.config import Config
from crnet_tf.network import losses


def test_cross_entropy_is_the_textbook_one():
    logits = np.random.default_rng(0).normal(size=(1, 2, 2, 2)).astype("float32")
    mask = np.array([0, 1, 1, 0], "uint8").reshape(1, 2, 2, 1)
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -np.log(np.take_along_axis(probability, mask.astype(int), -1)).mean()
    assert float(losses.cross_entropy(logits, mask)) == pytest.approx(expected, rel=1e-5)


def test_void_counts_nowhere():
    logits = np.random.default_rng(0).normal(size=(1, 2, 2, 2)).astype("float32")
    mask = np.array([0, 1, 255, 255], "uint8").reshape(1, 2, 2, 1)
    other = logits.copy()
    other[0, 1] = 100.0
    assert float(losses.cross_entropy(logits, mask)) == float(losses.cross_entropy(other, mask))


def test_an_episode_of_void_alone_is_finite():
    mask = np.full((1, 2, 2, 1), 255, "uint8")
    assert float(losses.cross_entropy(np.ones((1, 2, 2, 2), "float32"), mask)) == 0


def test_the_loss_of_a_batch_is_the_mean_of_its_shares():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 3, 3, 2)).astype("float32")
    mask = rng.choice([0, 1, 255], size=(4, 3, 3, 1)).astype("uint8")
    whole = float(losses.cross_entropy(logits, mask))
    shares = [float(losses.cross_entropy(logits[i : i + 2], mask[i : i + 2])) for i in (0, 2)]
    assert whole == pytest.approx(np.mean(shares), rel=1e-6)


def test_names_and_weights_of_the_total():
    settings = Config(query_weight=2.0, support_weight=3.0, cooccurrent_weight=0.5)
    steps = np.zeros((1, settings.train_refine_steps, 4, 4, 2), "float32")
    mask = np.ones((1, 4, 4, 1), "uint8")
    outputs = {
        "query_steps": steps,
        "support_steps": steps,
        "query_cooccurrent": steps[:, 0],
        "support_cooccurrent": steps[:, 0],
    }
    named = losses.crnet_losses(outputs, mask, mask)
    assert sorted(named) == sorted(losses.names(settings))
    # Every cross-entropy of equal logits is log 2.
    total = float(ops.convert_to_numpy(losses.total(named, settings)))
    assert total == pytest.approx(np.log(2) * (2 + 3 + 0.5 + 0.5), rel=1e-5)
