"""A checkpoint small enough to give away: float16 or int8 on disk, no optimiser."""

import dataclasses
import io
import os
import pathlib
import tempfile
import zipfile

import h5py
import keras
import numpy as np

from crnet_tf.common import files
from crnet_tf.network import dinov2, model
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.training.checkpoints import check_out

INT8_ROUNDING = 0.5 / 127
WEIGHTS = "model.weights.h5"  # in the zip archive that a .keras file is


def compact(
    checkpoint: str | os.PathLike, out: str | os.PathLike, mask_image: bool | None = None
) -> float:
    """Writes `checkpoint` with float16 weights to `out`, those of DINOv2's blocks as int8.

    A weight that float16 cannot hold (batch norm variances reach 83,614) keeps its type.

    Args:
        mask_image: `Config.mask_image` from now on, without training; None: as it was.

    Returns:
        The largest rounding of a weight, relative to the largest weight of its array.

    Raises:
        FileNotFoundError, ValueError: see `load_checkpoint`; `out` is no `.keras` file.
    """
    out = pathlib.Path(out)
    check_out(out)
    network = model.in_float32(load_checkpoint(checkpoint))
    if mask_image is not None:
        network = model.with_settings(network, mask_image=mask_image)
    # Where the backbone's weights lay on this machine is of no use elsewhere.
    weights = pathlib.Path(network.config.backbone_weights).name
    network.config = dataclasses.replace(network.config, backbone_weights=weights)
    dinov2.save_as_int8(network.parts.encoder)
    files.make_folder(out.parent)
    # Hidden: where this is killed, what stays is no checkpoint that somebody takes.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.stem}.") as folder:
        whole = pathlib.Path(folder, "whole.keras")
        keras.saving.save_model(network, whole, include_optimizer=False)
        content, rounding = _halved(whole)
    files.write_bytes(out, content)
    return rounding


def _halved(path):
    """The bytes of a .keras file with float16 weights, and the largest relative rounding."""
    result, rounding = io.BytesIO(), 0.0
    with (
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name == WEIGHTS:
                content, rounding = _halved_weights(content)
            target.writestr(name, content)
    return result.getvalue(), rounding


def _halved_weights(content):
    stored, roundings = io.BytesIO(), [0.0]
    with h5py.File(io.BytesIO(content), "r") as source, h5py.File(stored, "w") as target:

        def copy(name, entry):
            if isinstance(entry, h5py.Group):
                target.require_group(name).attrs.update(entry.attrs)
                return
            values = entry[()]
            largest = np.abs(values).max(initial=0)
            half = values
            if values.dtype == np.int8:
                roundings.append(INT8_ROUNDING)
            if values.dtype == np.float32 and largest < np.finfo(np.float16).max:
                half = values.astype(np.float16)
                gap = np.abs(half.astype(np.float32) - values).max(initial=0)
                roundings.append(gap / largest if largest else 0.0)
            target.create_dataset(name, data=half).attrs.update(entry.attrs)

        target.attrs.update(source.attrs)
        source.visititems(copy)
    return stored.getvalue(), float(max(roundings))
