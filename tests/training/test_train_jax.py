"""Training with JAX: the losses of TensorFlow, a resumable run, checkpoints for both."""

import ast
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers.commands import run

from crnet_tf.config import Config
from crnet_tf.data import photo_pack
from crnet_tf.network import metrics, model
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.training import checkpoints, jax_loop, optimizers
from pipelines import pack_photos

ROOT = pathlib.Path(__file__).parents[2]
SETTINGS = Config(
    fold=1, backbone="tiny", backbone_weights="none", image_size=33, channels=8,
    global_kernel=3, aspp_rates="1,2", refine_steps=2, batch_size=2, augment="canet",
    optimizer="adamw", learning_rate=3e-3, ema=0.9, clip_norm=1.0, warmup_steps=2,
    steps=40, steps_per_epoch=20, val_episodes=24,
)  # fmt: skip
FLAGS = [
    f"--{name}={value}"
    for name, value in dataclasses.asdict(SETTINGS).items()
    if value != getattr(Config(), name)
]


@pytest.fixture(scope="module")
def packed(records_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("pack") / "voc"
    run(pack_photos, f"--records={records_dir}", f"--out={out}")
    return out


# === Without JAX ===


def test_tensorflow_is_not_imported_on_the_way():
    """By any module that `train_jax` imports."""
    seen, waiting = (
        set(),
        ["crnet_tf.train_jax", "crnet_tf.training.jax_loop", "crnet_tf.training.jax_steps"],
    )
    while waiting:
        name = waiting.pop()
        path = ROOT.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in seen or not path.exists():
            continue
        seen.add(name)
        for node in ast.parse(path.read_text()).body:
            found = []
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            assert not any(target.split(".")[0] == "tensorflow" for target in found), name
            waiting += [target for target in found if target.startswith("crnet_tf")]
    names = {"network.model", "training.runs", "data.photo_pack", "data.augmentation_on_device"}
    assert {f"crnet_tf.{name}" for name in names} <= seen


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_views": 1}, "feature_views: expected it off.*crnet train"),
        ({"feature_levels": "reduced"}, "reduced without --reduction: expected it off"),
        ({"colour_rotation": True}, "colour_rotation: expected it off"),
        ({"precision": "mixed_float16"}, "precision=mixed_float16: expected it off"),
        ({"select_on": "novel"}, "select_on=novel: expected it off"),
        ({}, "Expected Keras on JAX, received tensorflow. Give KERAS_BACKEND=jax"),
    ],
)
def test_what_it_cannot_do_is_said(packed, tmp_path, changes, message):
    settings = dataclasses.replace(SETTINGS, **changes)
    with pytest.raises(ValueError, match=message):
        jax_loop.train(settings, photo_pack.read(packed), tmp_path)


# === With JAX, in a process of its own ===

ENVIRONMENT = {
    "KERAS_BACKEND": "jax",
    "PYTHONPATH": os.pathsep.join(sys.path),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
SCRIPT = """
import pathlib, sys
sys.path.insert(0, {tests!r})
import jax, keras, numpy as np
from helpers.commands import run
from crnet_tf.training import jax_steps, optimizers
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.data import photo_pack
from crnet_tf import train_jax
work, pack = pathlib.Path({work!r}), {pack!r}
assert "tensorflow" not in sys.modules

network = load_checkpoint(work / "start.keras")
network.compile(optimizers.optimizer(network.config))
network.optimizer.build(network.trainable_variables)
photos = dict(np.load(work / "photos.npz"))
drawn = dict(np.load(work / "drawn.npz"))
state = jax_steps.read_state(network)
first, losses = jax_steps.many_steps(network)(state, photos, drawn)
jax_steps.write_state(network, first)
network.save(work / "after.keras")
named = {{m.name: float(m.result()) for m in network.loss_means.values()}}
np.savez(work / "losses.npz", losses=losses, **named)
np.savez(work / "optimizer.npz", *(np.asarray(v) for v in network.optimizer.variables))

def train(out, *flags):
    run(train_jax, "--pack=" + pack, "--out=" + str(work / out), *{flags!r}, *flags)
train("whole")
train("parts", "--steps=20")
train("parts")
try:
    train(
        "broken", "--steps=1", "--steps_per_epoch=1", "--warmup_steps=0", "--clip_norm=0",
        "--learning_rate=3e38", "--weight_decay=1e6",
    )
except FloatingPointError as error:
    (work / "broken.txt").write_text(str(error))
"""


@pytest.fixture(scope="module")
def work(packed, tmp_path_factory):
    """What the script leaves; the same three steps are made here under TensorFlow."""
    pytest.importorskip("jax", reason="jax is not installed")
    from crnet_tf.training import jax_steps

    out = tmp_path_factory.mktemp("jax")
    keras.utils.set_random_seed(0)
    network = model.build_crnet(SETTINGS)
    for variable in network.trainable_variables:
        if "classifier" in variable.path:  # starts near 0: any features would do
            variable.assign(100 * variable)
    network.save(out / "start.keras")
    pack = photo_pack.read(packed)
    rows = pack.by_class("train", pack.index.train_classes(1))
    photos = photo_pack.canvases(pack.photos)
    drawn = jax_steps.draw(rows, SETTINGS.batch_size, seed=3, first=0, count=3)
    np.savez(out / "photos.npz", **photos)
    np.savez(out / "drawn.npz", **drawn)
    network.compile(optimizers.optimizer(SETTINGS), jit_compile=False)
    logs = []
    for step in range(3):
        one = {name: values[step] for name, values in drawn.items()}
        batch = jax_steps.episode(photos, one, SETTINGS.image_size, SETTINGS.augment)
        logs.append(network.train_on_batch(*batch, return_dict=True))
    code = SCRIPT.format(
        tests=str(ROOT / "tests"), work=str(out), pack=str(packed), flags=FLAGS
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | ENVIRONMENT | {"JAX_COMPILATION_CACHE_DIR": str(out / "cache")},
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return out, network, logs


def test_losses_and_updates_are_those_of_tensorflow(work):
    out, network, logs = work
    found = dict(np.load(out / "losses.npz"))
    losses = [step["loss"] for step in logs]
    np.testing.assert_allclose(found.pop("losses"), losses, rtol=1e-5)
    assert found.keys() == logs[0].keys() - {"loss"} and len(found) > 5
    for name, mean in found.items():
        assert mean == pytest.approx(np.mean([step[name] for step in logs]), rel=1e-5), name
    after = load_checkpoint(out / "after.keras")
    start = load_checkpoint(out / "start.keras")
    for a, b, c in zip(
        after.trainable_variables, network.trainable_variables, start.trainable_variables,
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(a, b, atol=2e-4, err_msg=a.path)
        assert np.any(np.asarray(a) != np.asarray(c)), a.path
    kept = np.load(out / "optimizer.npz")
    averages = network.optimizer._model_variables_moving_average
    expected = [np.asarray(v) for v in network.optimizer.variables]
    assert len(kept.files) == len(expected) and averages
    for name, value in zip(kept.files, expected, strict=True):
        np.testing.assert_allclose(kept[name], value, atol=2e-4)


def test_training_lowers_the_loss_and_says_how_fast(work):
    history = json.loads((work[0] / "whole" / "history.json").read_text())
    assert [row["step"] for row in history] == [20, 40]
    assert history[1]["loss"] < 0.95 * history[0]["loss"]
    written = json.loads((work[0] / "whole" / "run.json").read_text())
    session = written["sessions"][-1]
    assert "tensorflow" not in session["versions"] and session["versions"]["jax"]
    assert written["test_classes"] == ["bus", "car", "cat", "chair", "cow"]
    assert session["episodes_per_second"] == pytest.approx(2 * session["steps_per_second"])
    done = session["flops_per_step"] * session["steps_per_second"]
    rate = session["bfloat16_matmul_flops_per_second"]
    assert session["model_flop_utilisation"] == pytest.approx(done / rate)
    assert 0 < session["model_flop_utilisation"] < 1


def test_weights_that_are_not_finite_are_in_no_checkpoint(work):
    """Though the one step there was had a loss: that of the weights before it."""
    assert "received NaN or infinity as weights in the steps from 0 on" in (
        work[0] / "broken.txt"
    ).read_text(encoding="utf-8")
    assert {path.name for path in (work[0] / "broken").iterdir()} == {"run.json"}


def test_a_resumed_run_ends_with_the_same_weights(work):
    whole, parts = (load_checkpoint(work[0] / d / "last.keras") for d in ("whole", "parts"))
    for a, b in zip(whole.trainable_variables, parts.trainable_variables, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6, err_msg=a.path)
    assert checkpoints.finished_epochs(work[0] / "parts" / "last.keras") == 2
    files = [work[0] / d / "history.json" for d in ("whole", "parts")]
    one, other = (json.loads(file.read_text()) for file in files)
    for a, b in zip(one, other, strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_tensorflow_evaluates_the_checkpoint_to_the_same_score(work, packed):
    from crnet_tf.training import jax_steps

    best = json.loads((work[0] / "whole" / "best.json").read_text())
    network = load_checkpoint(work[0] / "whole" / "best.keras")
    pack = photo_pack.read(packed)
    rows = pack.by_class("val", pack.index.validation_classes(1))
    drawn = jax_steps.draw(rows, SETTINGS.val_episodes, SETTINGS.seed, 0, 1)
    one = {name: values[0] for name, values in drawn.items()}
    inputs, targets = jax_steps.episode(photo_pack.canvases(pack.photos), one, 33, "none")
    predicted = np.argmax(network(inputs)["query"], axis=-1)
    totals = {}
    for class_id, answer, mask in zip(
        one["class_id"].tolist(), predicted, targets["query_mask"], strict=True
    ):
        areas = metrics.areas(answer, np.asarray(mask)[..., 0])
        totals[class_id] = totals.get(class_id, 0) + areas
    assert metrics.mean_iou(totals) == pytest.approx(best["value"], abs=1e-4)
    assert best["value"] > 0
