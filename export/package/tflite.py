"""TFLite files: how each kind is converted, run and judged."""

import functools
import pathlib
import warnings
from collections.abc import Callable

import tensorflow as tf

from crnet_tf.common.errors import BlockedError, InputError
from export.package import parity
from export.package.fixed_size_files import Format

# Share of the pixels that may be decided otherwise though the network is sure: enough for
# rounding (ResNet-50 on VOC: none), far too little for lost weights or wrong preprocessing.
FEW_BITS = 0.02
# Resizing and cosines (matrix products), averages, probabilities: a small part of the time, and
# where 8 bits hurt. In 8 bits the presence of the ResNet-50 network was off by up to 0.16.
FLOAT_OPERATIONS = (
    *("FULLY_CONNECTED", "BATCH_MATMUL", "TRANSPOSE", "RESHAPE", "STRIDED_SLICE", "PACK"),
    *("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "BROADCAST_TO", "CAST"),
    *("SUM", "MEAN", "SQRT", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "REDUCE_MAX"),
    *("SOFTMAX", "LOGISTIC", "GREATER", "ARG_MAX", "SELECT_V2"),
)


def interpreter():
    """The class `Interpreter` of LiteRT.

    Raises:
        RuntimeError: the optional package is missing.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise BlockedError(
            "TFLite: expected the package ai-edge-litert, which runs the files to compare "
            f"them, received none ({error}). Install the extra: pip install 'crnet-tf[tflite]'"
        ) from error
    return Interpreter


def load(content: bytes, threads: int | None = None) -> Callable:
    """A file of one graph as a function of named arrays that gives named arrays."""
    return interpreter()(model_content=content, num_threads=threads).get_signature_runner()


def float32(saved: pathlib.Path, graph: str, representatives=None) -> bytes:
    """Weights and arithmetic of 32 bits."""
    return _converter(saved, graph).convert()


def float16(saved: pathlib.Path, graph: str, representatives=None) -> bytes:
    """Weights of 16 bits, arithmetic of 32 (of 16 where a delegate has it)."""
    converter = _converter(saved, graph)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def dynamic(saved: pathlib.Path, graph: str, representatives=None) -> bytes:
    """Weights of 8 bits; activations are rounded to 8 bits by their range in each photo."""
    converter = _converter(saved, graph)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


def int8(saved: pathlib.Path, graph: str, representatives: Callable) -> bytes:
    """Weights and activations of convolutions of 8 bits, by ranges found on representative
    inputs; the rest in 32 bits (`FLOAT_OPERATIONS`)."""
    converter = _converter(saved, graph)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representatives
    options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_ops=list(FLOAT_OPERATIONS)
    )
    with warnings.catch_warnings():
        # The converter itself still calibrates with the interpreter it advises against.
        warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter", UserWarning)
        # No converter option names operations to leave alone; the debugger's do.
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_options=options
        )
    return debugger.get_nondebug_quantized_model()


def _converter(saved, graph):
    return tf.lite.TFLiteConverter.from_saved_model(str(saved), signature_keys=[graph])


ROUNDED = 5e-3  # of a probability: what weights of 16 bits may change
_EXACT, _SHARE = parity.answer_difference, parity.share_decided_otherwise
_NEAR = functools.partial(_EXACT, margin=ROUNDED)  # and with it a mask, near the threshold
_REMEDY = "Give photos like yours to compare and calibrate on, or choose float16."
FORMATS = {
    kind.name: kind
    for kind in (
        Format("float32", ".tflite", float32, load, _EXACT, 1e-3),
        Format("float16", ".tflite", float16, load, _NEAR, ROUNDED),
        Format("dynamic", ".tflite", dynamic, load, _SHARE, FEW_BITS, _REMEDY),
        Format("int8", ".tflite", int8, load, _SHARE, FEW_BITS, _REMEDY, calibrated=True),
    )
}


def named(names: list[str]) -> list[Format]:
    """The formats of these names.

    Raises:
        ValueError: there is no such one. RuntimeError: LiteRT is missing.
    """
    for name in names:
        if name not in FORMATS:
            raise InputError(
                f"formats: expected some of {', '.join(FORMATS)}, received {name!r}."
            )
    if names:
        interpreter()
    return [FORMATS[name] for name in dict.fromkeys(names)]
