"""ONNX files: how one is converted and run."""

import importlib
import pathlib
from collections.abc import Callable

import tensorflow as tf

from crnet_tf.common.errors import BlockedError
from export.package import parity
from export.package.fixed_size_files import Format

OPSET = 18


def package(name: str):
    """An optional package.

    Raises:
        RuntimeError: it is missing.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BlockedError(
            f"ONNX: expected the package {name}, received none ({error}). Install the extra: "
            "pip install 'crnet-tf[onnx]'"
        ) from error


def convert(saved: pathlib.Path, graph: str, representatives=None) -> bytes:
    """One graph of a SavedModel as an ONNX file, weights inside."""
    loaded = tf.saved_model.load(str(saved))  # a signature does not keep it alive
    signature = loaded.signatures[graph]
    specs = list(signature.structured_input_signature[1].values())
    # tf2onnx takes inputs by position, signatures take them by name.
    function = tf.function(
        lambda *inputs: signature(
            **{spec.name: value for spec, value in zip(specs, inputs, strict=True)}
        ),
        autograph=False,
    )
    converter = package("tf2onnx").convert
    model, _ = converter.from_function(function, input_signature=specs, opset=OPSET)
    return model.SerializeToString()


def load(content: bytes, threads: int = 0) -> Callable:
    """A file as a function of named arrays that gives named arrays, on the CPU."""
    onnxruntime = package("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda **inputs: dict(zip(names, session.run(names, inputs), strict=True))


FORMAT = Format("float32", ".onnx", convert, load, parity.answer_difference, 1e-3)
