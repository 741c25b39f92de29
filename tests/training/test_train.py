"""A run: trained, killed, resumed, stopped; and what it leaves behind."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest
from helpers.commands import run
from helpers.networks import TINY, lively

from crnet_tf import train
from crnet_tf.common import disk
from crnet_tf.common.cli import MISTAKES
from crnet_tf.common.locks import locked
from crnet_tf.data import folds, records
from crnet_tf.evaluation import manifest, results
from crnet_tf.network import model
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.options import Options
from crnet_tf.training import (
    callbacks,
    checkpoints,
    feature_store,
    fitting,
    optimizers,
    runs,
    starting,
)

SMALL = [
    "--backbone=tiny", "--backbone_weights=none", "--train_backbone", "--image_size=33",
    "--channels=8", "--global_kernel=3", "--aspp_rates=1,2", "--refine_steps=2", "--fold=1",
    "--batch_size=2", "--steps_per_epoch=2", "--val_episodes=1", "--optimizer=adamw",
    "--learning_rate=0.001", "--dropout=0.3",
]  # fmt: skip


ENVIRONMENT = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
OP_BY_OP = """
import sys, tensorflow as tf
tf.config.run_functions_eagerly(True)
from crnet_tf.common import cli
from crnet_tf import train
cli.run(train.main, train.define_flags)
"""
ON_TWO_DEVICES = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from crnet_tf.training import workers
workers.strategy = lambda settings, share: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""


def process(code, *arguments):
    """A training in a process of its own."""
    command = [sys.executable, "-c", code, *SMALL, *arguments]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def saved_arrays(path):
    """All that a checkpoint holds but the metrics: weights, optimiser, averages."""
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        file = h5py.File(io.BytesIO(archive.read("model.weights.h5")))

    def keep(name, item):
        if isinstance(item, h5py.Dataset) and "loss_means" not in name:
            arrays[name] = item[()]

    file.visititems(keep)
    return arrays


@pytest.fixture(scope="module")
def straight(records_dir, tmp_path_factory):
    """A run of four steps without interruption, with EMA."""
    out = tmp_path_factory.mktemp("runs") / "straight"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run(train, *SMALL, f"--records={records_dir}", f"--out={out}", "--steps=4", "--ema=0.9")
    (out.parent / "stdout").write_text(printed.getvalue())
    return out


def test_what_it_prints_into_a_file_is_a_line_an_epoch(straight):
    printed = (straight.parent / "stdout").read_text()
    assert "\b" not in printed and "\x1b" not in printed
    assert len([line for line in printed.splitlines() if "/step - loss: " in line]) == 2


def test_a_run_leaves_what_it_promises(straight, records_dir):
    index = records.load_index(records_dir)
    run = json.loads((straight / "run.json").read_text())
    assert run["config"]["fold"] == 1 and run["config"]["channels"] == 8
    assert run["records_sha256"] == index.sha256
    assert run["test_classes"] == ["bus", "car", "cat", "chair", "cow"]
    assert run["notice"] == ""
    session = run["sessions"][0]
    assert session["versions"]["keras"] == keras.__version__ and session["seconds"] > 0
    best = load_checkpoint(straight / "best.keras")
    assert best.config.fold == 1 and best.config.calibrated_threshold in results.THRESHOLDS
    assert run["config"]["calibrated_threshold"] == 0.5  # what is trained is not shifted
    assert json.loads((straight / "best.json").read_text())["select_on"] == "base"
    assert not list(straight.glob(".*"))
    assert not any("optimizer" in name for name in saved_arrays(straight / "best.keras"))


def logged(folder):
    """Events of a folder of TensorBoard."""
    from tensorboard.backend.event_processing import event_accumulator

    events = event_accumulator.EventAccumulator(str(folder))
    return events.Reload()


def test_tensorboard_gets_every_head_every_step_and_panels(straight):
    tags = set()
    for folder in ("train", "episodes"):
        tags |= set(logged(straight / "logs" / folder).Tags()["tensors"])
    assert {"epoch_query_loss", "epoch_support_loss", "epoch_query_cooccurrent_loss"} <= tags
    assert {"epoch_query_step1_loss", "epoch_support_step2_loss"} <= tags
    for label in ("base classes", "novel classes (test)"):
        assert f"{label}/mean_iou/crnet_step1" in tags
        assert f"{label}/fb_iou/crnet" in tags
        assert f"{label}/panels" in tags


def killed(out, arguments, monkeypatch):
    """A process that is killed once its first epoch is on disk."""
    first = process(OP_BY_OP, *arguments)
    deadline = time.time() + 300
    while not (out / "last.keras").exists() and first.poll() is None:
        assert time.time() < deadline
        time.sleep(0.05)
    first.kill()
    first.communicate()


def interrupted(out, arguments, monkeypatch):
    """The same in this process, by Ctrl-C."""
    save = callbacks.SaveLast.on_epoch_end

    def saved(self, *given):
        save(self, *given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(callbacks.SaveLast, "on_epoch_end", saved)
        run(train, *SMALL, *arguments)


@pytest.mark.parametrize("end", [interrupted, pytest.param(killed, marks=pytest.mark.slow)])
def test_a_run_taken_up_again_ends_like_one_in_one_go(
    end, straight, records_dir, tmp_path, monkeypatch
):
    """After its first epoch; then weights, optimiser and averages, to the bit."""
    out = tmp_path / "resumed"
    arguments = [f"--records={records_dir}", f"--out={out}", "--ema=0.9", "--steps=4"]
    end(out, arguments, monkeypatch)
    # What a kill may leave of a file being written must not matter.
    for name, age in ((".last.1.partial.keras", 4000), (".best.1.partial.keras", 0)):
        (out / name).write_bytes(b"half a checkpoint")
        os.utime(out / name, (time.time() - age,) * 2)
    alone = pytest.raises(RuntimeError, match="another process trains in it")
    with locked(out, "trains in"), alone:
        run(train, *SMALL, *arguments)
    run(train, *SMALL, *arguments)
    # One that another process may be writing stays.
    assert [path.name for path in out.glob(".*")] == [".best.1.partial.keras"]
    assert len(json.loads((out / "run.json").read_text())["sessions"]) == 2
    expected, found = (saved_arrays(path / "last.keras") for path in (straight, out))
    assert expected.keys() == found.keys() and any("optimizer" in name for name in expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(array, found[name], err_msg=name)
    steps = [event.step for event in logged(out / "logs" / "train").Tensors("batch_loss")]
    assert steps[-1] == 4  # counted on, not from 1 again


@pytest.mark.slow
def test_a_run_on_two_devices_is_validated_and_saved(records_dir, tmp_path):
    """On two logical CPUs."""
    arguments = [f"--records={records_dir}", f"--out={tmp_path}", "--steps=2", "--ema=0.9"]
    found = process(ON_TWO_DEVICES + OP_BY_OP, *arguments)
    _, errors = found.communicate()
    assert found.returncode == 0, errors[-3000:]
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 2
    assert checkpoints.finished_epochs(tmp_path / "last.keras") == 1


def test_another_configuration_does_not_overwrite_a_run(straight, records_dir):
    before = (straight / "last.keras").read_bytes()
    arguments = [f"--records={records_dir}", f"--out={straight}", "--steps=4", "--channels=4"]
    with pytest.raises(ValueError, match="channels was 8, now 4.*another --out"):
        run(train, *SMALL, *arguments)
    assert (straight / "last.keras").read_bytes() == before


def test_without_records_the_demo_set_is_built_and_said(
    records_dir, tmp_path, monkeypatch, capsys
):
    """All but the drawing and the steps."""
    trained = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        train, "build_demo", lambda folder: shutil.copytree(records_dir, folder / "records")
    )
    monkeypatch.setattr(fitting, "train", lambda *given, **_: trained.append(given))
    run(train, "--steps=2", "--steps_per_epoch=2", "--out=run")
    ((settings, index, *_),) = trained
    assert settings.backbone == "tiny" and index.directory == train.DEMO_DIR / "records"
    assert capsys.readouterr().out.startswith("No --records given: training on the embedded")
    notice = json.loads((tmp_path / "run" / "run.json").read_text())["notice"]
    assert "crnet build voc" in notice and "not on PASCAL-5i" in notice


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--records=nowhere"], "No index.json in 'nowhere'"),
        (["--fold=4"], "fold: expected one of 0..3 .* received 4"),
        (["--steps=3"], "steps: expected a multiple of steps_per_epoch .2., received 3"),
        (
            ["--backbone=resnet50", "--backbone_weights=gone.npz", "--notrain_backbone"],
            "backbone_weights: no file 'gone.npz'",
        ),
        (["--feature_store=store"], "feature_store: expected --feature_views beside it"),
        (
            ["--notrain_backbone", "--feature_views=1", "--feature_store_gb=0"],
            "--feature_store_gb allows 0 GB",
        ),
    ],
)
def test_mistakes_say_what_to_do(arguments, message, records_dir, tmp_path):
    with pytest.raises((ValueError, OSError), match=message) as error:
        run(train, f"--records={records_dir}", f"--out={tmp_path}/run", *SMALL, *arguments)
    assert isinstance(error.value, MISTAKES)


def test_damaged_records_are_a_mistake_that_says_where_to_look(records_dir, tmp_path):
    copy = shutil.copytree(records_dir, tmp_path / "records")
    for file in (copy / "train").glob("*.tfrecord"):
        file.write_bytes(file.read_bytes()[:-20])
    message = "train.*: expected whole records, received .*crnet verify"
    with pytest.raises(ValueError, match=message) as error:
        run(train, f"--records={copy}", f"--out={tmp_path}/run", *SMALL, "--steps=2")
    assert isinstance(error.value, MISTAKES)


@pytest.mark.parametrize("feature_views", [0, 1])
def test_photos_of_test_classes_are_dropped_where_asked(
    records_dir, tmp_path, monkeypatch, feature_views, tiny
):
    """Through the store and without it: what training gets of `--drop_novel_images`."""
    index = records.load_index(records_dir)
    monkeypatch.setattr(feature_store, "_fill", lambda *_: None)
    asked = []
    for module, name in ((fitting.episodes, "episodes"), (feature_store, "open_store")):
        original = getattr(module, name)

        def spy(*arguments, original=original, **options):
            unseen = options["unseen"] if "unseen" in options else arguments[-1]
            asked.append(unseen)
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, spy)
    for drop in (False, True):
        settings = dataclasses.replace(
            TINY, fold=1, feature_views=feature_views, drop_novel_images=drop
        )
        tiny.config = settings
        fitting.training_data(tiny, index, 0, tmp_path / f"store{drop}")
    assert asked == [(), index.test_classes(1)]


# === Inside a run ===


@pytest.fixture(scope="module")
def built():
    network = model.build_crnet(TINY)
    network.compile("sgd", jit_compile=False)
    return network


@pytest.fixture
def tiny(built):
    """A network that a test may change: building one takes seconds."""
    weights, config = built.get_weights(), built.config
    yield built
    built.set_weights(weights)
    built.config = config


def test_a_non_finite_loss_stops_the_run(tiny):
    network = tiny
    callback = callbacks.StopOnNonFiniteLoss()
    callback.set_model(network)
    callback.on_train_batch_end(0, {"loss": 1.0})
    callback.on_epoch_end(0, {"loss": 1.0})
    with pytest.raises(FloatingPointError, match="became nan at step 0.*--clip_norm"):
        callback.on_train_batch_end(1, {"loss": float("nan")})
    network.trainable_variables[0].assign(network.trainable_variables[0] * np.inf)
    with pytest.raises(FloatingPointError, match="weights became infinite or NaN"):
        callback.on_epoch_end(1, {"loss": 1.0})


def test_averaged_weights_are_put_back_exactly(tmp_path):
    network, _ = starting.begin(dataclasses.replace(TINY, ema=0.9), tmp_path)
    for _ in range(2):  # the first step sets the averages, from the second on they lag behind
        ones = [keras.ops.ones_like(variable) for variable in network.trainable_variables]
        network.optimizer.apply(ones)
    before = [variable.numpy() for variable in network.trainable_variables]
    with checkpoints.averaged_weights(network):
        for was, now in zip(before, network.trainable_variables, strict=True):
            assert np.all(now.numpy() != was)
    for was, now in zip(before, network.trainable_variables, strict=True):
        np.testing.assert_array_equal(was, now.numpy())


def test_without_ema_the_weights_stay(tiny):
    network = tiny
    before = network.trainable_variables[0].numpy()
    with checkpoints.averaged_weights(network):
        np.testing.assert_array_equal(network.trainable_variables[0].numpy(), before)


def test_the_best_value_survives_a_restart(records_dir, tmp_path, tiny):
    (tmp_path / "best.json").write_text('{"select_on": "base", "step": 2, "value": 0.5}')
    (tmp_path / "best.keras").write_bytes(b"of before")
    network = tiny
    archive = manifest.Archive(records.load_index(records_dir), "val", (6, 7))
    callback = callbacks.Validate(network, {"base": (archive, [])}, tmp_path, "base")

    def select(best, step):
        """The threshold 0.3 is the best; 0.2, which is taken, has an mIoU of `best`."""
        scores = {results.above(t): {"mean_iou": best / 2} for t in results.THRESHOLDS}
        scores[results.above(0.2)] = {"mean_iou": best}
        scores[results.above(0.3)] = {"mean_iou": best + 0.05}
        callback._select({"base": scores}, step)

    select(0.4, step=4)
    assert (tmp_path / "best.keras").read_bytes() == b"of before"
    (tmp_path / "best.keras").unlink()  # what is not there is not better
    select(0.4, step=5)
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 5
    select(0.6, step=6)
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 6
    assert load_checkpoint(tmp_path / "best.keras").config.calibrated_threshold == 0.2
    assert network.config.calibrated_threshold == 0.5
    callback.network.config = dataclasses.replace(network.config, calibrate=False)
    select(0.9, step=8)  # the half is what counts: 0.45
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 6


@pytest.mark.parametrize(
    ("train_backbone", "cache_gb", "times"), [(False, 4, 1), (False, 1e-6, 2), (True, 4, 2)]
)
def test_validation_encodes_anew_what_training_has_changed_or_does_not_fit(
    records_dir, tmp_path, monkeypatch, tiny, train_backbone, cache_gb, times
):
    monkeypatch.setattr(callbacks, "Options", lambda: Options(feature_cache_gb=cache_gb))
    keras.utils.set_random_seed(0)  # with other weights both scores may be 0
    network = tiny
    if train_backbone:
        network = model.build_crnet(dataclasses.replace(TINY, train_backbone=True))
    smooth = dataclasses.replace(network.config, edges=False)  # nearly all is foreground
    monkeypatch.setattr(network, "config", smooth)
    network.compile(optimizer=optimizers.optimizer(network.config))
    archive = manifest.Archive(records.load_index(records_dir), "val", (6, 7))
    episodes = {"base": (archive, manifest.draw(archive, 1, 2, seed=0))}
    callback = callbacks.Validate(network, episodes, tmp_path, "base")
    monkeypatch.setattr(callback, "_write", lambda *_: None)
    encoder = callback.learner.encoder
    encode, seen, found = encoder._encode, [], []
    monkeypatch.setattr(encoder, "_encode", lambda one: seen.append(1) or encode(one))
    for epoch in range(2):
        logs = {}
        callback.on_epoch_end(epoch, logs)
        found.append(logs["val_base_mean_iou"])
        for variable in network.trainable_variables:
            variable.assign(variable * 3 + 1)
    entries = episodes["base"][1]
    photos = {name for entry in entries for name in (*entry.support, entry.query)}
    masked = {entry.support for entry in entries}
    # Features that are not kept are computed once more for the queries' average cell, and
    # twice for presence.
    again = len({entry.query for entry in entries}) + 2 * len(photos) if times > 1 else 0
    assert len(seen) == (len(photos) + len(masked) + again) * times
    assert np.any(network.parts.centre.mean)
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("kind", "step", "expected"),
    [
        ("constant", 0, 0.1), ("constant", 9, 1.0), ("constant", 100, 1.0),
        ("poly", 110, 0.0), ("poly", 60, 0.5**0.9), ("poly", 10, 1.0),
        ("cosine", 60, 0.5), ("cosine", 110, 0.0), ("cosine", 4, 0.5),
    ],
)  # fmt: skip
def test_learning_rate_schedules(kind, step, expected):
    schedule = optimizers.Schedule(1.0, kind, warmup=10, steps=110)
    assert float(schedule(step)) == pytest.approx(expected, abs=1e-6)
    again = optimizers.Schedule.from_config(schedule.get_config())
    assert float(again(step)) == float(schedule(step))


def test_a_run_that_never_got_to_a_checkpoint_is_begun_anew(records_dir, tmp_path):
    index = records.load_index(records_dir)
    runs.open_run(tmp_path, TINY, index, "")
    other = dataclasses.replace(TINY, channels=4)
    assert len(runs.open_run(tmp_path, other, index, "")["sessions"]) == 1
    (tmp_path / runs.LAST).touch()
    with pytest.raises(ValueError, match="channels was 4, now 8"):
        runs.open_run(tmp_path, TINY, index, "")
    longer = dataclasses.replace(other, steps=2 * other.steps)
    assert len(runs.open_run(tmp_path, longer, index, "")["sessions"]) == 2


def test_a_run_describes_itself(records_dir):
    index = records.load_index(records_dir)
    run = runs.describe_run(TINY, index, "a notice")
    assert run["notice"] == "a notice" and run["config"]["channels"] == 8
    assert len(run["test_classes"]) == len(folds.test_classes(index.dataset, TINY.fold))
    json.dumps(run)


@pytest.mark.parametrize("content", [b"PK", b""])
def test_a_damaged_checkpoint_is_named(content, tmp_path):
    (tmp_path / "last.keras").write_bytes(content)
    with pytest.raises(ValueError, match="last.keras: expected a checkpoint that training"):
        checkpoints.finished_epochs(tmp_path / "last.keras")


# === --init ===


def test_a_new_run_starts_from_all_weights_of_a_checkpoint(records_dir, tmp_path):
    source = lively(seed=5, fold=1, calibrated_threshold=0.3)
    source.save(tmp_path / "from.keras")
    settings = dataclasses.replace(TINY, dropout=0.3, refine_steps=5, optimizer="adamw")
    network, done = starting.begin(settings, tmp_path / "run", tmp_path / "from.keras")
    assert done == 0 and network.config.calibrated_threshold == 0.5
    assert network.config.dropout == 0.3 and isinstance(
        network.optimizer, keras.optimizers.AdamW
    )
    expected = {variable.path: variable.numpy() for variable in source.weights}
    assert np.any(network.parts.centre.mean)  # the average cell comes along
    for variable in network.weights:
        np.testing.assert_array_equal(variable, expected[variable.path], err_msg=variable.path)
    run = runs.describe_run(
        settings, records.load_index(records_dir), "", tmp_path / "from.keras"
    )
    assert run["init_sha256"] == disk.sha256_of(tmp_path / "from.keras")


def test_the_first_weight_that_does_not_fit_is_named(built, tmp_path):
    built.save(tmp_path / "from.keras")
    for changes, named in (
        ({"channels": 4}, r"expected .*project.*kernel .* 4\), received .* 8\)"),
        ({"backbone_stride": "3x3"}, "backbone_stride: expected 3x3, received 1x1"),
    ):
        settings = dataclasses.replace(TINY, **changes)
        with pytest.raises(ValueError, match=f"from.keras does not fit.*{named}.*flags"):
            starting.begin(settings, tmp_path, tmp_path / "from.keras")


def test_a_run_is_gone_on_with_from_the_same_checkpoint_only(records_dir, tmp_path):
    index, given = records.load_index(records_dir), tmp_path / "from.keras"
    with pytest.raises(FileNotFoundError, match="init: expected a .keras file.*from.keras"):
        runs.open_run(tmp_path, TINY, index, init=given)
    given.write_bytes(b"one")
    runs.open_run(tmp_path, TINY, index, init=given)
    (tmp_path / runs.LAST).touch()
    assert len(runs.open_run(tmp_path, TINY, index, init=given)["sessions"]) == 2
    with pytest.raises(ValueError, match="init_sha256 was .*, now None"):
        runs.open_run(tmp_path, TINY, index)
