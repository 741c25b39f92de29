"""Checkpoints on disk: written whole, with the epochs they have seen; averaged weights."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import time
import zipfile

import keras

from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.network.model import CRNet
from crnet_tf.training import runs

LEFTOVER_SECONDS = 3600  # writing a checkpoint takes far less
EPOCHS_MEMBER = "epochs"  # in the zip archive that a .keras file is; Keras ignores it


def check_out(out: pathlib.Path) -> None:
    """Raises ValueError where writing a network without its optimiser to `out` would lose
    something, or Keras would not read it again."""
    if out.suffix != ".keras":
        raise InputError(f"out: expected a name that ends in .keras, received {str(out)!r}.")
    if not zipfile.is_zipfile(out):  # or nothing is there
        return
    with zipfile.ZipFile(out) as archive:
        resumable = EPOCHS_MEMBER in archive.namelist()
    if resumable:
        raise InputError(
            f"{out}: expected another --out than a checkpoint that training goes on from, "
            "whose optimiser would be lost. Give another --out (a run's best.keras has none)."
        )


def save_atomically(network: CRNet, path: pathlib.Path, epochs: int | None = None) -> None:
    """Writes a checkpoint beside its place and renames it; a failed write leaves what was
    there before.

    Args:
        epochs: number of finished epochs, kept in the same file for `finished_epochs`. (The
            optimiser's count lacks the steps that mixed float16 skipped.)
    """
    _remove_leftovers(path.parent.glob(f".{path.stem}.*.partial.keras"))
    with files.replaced(path, f".{path.stem}.{os.getpid()}.partial.keras") as partial:
        network.save(partial)
        if epochs is not None:
            with zipfile.ZipFile(partial, "a") as archive:
                archive.writestr(EPOCHS_MEMBER, str(epochs))


def _remove_leftovers(partials):
    """Removes what killed processes left; others may be writing theirs."""
    for partial in partials:
        with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
            if time.time() - partial.stat().st_mtime > LEFTOVER_SECONDS:
                partial.unlink()


def save_calibrated(network: CRNet, path: pathlib.Path, threshold: float) -> None:
    """Writes a checkpoint with a `Config.calibrated_threshold`, without the optimiser's state:
    to be used, not trained on."""
    own, optimizer = network.config, getattr(network, "optimizer", None)
    network.config = dataclasses.replace(own, calibrated_threshold=threshold)
    network.optimizer = None
    try:
        save_atomically(network, path)
    finally:
        network.config, network.optimizer = own, optimizer


def finished_epochs(path: pathlib.Path) -> int:
    """Number of epochs that a checkpoint of `SaveLast` has seen.

    Raises:
        ValueError: it is damaged, or another checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return int(archive.read(EPOCHS_MEMBER))
    except (zipfile.BadZipFile, KeyError) as error:
        raise InputError(
            f"{path}: expected a checkpoint that training goes on from, received another or a "
            f"damaged file ({error}). Copy it again, or train in a new --out."
        ) from error


def keep_best(
    network: CRNet,
    out: pathlib.Path,
    select_on: str,
    step: int,
    score: float,
    threshold: float = 0.5,
) -> None:
    """Writes `best.keras` into a run when it beats the one there, as `best.json` remembers.

    Args:
        select_on: what `score` was measured on; "last": a later step is better, whatever its
            score.
        threshold: `Config.calibrated_threshold` of the checkpoint.
    """
    file = out / "best.json"
    there = file.exists() and (out / runs.BEST).exists()
    before = files.read_json(file)["value"] if there else -math.inf
    value = step if select_on == "last" else score
    if value > before:
        save_calibrated(network, out / runs.BEST, threshold)
        best = {"select_on": select_on, "step": step, "value": value}
        files.write_text(file, json.dumps(best))


@contextlib.contextmanager
def averaged_weights(network: CRNet):
    """The moving averages of `--ema` in place of the weights, put back exactly after."""
    if not network.config.ema:
        yield
        return
    variables = network.trainable_variables
    kept = [keras.ops.convert_to_numpy(variable) for variable in variables]
    try:
        network.optimizer.finalize_variable_values(variables)
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
