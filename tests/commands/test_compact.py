"""A compact checkpoint answers as the one it was made of, in half the bytes."""

import keras
import numpy as np
import pytest
from helpers import commands
from helpers.networks import lively, photo

from crnet_tf import compact
from crnet_tf.fewshot.segmenter import Segmenter
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.training import checkpoints
from crnet_tf.training import compact as to_give_away


@pytest.fixture(scope="module")
def network():
    return lively()


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    network.compile(optimizer=keras.optimizers.AdamW())
    network.optimizer.build(network.trainable_variables)
    path = tmp_path_factory.mktemp("run") / "best.keras"
    network.save(path)
    return path


def test_answers_stay_and_bytes_halve(network, checkpoint, tmp_path, capsys):
    small = tmp_path / "new" / "small.keras"
    commands.run(compact, f"--checkpoint={checkpoint}", f"--out={small}")
    assert "small.keras: " in capsys.readouterr().out
    plain = tmp_path / "plain.keras"
    keras.saving.save_model(network, plain, include_optimizer=False)
    weights = sum(value.nbytes for value in network.get_weights())
    assert small.stat().st_size < plain.stat().st_size - 0.4 * weights
    loaded = load_checkpoint(small)
    for was, now in zip(network.get_weights(), loaded.get_weights(), strict=True):
        assert now.dtype == was.dtype
        np.testing.assert_allclose(now, was, atol=1e-3 * max(np.abs(was).max(), 1e-30))
    support, query = photo(1), photo(2).image
    answers = [
        Segmenter(one).fit(support).predict(query).probability for one in (network, loaded)
    ]
    np.testing.assert_allclose(*answers, atol=0.01)
    assert not [path for path in small.parent.iterdir() if path != small]


def test_nothing_is_to_be_seen_before_it_is_whole(checkpoint, tmp_path, monkeypatch):
    """Where it is killed, nobody takes what is left for a checkpoint."""
    save, seen = keras.saving.save_model, []

    def watched(network, path, **options):
        save(network, path, **options)
        seen.extend(tmp_path.iterdir())

    monkeypatch.setattr(keras.saving, "save_model", watched)
    to_give_away.compact(checkpoint, tmp_path / "small.keras")
    assert len(seen) == 1 and seen[0].name.startswith(".small.")


def test_what_half_cannot_hold_keeps_its_type(tmp_path, network):
    variable = network.parts.projection.get_layer("project").bias
    kept = variable.numpy()
    variable.assign(np.full_like(kept, 83_614))
    try:
        network.save(tmp_path / "large.keras")
    finally:
        variable.assign(kept)
    to_give_away.compact(tmp_path / "large.keras", tmp_path / "small.keras")
    loaded = load_checkpoint(tmp_path / "small.keras")
    bias = loaded.parts.projection.get_layer("project").bias
    np.testing.assert_array_equal(bias.numpy(), np.full_like(kept, 83_614))


def test_arithmetic_is_float32(tmp_path):
    lively(precision="mixed_bfloat16").save(tmp_path / "mixed.keras")
    to_give_away.compact(tmp_path / "mixed.keras", tmp_path / "small.keras")
    loaded = load_checkpoint(tmp_path / "small.keras")
    assert loaded.config.precision == "float32"
    assert loaded.parts.encoder.compute_dtype == "float32"


def test_supports_are_encoded_once_where_asked(checkpoint, tmp_path):
    small = tmp_path / "small.keras"
    commands.run(compact, f"--checkpoint={checkpoint}", f"--out={small}", "--nomask_image")
    before, after = load_checkpoint(checkpoint), load_checkpoint(small)
    assert before.parts.masks_image and not after.parts.masks_image
    for was, now in zip(before.get_weights(), after.get_weights(), strict=True):
        np.testing.assert_allclose(now, was, atol=1e-3 * max(np.abs(was).max(), 1e-30))


def test_other_names_are_refused(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="ends in .keras"):
        to_give_away.compact(checkpoint, tmp_path / "small.h5")
    with pytest.raises(FileNotFoundError, match="No checkpoint"):
        to_give_away.compact(tmp_path / "none.keras", tmp_path / "small.keras")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_training_goes_on_from_is_not_overwritten(network, tmp_path):
    last = tmp_path / "last.keras"
    checkpoints.save_atomically(network, last, epochs=3)
    before = last.read_bytes()
    with pytest.raises(ValueError, match="whose optimiser would be lost"):
        to_give_away.compact(last, last)
    assert last.read_bytes() == before
    to_give_away.compact(last, tmp_path / "small.keras")
