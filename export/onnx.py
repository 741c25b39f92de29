"""Exports a checkpoint, or a class it was taught, as ONNX files for ONNX Runtime and others.

    python -m export.onnx --checkpoint=runs/voc1/best.keras --out=models/onnx

Writes `OUT/1/GRAPH-float32.onnx`, next time `OUT/2/...`: the graphs of `export.tflite`, of the
same names, inputs and outputs, with the same flags but for the formats. Each is run by ONNX
Runtime and compared with the checkpoint.
"""

from absl import flags

from crnet_tf.common import cli, fields
from export.package import fixed_size_export, inputs
from export.package.onnx import FORMAT, package


def define_flags():
    fixed_size_export.define_flags()


def main():
    for name in ("tf2onnx", "onnxruntime"):
        package(name)  # before minutes of work
    fixed_size_export.run(flags.FLAGS, [FORMAT])


if __name__ == "__main__":
    define_flags()
    for module in (fields, inputs, fixed_size_export):
        flags.adopt_module_key_flags(module)
    cli.run(main)
