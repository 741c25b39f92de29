"""No file that the project reads can make it run code."""

import pathlib
import re

import keras
import numpy as np
import pytest

from crnet_tf.network.backbones import load_weights
from crnet_tf.network.checkpoint import load_checkpoint


def test_a_checkpoint_that_carries_code_is_refused(tmp_path):
    """A `.keras` file may hold pickled Python in a Lambda layer."""
    inputs = keras.Input((3,))
    evil = keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs))
    evil.save(tmp_path / "evil.keras")
    with pytest.raises(ValueError, match="cannot be read as a checkpoint.*(?i:unsafe|lambda)"):
        load_checkpoint(tmp_path / "evil.keras")


def test_weights_that_carry_code_are_refused(tmp_path):
    trunk = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    np.savez(tmp_path / "evil.npz", **{"dense/kernel": np.array([print], dtype=object)})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_weights(trunk, "tiny", str(tmp_path / "evil.npz"))


UNSAFE = re.compile(
    r"import (pickle|marshal|shelve|joblib|dill)|allow_pickle=True|safe_mode=False|"
    r"enable_unsafe_deserialization|torch\.load"
)


def test_nothing_in_the_project_reads_pickles():
    root = pathlib.Path(__file__).parents[2]
    for package in ("crnet_tf", "pipelines", "export"):
        for path in (root / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert not UNSAFE.search(text), path
