"""The trained part of a checkpoint travels alone and is joined to the same network."""

import dataclasses

import keras
import numpy as np
import pytest
from helpers.commands import run
from helpers.networks import TINY, episode

from crnet_tf import compact, heads
from crnet_tf.network import model
from crnet_tf.network.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint with a frozen encoder, and the file of its backbone weights."""
    folder = tmp_path_factory.mktemp("heads")
    keras.utils.set_random_seed(1)
    network = model.build_crnet(TINY)
    trunk = network.parts.encoder.get_layer("tiny")
    for variable in trunk.weights:
        if variable.name == "bias":  # begins as 0, which no rounding changes
            variable.assign(keras.random.normal(variable.shape, seed=1))
    arrays = {
        f"{layer.name}/{v.name}": v.numpy() for layer in trunk.layers for v in layer.weights
    }
    np.savez(folder / "backbone.npz", **arrays)
    network.save(folder / "best.keras")
    return folder


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("float16", 1e-3)])
def test_what_is_joined_answers_as_before(trained, tmp_path, dtype, tolerance):
    part, joined = tmp_path / "new" / "heads.npz", tmp_path / "newer" / "joined.keras"
    run(heads, f"--checkpoint={trained}/best.keras", f"--out={part}", f"--dtype={dtype}")
    weights = f"{trained}/backbone.npz"
    run(heads, f"--heads={part}", f"--backbone_weights={weights}", f"--out={joined}")
    before, after = (load_checkpoint(p) for p in (trained / "best.keras", joined))
    assert after.config == dataclasses.replace(before.config, backbone_weights=weights)
    inputs = episode()
    np.testing.assert_allclose(after(inputs)["query"], before(inputs)["query"], atol=tolerance)
    names = np.load(part).files
    assert any("refinement" in name for name in names) and not any("stage" in n for n in names)


def test_the_heads_of_a_compact_checkpoint_are_joined_with_weights_that_were_not_rounded(
    trained, tmp_path
):
    small, part = tmp_path / "small.keras", tmp_path / "heads.npz"
    compact.compact(trained / "best.keras", small)
    heads.take(load_checkpoint(small), part)
    joined, inputs = heads.join(part, f"{trained}/backbone.npz"), episode()
    expected = load_checkpoint(small)(inputs)["query"]
    np.testing.assert_allclose(joined(inputs)["query"], expected, atol=1e-3)


def test_another_encoder_is_refused(trained, tmp_path):
    heads.take(load_checkpoint(trained / "best.keras"), tmp_path / "heads.npz")
    arrays = dict(np.load(trained / "backbone.npz"))
    arrays["stage4/kernel"] = arrays["stage4/kernel"] * 1.001
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match="trained on other backbone weights than .*other.npz"):
        heads.join(tmp_path / "heads.npz", str(tmp_path / "other.npz"))


def test_a_file_of_something_else_is_refused(trained):
    with pytest.raises(ValueError, match="expected a file of crnet_tf.heads"):
        heads.join(trained / "backbone.npz", "none")
    with pytest.raises(ValueError, match="Expected one of --checkpoint and --heads"):
        run(heads, "--out=x.npz")


def test_a_checkpoint_is_not_overwritten_with_heads(tmp_path):
    path = tmp_path / "best.keras"
    path.write_bytes(b"a checkpoint")
    with pytest.raises(ValueError, match="out: expected a name that ends in .npz"):
        run(heads, f"--checkpoint={path}", f"--out={path}")
    assert path.read_bytes() == b"a checkpoint"
