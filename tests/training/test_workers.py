"""A training on several workers: who they are, what each reads, that they end alike."""

import dataclasses
import functools
import json
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers.commands import run
from helpers.networks import TINY
from tensorboard.backend.event_processing import event_accumulator

from crnet_tf import train
from crnet_tf.config import Config
from crnet_tf.data import episodes, records
from crnet_tf.data.shares import Share
from crnet_tf.network import model
from crnet_tf.training import fitting, optimizers, worker_loop, workers
from crnet_tf.training.corrupted_masks import with_query_caches
from tools import train_workers

ROOT = pathlib.Path(__file__).parents[2]
ALONE = tf.distribute.get_strategy()
SMALL = [
    "--backbone=tiny", "--backbone_weights=none", "--train_backbone", "--image_size=33",
    "--channels=8", "--global_kernel=3", "--aspp_rates=1,2", "--refine_steps=2", "--fold=1",
    "--batch_size=4", "--steps_per_epoch=2", "--val_episodes=1", "--optimizer=adamw",
    "--learning_rate=0.001", "--clip_norm=0.1", "--corrupted_cache=0.5", "--steps=10",
]  # fmt: skip


def config_of(task, index, **cluster):
    return json.dumps({"cluster": cluster, "task": {"type": task, "index": index}})


# === Who they are ===


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, Share()),
        ("", Share()),
        (config_of("worker", 1, worker=["a:1", "b:1", "c:1"]), Share(1, 3)),
        (config_of("chief", 0, chief=["a:1"], worker=["b:1"]), Share(0, 2)),
        (config_of("worker", 0, chief=["a:1"], worker=["b:1"]), Share(1, 2)),
        (config_of("worker", 0, worker=["a:1"]), Share(0, 1)),
    ],
)
def test_which_worker_this_is_stands_in_tf_config(text, expected, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    assert workers.from_environment() == expected


@pytest.mark.parametrize(
    "text",
    [
        "worker 1",
        "[]",
        '{"cluster": {}}',
        config_of("worker", 2, worker=["a:1", "b:1"]),
        config_of("worker", -1, worker=["a:1", "b:1"]),
        config_of("ps", 0, worker=["a:1"], ps=["b:1"]),
        config_of("worker", "first", worker=["a:1", "b:1"]),
    ],
)
def test_a_wrong_tf_config_is_refused(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG: expected .*cluster"):
        workers.from_environment()


REFUSED = [{"batch_size": 3}, {"precision": "mixed_float16"}]


@pytest.mark.parametrize("change", REFUSED)
@pytest.mark.parametrize("share", [Share(), Share(0, 2)])
def test_what_several_devices_cannot_do_is_refused(share, change, monkeypatch):
    if share.workers == 1:
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["GPU"] * 2)
    with pytest.raises(ValueError, match=f"{next(iter(change))}: expected .* 2 "):
        workers.strategy(dataclasses.replace(TINY, **change), share)


def test_several_workers_need_records(monkeypatch, tmp_path):
    monkeypatch.setenv("TF_CONFIG", config_of("worker", 0, worker=["a:1", "b:1"]))
    with pytest.raises(ValueError, match="records: expected a folder that all 2 workers see"):
        run(train, *SMALL, f"--out={tmp_path}")


# === What each reads ===


def first_batches(batches):
    return [tf.nest.map_structure(np.array, batch) for batch in batches.take(2)]


def assert_joined(whole, shares):
    """The batches of the workers, put side by side, are those of one process."""
    for expected, *found in zip(whole, *shares, strict=True):
        joined = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *found)
        tf.nest.map_structure(np.testing.assert_array_equal, expected, joined)


def test_the_shares_of_a_batch_together_are_the_batch(records_dir):
    settings = dataclasses.replace(TINY, batch_size=4, corrupted_cache=0.5)

    def batches(share):
        drawn = episodes.episodes(
            records_dir,
            folds_classes(records_dir),
            image_size=33,
            batch_size=4,
            skip=1,
            share=share,
        )
        pairs = drawn.map(episodes.training_pair)
        return first_batches(with_query_caches(pairs, (5, 5), settings, 1, share))

    assert_joined(batches(Share()), [batches(Share(one, 2)) for one in range(2)])


def folds_classes(records_dir):
    return records.load_index(records_dir).train_classes(1)


# === That they end alike ===


def stepped(fit, batches):
    """The weights of a network after two epochs of two steps, and the logs of each."""
    tf.keras.utils.set_random_seed(1)
    network = model.build_crnet(TINY)
    network.compile(optimizer=optimizers.optimizer(TINY), jit_compile=False)
    kept = []

    class Keep(tf.keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append((epoch, dict(logs)))

    fit(
        network,
        batches,
        initial_epoch=1,
        epochs=3,
        steps_per_epoch=2,
        callbacks=[Keep()],
        verbose=0,
    )
    return network.get_weights(), kept


def test_the_loop_does_what_keras_fit_does(records_dir):
    batches = episodes.episodes(
        records_dir, folds_classes(records_dir), image_size=TINY.image_size, batch_size=2
    ).map(episodes.training_pair)
    weights, logs = stepped(functools.partial(model.CRNet.fit, shuffle=False), batches)

    def alone(network, given, **others):
        worker_loop.fit(network, ALONE, given, **others)

    found, told = stepped(alone, batches)
    for one, other in zip(weights, found, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)
    assert [epoch for epoch, _ in told] == [1, 2]
    for (_, one), (_, other) in zip(logs, told, strict=True):
        assert other == pytest.approx(one, abs=1e-5)


def test_who_is_not_the_chief_writes_nothing(records_dir, tmp_path):
    settings = Config(
        fold=1, backbone="tiny", backbone_weights="none", image_size=33, channels=4,
        aspp_rates="1", train_backbone=True, batch_size=2, steps=1, steps_per_epoch=1,
    )  # fmt: skip
    index = records.load_index(records_dir)
    fitting.train(settings, index, tmp_path, share=Share(1, 2), everywhere=ALONE)
    assert not list(tmp_path.iterdir())


def test_a_lost_worker_is_said(monkeypatch):
    def lost(*_):
        raise tf.errors.UnavailableError(None, None, "gone")

    monkeypatch.setattr(worker_loop, "_epoch", lost)
    network = model.build_crnet(TINY)
    endless = tf.data.Dataset.range(1).repeat()
    with pytest.raises(RuntimeError, match="one is gone.* Start the same command on all"):
        worker_loop.fit(
            network, ALONE, endless,
            initial_epoch=0, epochs=1, steps_per_epoch=1, callbacks=[], verbose=0,
        )  # fmt: skip


def test_workers_must_go_on_from_the_same_epoch(monkeypatch):
    network = model.build_crnet(TINY)
    network.compile(optimizer=optimizers.optimizer(TINY))
    network.optimizer.build(network.trainable_variables)
    before = network.get_weights()
    workers.take_chiefs(ALONE, network, done=3)
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    of_chief = workers._of_chief
    monkeypatch.setattr(workers, "_of_chief", lambda *given: [4, *of_chief(*given)[1:]])
    with pytest.raises(ValueError, match="expected the chief's last.keras, of epoch 4"):
        workers.take_chiefs(ALONE, network, done=3)


WATCHED = """
import os, signal, sys
import numpy as np
from crnet_tf import train
from crnet_tf.common import cli
from crnet_tf.training import callbacks, fitting, workers

worker, train_as_ever = workers.from_environment().worker, fitting.train
killed = sys.argv.pop(1)


class Watch(callbacks.StopOnNonFiniteLoss):
    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if worker == 1 and self.model.optimizer.iterations == 5 and not os.path.exists(killed):
            open(killed, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)


def train_and_keep(settings, index, out, **others):
    network = train_as_ever(settings, index, out, **others)
    np.savez(out / f"worker_{worker}.npz", *map(np.array, network.trainable_variables))


callbacks.StopOnNonFiniteLoss, fitting.train = Watch, train_and_keep
cli.run(train.main, train.define_flags)
"""


@pytest.mark.slow
def test_two_processes_one_of_them_killed_end_like_one(records_dir, tmp_path, monkeypatch):
    """On one machine: the weights of both, and the loss of every epoch."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def command(out):
        killed = str(tmp_path / "killed")
        given = [f"--records={records_dir}", f"--out={tmp_path / out}"]
        return [sys.executable, "-c", WATCHED, killed, *SMALL, *given]

    assert train_workers.run(command("two"), 2, tmp_path / "logs", restarts=1)
    log = (tmp_path / "logs" / "worker_0.log").read_text()
    assert (tmp_path / "killed").exists() and "after epoch 2" in log
    assert train_workers.run(command("one"), 1, tmp_path / "log", restarts=0)
    one, *two = (
        dict(np.load(path))
        for path in (tmp_path / name for name in ("one/worker_0.npz", *BOTH))
    )
    for name, weights in one.items():
        np.testing.assert_array_equal(two[0][name], two[1][name])
        np.testing.assert_allclose(two[0][name], weights, atol=1e-4)
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-4)


BOTH = ("two/worker_0.npz", "two/worker_1.npz")


def losses(out):
    """What TensorBoard has of every epoch; of one that was repeated, the last."""
    events = event_accumulator.EventAccumulator(str(out / "logs" / "train"))
    events.Reload()
    found = {
        event.step: tf.make_ndarray(event.tensor_proto)
        for event in events.Tensors("epoch_loss")
    }
    assert sorted(found) == [0, 1, 2, 3, 4]
    return [float(found[epoch]) for epoch in sorted(found)]
