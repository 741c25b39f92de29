"""Exports a checkpoint, or a class it was taught, as TFLite files for phones and small boards.

    python -m export.tflite --checkpoint=runs/voc1/best.keras --out=models/tflite \\
        --formats=float16,int8 --records=records/voc

Writes `OUT/1/GRAPH-FORMAT.tflite`, next time `OUT/2/...`: the graphs `whole`, `encode_support`
and `query`, or with `--support_dir=mugs` the single graph `taught`: photo in, mask of a mug
out (`graph/signatures.py`). Sizes are fixed, preprocessing is inside, no operation is needed
that LiteRT does not bring. Every file is compared with the checkpoint; when one answers
otherwise nothing is left. int8 is calibrated on episodes of `--records`, or on the photos given
as `--support`, `--support_mask` and `--query`.
"""

from absl import flags

from crnet_tf.common import cli
from crnet_tf.common.errors import InputError
from export.package.inputs import TFLITE_FORMATS, define_fixed_size_flags


def define_flags():
    flags.DEFINE_list("formats", ["float32"], f"Some of {', '.join(TFLITE_FORMATS)}.")
    define_fixed_size_flags()


def main():
    if not flags.FLAGS.formats:
        raise InputError(
            f"--formats: expected some of {', '.join(TFLITE_FORMATS)}, received none."
        )
    from export.package import fixed_size_export
    from export.package.tflite import named

    fixed_size_export.run(flags.FLAGS, named(flags.FLAGS.formats))


if __name__ == "__main__":
    cli.run(main, define_flags)
