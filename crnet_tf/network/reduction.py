"""Levels reduced to their principal components: the layer, and how components are measured on
photos, kept in a file, and put into an encoder."""

import io
import os
import pathlib
from collections.abc import Iterable

import keras
import numpy as np
from keras import layers, ops

from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.network.layers import register, unit
from crnet_tf.network.resizing import between

CELLS = 100  # of each photo, at random


@register
class ReduceLevels(layers.Layer):
    """Levels [B,h,w,F] of a frozen backbone -> their principal components [B,h,w,sum C].

    Every cell of a level gets length 1, so that no level drowns the others, loses the mean of
    all photos' cells, which tells nothing from anything, and keeps the C directions in which
    photos differ most, at a variance of about 1. `mean` and `basis` of each level come from
    unlabelled photos (`measure`); before that they are 0 and random. A last level of every
    other cell is resized to the others' grid.
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = tuple(channels)

    def build(self, shapes):
        self.means, self.bases = [], []
        for number, (shape, channels) in enumerate(zip(shapes, self.channels, strict=True)):
            fixed = {"trainable": False, "dtype": "float32"}
            self.means.append(
                self.add_weight(shape[-1:], "zeros", name=f"mean{number}", **fixed)
            )
            directions = keras.initializers.Orthogonal(seed=number)
            self.bases.append(
                self.add_weight(
                    (shape[-1], channels), directions, name=f"basis{number}", **fixed
                )
            )

    def compute_output_spec(self, levels):
        shape = (*levels[0].shape[:-1], sum(self.channels))
        return keras.KerasTensor(shape, self.compute_dtype)

    def call(self, levels):
        size, reduced = levels[0].shape[1:3], []
        for level, mean, basis in zip(levels, self.means, self.bases, strict=True):
            level = ops.matmul(unit(level) - mean, basis)
            reduced.append(level if level.shape[1:3] == size else between(level, size))
        return ops.cast(ops.concatenate(reduced, axis=-1), self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


def measure(encoder: keras.Model, photos: Iterable, seed: int = 0) -> dict[str, np.ndarray]:
    """Mean and principal directions of each level's cells of length 1.

    Args:
        encoder: with a `ReduceLevels` at its end.
        photos: float32 [S,S,3] RGB 0..255, 150 or more.

    Returns:
        {`mean0` [F], `basis0` [F,C], `kept0` []: share of the variance, `mean1`, ...}.

    Raises:
        InputError: too few photos for so many directions.
    """
    random, sampled = np.random.default_rng(seed), []
    reduce = encoder.get_layer("reduce")
    levels = keras.Model(encoder.input, reduce.input)
    for photo in photos:
        found = levels.predict_on_batch(np.asarray(photo)[None])
        sampled.append([_sample(one, random) for one in found])
    measured = {}
    for number, (cells, channels) in enumerate(
        zip(zip(*sampled, strict=True), reduce.channels, strict=True)
    ):
        cells = np.concatenate(cells)
        if len(cells) < 4 * channels:
            raise InputError(
                f"reduction: expected photos with at least {4 * channels} cells for {channels} "
                f"components, received {len(cells)} of {len(sampled)} photos. Give more photos."
            )
        mean, basis, kept = _principal(cells, channels)
        measured |= {f"mean{number}": mean, f"basis{number}": basis, f"kept{number}": kept}
    return measured


def _sample(level, random):
    cells = level.reshape(-1, level.shape[-1]).astype("float32")
    cells = cells[random.permutation(len(cells))[:CELLS]]
    return cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-6)


def _principal(cells, channels):
    mean = cells.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(cells - mean, rowvar=False))  # ascending
    kept = values[-channels:]
    # So that components have a variance of about 1, whatever the level.
    basis = vectors[:, ::-1][:, :channels] / np.sqrt(max(kept.mean(), 1e-12))
    return mean, basis.astype("float32"), np.float32(kept.sum() / max(values.sum(), 1e-12))


def put(encoder: keras.Model, measured: dict[str, np.ndarray]) -> None:
    """Sets an encoder's `ReduceLevels`.

    Raises:
        InputError: the components are of another backbone or of other channels.
    """
    reduce = encoder.get_layer("reduce")
    for number, (mean, basis) in enumerate(zip(reduce.means, reduce.bases, strict=True)):
        found = measured.get(f"basis{number}")
        if found is None or found.shape != tuple(basis.shape):
            shape = None if found is None else found.shape
            raise InputError(
                f"reduction: expected components {tuple(basis.shape)} of level {number}, "
                f"received {shape}. Make the file anew with the same --backbone and "
                "--level_channels."
            )
        mean.assign(measured[f"mean{number}"])
        basis.assign(found)


def save(measured: dict[str, np.ndarray], path: str | os.PathLike) -> None:
    """Writes the components as a .npz file."""
    content = io.BytesIO()
    np.savez(content, **measured)
    files.write_bytes(path, content.getvalue())


def load(encoder: keras.Model, path: str | os.PathLike) -> None:
    """Puts the components of a file into an encoder.

    Raises:
        FileNotFoundError: there is none. InputError: it is another file, or does not fit.
    """
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(
            f"reduction: no file {str(path)!r}. Make it with crnet reduce, or "
            "leave the flag out."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            measured = dict(archive)
    except (OSError, ValueError) as error:
        raise InputError(
            f"reduction: expected a .npz file of `crnet reduce`, received {path} ({error})."
        ) from error
    put(encoder, measured)
