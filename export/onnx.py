"""Exports a checkpoint, or a class it was taught, as ONNX files for ONNX Runtime and others.

    python -m export.onnx --checkpoint=runs/voc1/best.keras --out=models/onnx

Writes `OUT/1/GRAPH-float32.onnx`, next time `OUT/2/...`: the graphs of `export.tflite`, of the
same names, inputs and outputs, with the same flags but for the formats. Each is run by ONNX
Runtime and compared with the checkpoint.
"""

import importlib
import pathlib
from collections.abc import Callable

import tensorflow as tf
from absl import flags

from crnet_tf import cli, fields
from export import parity, portable_command, saved_model
from export.portable import Format

OPSET = 18


def package(name: str):
    """An optional package.

    Raises:
        RuntimeError: it is missing.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RuntimeError(
            f"ONNX: expected the package {name}, received none ({error}). Install the extra: "
            "pip install -e '.[onnx]'"
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


def define_flags():
    portable_command.define_flags()


def main():
    for name in ("tf2onnx", "onnxruntime"):
        package(name)  # before minutes of work
    portable_command.run(flags.FLAGS, [FORMAT])


if __name__ == "__main__":
    define_flags()
    for module in (fields, saved_model, portable_command):
        flags.adopt_module_key_flags(module)
    cli.run(main)
