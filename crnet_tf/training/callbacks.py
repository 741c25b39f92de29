"""What happens between the epochs of a training run: checkpoints, validation, panels."""

import math
import pathlib

import keras
import numpy as np
import tensorflow as tf

from crnet_tf.common.errors import DivergedError
from crnet_tf.evaluation import calibration, results, scoring
from crnet_tf.evaluation.results import ABOVE
from crnet_tf.fewshot.learner import Learner
from crnet_tf.fewshot.predictor import PROJECTED
from crnet_tf.images import drawing
from crnet_tf.network.model import CRNet
from crnet_tf.options import Options
from crnet_tf.training.checkpoints import averaged_weights, keep_best, save_atomically

BATCHES = 50  # steps between two values of a loss in TensorBoard


class SaveLast(keras.callbacks.Callback):
    """`last.keras` after every epoch: weights, optimiser and step, all that a resume needs."""

    def __init__(self, network: CRNet, path: pathlib.Path):
        super().__init__()
        self.network, self.path = network, path

    def on_epoch_end(self, epoch, logs=None):
        save_atomically(self.network, self.path, epochs=epoch + 1)


class SeedDropout(keras.callbacks.Callback):
    """Gives every epoch dropout masks of its own seed, so that a resume draws the same ones."""

    def __init__(self, network: CRNet, seed: int):
        super().__init__()
        self.layer, self.seed = network.parts.projection.get_layer("dropout"), seed

    def on_epoch_begin(self, epoch, logs=None):
        if self.layer.rate:  # without one Keras makes no generator
            self.layer.seed_generator.state.assign([self.seed, epoch])


class TensorBoard(keras.callbacks.TensorBoard):
    """Keras', and losses within the epochs, as `batch_NAME`.

    Args:
        done: steps behind a run that is taken up again: its steps are counted on.
    """

    def __init__(self, folder: pathlib.Path, done: int, steps_per_epoch: int):
        super().__init__(folder, write_graph=False, update_freq="epoch")
        self.step, self.every = done, min(BATCHES, steps_per_epoch)
        self.within = tf.summary.create_file_writer(str(folder / "train"))

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        self.step += 1
        if self.step % self.every == 0:
            with self.within.as_default(self.step), tf.summary.record_if(True):
                for name, value in logs.items():
                    tf.summary.scalar(f"batch_{name}", value)
            self.within.flush()


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Raises FloatingPointError at the first step whose loss is NaN or infinite, and at the
    end of an epoch whose last step did that to the weights."""

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(logs["loss"]):
            self._stop(f"The loss became {logs['loss']}", logs)

    def on_epoch_end(self, epoch, logs=None):
        if not all(np.isfinite(v.numpy()).all() for v in self.model.trainable_variables):
            self._stop("The weights became infinite or NaN", logs)

    def _stop(self, what, logs):
        step = int(self.model.optimizer.iterations.numpy())
        raise DivergedError(
            f"{what} at step {step}: {logs}. The last checkpoint is from before. Lower "
            "--learning_rate, set --clip_norm=1, or train in --precision=float32, and start "
            "again in a new --out."
        )


def _fit(network, episodes):
    """Whether the cache holds all that it gets of the photos: features and projections.

    Asked for one after the other, each would otherwise be gone before it is needed again.
    """
    entries = [entry for _, some in episodes.values() for entry in some]
    photos = {name for entry in entries for name in (*entry.support, entry.query)}
    masked = {(name, entry.class_id) for entry in entries for name in entry.support}
    size, encoder = network.config.image_size, network.parts.encoder
    _, height, width, channels = encoder.compute_output_shape((1, size, size, 3))
    values = height * width * (channels + network.config.channels)
    needed = (len(photos) + len(masked)) * values * tf.as_dtype(encoder.compute_dtype).size
    return needed <= Options().feature_cache_gb * 2**30


class Validate(keras.callbacks.Callback):
    """mIoU and FB-IoU after every epoch, `best.keras`, and panels for TensorBoard.

    What is logged has a half as its threshold; `best.keras` is judged, and answers, with the
    one that `calibration.unseen_threshold` finds.

    Args:
        network: the CRNet that takes images (the trained model may start from features).
        episodes: {"base": (archive, entries), "novel": ...}; "novel" is only watched, unless
            `select_on` says otherwise.
        out: run directory; `best.json` in it remembers the best value over restarts.
        select_on: "base", "novel" or "last".
    """

    def __init__(self, network: CRNet, episodes: dict, out: pathlib.Path, select_on: str):
        super().__init__()
        self.network, self.episodes, self.out = network, episodes, out
        self.select_on = select_on
        kept = not network.config.train_backbone and _fit(network, episodes)
        self.learner = Learner(network, keep_features=kept)
        self.changing = PROJECTED if kept else None  # of what the learner remembers
        for archive, entries in episodes.values():
            scoring.check_supports(self.learner, archive, entries)
        self.writer = tf.summary.create_file_writer(str(out / "logs" / "episodes"))

    def on_epoch_end(self, epoch, logs=None):
        # The optimiser's count is several variables on several devices, and lacks the steps
        # that mixed float16 skipped.
        step = (epoch + 1) * self.network.config.steps_per_epoch
        self.learner.cache.clear(self.changing)
        with averaged_weights(self.network):
            values = {
                name: results.scores(self._found(*some).totals["crnet"])
                for name, some in self.episodes.items()
            }
            if self.network.config.calibrate:
                calibration.measure_presence(self.learner, *self.episodes["base"])
            self._select(values, step)
            self._write(values, step)
        for name, result in values.items():
            for key in ("mean_iou", "fb_iou"):
                logs[f"val_{name}_{key}"] = result["crnet"][key]

    def _found(self, archive, entries):
        return scoring.evaluate(self.learner, archive, entries, presence=False)

    def _select(self, values, step):
        of = "base" if self.select_on == "last" else self.select_on
        threshold = self._threshold(values["base"])
        score = values[of][results.above(threshold)]["mean_iou"]
        keep_best(self.network, self.out, self.select_on, step, score, threshold)

    def _threshold(self, scores):
        config, (archive, _) = self.network.config, self.episodes["base"]
        if not config.calibrate:
            return 0.5
        return calibration.unseen_threshold(scores, archive, config)

    def _write(self, values, step):
        # Keras' TensorBoard callback limits recording to some of the steps.
        with self.writer.as_default(step), tf.summary.record_if(True):
            for name, result in values.items():
                # Watching the test classes is not selecting on them; the name says which it is.
                label = "base classes" if name == "base" else "novel classes (test)"
                for method, row in result.items():
                    if method.startswith(ABOVE):
                        continue
                    tf.summary.scalar(f"{label}/mean_iou/{method}", row["mean_iou"])
                    tf.summary.scalar(f"{label}/fb_iou/{method}", row["fb_iou"])
                archive, entries = self.episodes[name]
                rows = [scoring.panel(self.learner, archive, entry) for entry in entries[:3]]
                tf.summary.image(f"{label}/panels", drawing.contact_sheet(rows)[None])
        self.writer.flush()
