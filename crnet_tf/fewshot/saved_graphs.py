"""Functions of tensors, traced and written as one SavedModel, variables and all."""

import os
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf


def save(
    functions: Mapping[str, tuple[Callable, Sequence[tf.TensorSpec]]], folder: str | os.PathLike
) -> None:
    """Writes a SavedModel with a signature for each of {name: (function, its inputs)}. Each is
    traced once, where `keras.export.ExportArchive` would trace it twice."""
    traced = {
        name: tf.function(function, autograph=False).get_concrete_function(*inputs)
        for name, (function, inputs) in functions.items()
    }
    root = tf.Module()
    variables = {id(v): v for one in traced.values() for v in one.variables}.values()
    # What the root does not hold is lost on the way to TFLite. A trace has its variables in an
    # order of their addresses: by name, the same network gives the same files.
    root.kept = sorted(variables, key=lambda variable: variable.name)
    tf.saved_model.save(root, str(folder), traced)
