"""A training on one device with JAX: epochs of compiled steps, validation, checkpoints.

The programs themselves are in `jax_steps`; `fitting` is the training by Keras' `fit`.
"""

import json
import math
import pathlib
import time

import keras
import numpy as np

from crnet_tf.common import files
from crnet_tf.common.errors import DivergedError, InputError
from crnet_tf.config import Config
from crnet_tf.data import photo_pack
from crnet_tf.network import metrics
from crnet_tf.training import checkpoints, runs, starting

CALL = 50  # steps a compiled call runs at most
VALIDATION_BATCH = 20
SCORE = "base_val_mean_iou_at_network_size"
MATMUL_SIDE, CPU_MATMUL_SIDE = 8192, 1024  # large enough to reach the device's rate


def train(settings: Config, pack: photo_pack.Pack, out: pathlib.Path, init=None) -> dict:
    """Trains to `settings.steps`, from `out/last.keras` where there is one.

    Args:
        init: checkpoint that a new run starts from.

    Returns:
        What the session was: device, steps and episodes a second, share of the matrix rate.

    Raises:
        ValueError: settings that only the TensorFlow side has.
        FloatingPointError: the loss or the weights became NaN or infinite.
    """
    _check(settings)
    keras.utils.set_random_seed(settings.seed)
    network, done = starting.begin(settings, out, init)
    return _Run(network, pack, out).train(done)


def _check(settings):
    """Raises ValueError for what is left to the TensorFlow side."""
    refused = {
        "feature_views": settings.feature_views > 0,
        "colour_rotation": settings.colour_rotation,
        "feature_levels=reduced without --reduction": (
            settings.feature_levels == "reduced" and not settings.reduction
        ),
        "corrupted_cache": settings.corrupted_cache > 0,
        "without_common_class": settings.without_common_class > 0,
        "precision=mixed_float16": settings.precision == "mixed_float16",
        "select_on=novel": settings.select_on == "novel",
    }
    for name, given in refused.items():
        if given:
            raise InputError(
                f"{name}: expected it off, train_jax has no such training. Leave it out, or "
                "use `crnet train`."
            )
    if keras.config.backend() != "jax":
        raise InputError(
            f"Expected Keras on JAX, received {keras.config.backend()}. Give KERAS_BACKEND=jax "
            "before the command."
        )


def _check_finite(values, what):
    if not np.all(np.isfinite(values)):
        raise DivergedError(
            f"Expected finite numbers, received NaN or infinity as {what}. The last checkpoint "
            "is from before. Lower --learning_rate or set --clip_norm=1, and start again in a "
            "new --out."
        )


class _Run:
    """The photos of a fold on the device, the compiled programs, and the files of a run."""

    def __init__(self, network, pack, out):
        # Only here: `--help` and the check of the back end need no JAX.
        import jax

        from crnet_tf.training import jax_steps

        self.jax, self.steps = jax, jax_steps
        self.network, self.settings, self.out = network, network.config, out
        folds, index = self.settings.unseen_folds, pack.index
        unseen = index.dropped_classes(*folds) if self.settings.drop_novel_images else ()
        self.by_class, self.photos = self._photos(
            pack, pack.by_class("train", index.train_classes(*folds), unseen)
        )
        held_out = pack.by_class("val", index.validation_classes(*folds))
        self.val_by_class, self.val_photos = self._photos(pack, held_out)
        self.many_steps = jax_steps.many_steps(network)
        self.areas_of = jax_steps.areas_of(network)
        self.calls = []  # seconds of each call of CALL steps

    def _photos(self, pack, by_class):
        """Only the photos of these classes, on the device; their numbers there."""
        used = sorted({row for rows in by_class.values() for row in rows})
        number = {row: position for position, row in enumerate(used)}
        numbered = {c: [number[row] for row in rows] for c, rows in by_class.items()}
        arrays = photo_pack.canvases([pack.photos[row] for row in used])
        return numbered, self.jax.device_put(arrays)

    def train(self, done: int) -> dict:
        """All epochs from number `done` on; returns what the session was."""
        settings = self.settings
        state = self.steps.read_state(self.network)
        device = self._device(state)
        history = self._history(done)
        for epoch in range(done, settings.steps // settings.steps_per_epoch):
            state, losses = self._epoch(state, epoch)
            self.steps.write_state(self.network, state)
            row = {"step": (epoch + 1) * settings.steps_per_epoch, "loss": losses}
            row |= {m.name: float(m.result()) for m in self.network.loss_means.values()}
            with checkpoints.averaged_weights(self.network):
                row[SCORE] = self._score()
                checkpoints.keep_best(
                    self.network, self.out, settings.select_on, row["step"], row[SCORE]
                )
            history.append(row)
            files.write_text(self.out / "history.json", json.dumps(history, indent=1))
            # After its row: a run killed in between repeats the epoch.
            checkpoints.save_atomically(self.network, self.out / runs.LAST, epoch + 1)
            said = ", ".join(f"{name} {row[name]:.4g}" for name in ("step", "loss", SCORE))
            print(said, flush=True)
        return device | self._speed(device)

    def _history(self, done):
        return files.read_json(self.out / "history.json", [])[:done]

    def _epoch(self, state, epoch):
        """One epoch: the state after it, and the mean loss."""
        settings, losses = self.settings, []
        state = self._begin(state, epoch)
        first = epoch * settings.steps_per_epoch
        starts = range(first, first + settings.steps_per_epoch, self.steps_a_call)
        drawn = self._draw(starts[0])
        for start in starts:
            started = time.perf_counter()
            state, values = self.many_steps(state, self.photos, drawn)
            drawn = self._draw(start + self.steps_a_call)  # while the device works
            losses.append(np.asarray(values))
            self.calls.append(time.perf_counter() - started)
            _check_finite(values, f"loss in the {self.steps_a_call} steps from {start} on")
        # The last step's loss is of the weights before it.
        for value in state.trainable:
            _check_finite(value, f"weights in the steps from {first} on")
        return state, float(np.mean(losses))

    @property
    def steps_a_call(self):
        return math.gcd(CALL, self.settings.steps_per_epoch)

    def _draw(self, first):
        settings = self.settings
        return self.steps.draw(
            self.by_class, settings.batch_size, settings.seed, first, self.steps_a_call
        )

    def _begin(self, state, epoch):
        """New means of the losses; dropout masks of the epoch's own seed, for a resume."""
        zeros = [self.jax.numpy.zeros_like(value) for value in state.metrics]
        state = state._replace(metrics=zeros)
        dropout = self.network.parts.projection.get_layer("dropout")
        if not dropout.rate:
            return state
        seed = dropout.seed_generator.state
        position = [v is seed for v in self.steps.variables(self.network).fixed].index(True)
        fixed = list(state.fixed)
        fixed[position] = self.jax.numpy.array([self.settings.seed, epoch], seed.dtype)
        return state._replace(fixed=fixed)

    def _score(self):
        """mIoU of held-out photos of the base classes, of the variables' present values."""
        settings, totals = self.settings, {}
        drawn = self.steps.draw(self.val_by_class, settings.val_episodes, settings.seed, 0, 1)
        photos, classes = drawn["photo"][0], drawn["class_id"][0]
        state = self.steps.read_state(self.network)
        for start in range(0, settings.val_episodes, VALIDATION_BATCH):
            part = slice(start, start + VALIDATION_BATCH)
            batch = {
                "photo": photos[:, part],
                "class_id": classes[part],
                "uniform": drawn["uniform"][0][:, part],
            }
            areas = self.areas_of(state.trainable, state.fixed, self.val_photos, batch)
            for class_id, episode in zip(classes[part].tolist(), areas, strict=True):
                totals[class_id] = totals.get(class_id, 0) + np.asarray(episode)
        return metrics.mean_iou(totals)

    def _device(self, state):
        """What the device can do, and what a step asks of it."""
        device = self.jax.devices()[0]
        side = CPU_MATMUL_SIDE if device.platform == "cpu" else MATMUL_SIDE
        return {
            "device": device.device_kind,
            "bfloat16_matmul_flops_per_second": self.steps.matmul_rate(side),
            "flops_per_step": self.steps.flops_of_step(
                self.network, state, self.photos, self._draw(0)
            ),
        }

    def _speed(self, device):
        """Rates of all calls but the first, which compiles; validation is not in them."""
        if len(self.calls) < 2:
            return {}
        steps = (len(self.calls) - 1) * self.steps_a_call / sum(self.calls[1:])
        used = device["flops_per_step"] * steps
        return {
            "compile_seconds": round(self.calls[0] - self.steps_a_call / steps, 1),
            "steps_per_second": steps,
            "episodes_per_second": steps * self.settings.batch_size,
            "model_flop_utilisation": used / device["bfloat16_matmul_flops_per_second"],
        }
