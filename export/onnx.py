"""Exports a checkpoint, or a class it was taught, as ONNX files for ONNX Runtime and others.

    python -m export.onnx --checkpoint=runs/voc1/best.keras --out=models/onnx

Writes `OUT/1/GRAPH-float32.onnx`, next time `OUT/2/...`: the graphs of `export.tflite`, of the
same names, inputs and outputs, with the same flags but for the formats. Each is run by ONNX
Runtime and compared with the checkpoint.
"""

from absl import flags

from crnet_tf.common import cli
from export.package.inputs import define_fixed_size_flags


def define_flags():
    define_fixed_size_flags()


def main():
    from export.package import fixed_size_export
    from export.package.onnx import FORMAT, package

    for name in ("tf2onnx", "onnxruntime"):
        package(name)  # before minutes of work
    fixed_size_export.run(flags.FLAGS, [FORMAT])


if __name__ == "__main__":
    cli.run(main, define_flags)
