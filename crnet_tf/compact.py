"""Makes a checkpoint small enough to give away: float16 or int8 on disk, no optimiser.

    python -m crnet_tf.compact --checkpoint=runs/voc1/best.keras --out=small.keras

The result is a `.keras` file like any other: everything that takes `--checkpoint` takes it, and
computes in float32, which is fast on any machine. Training does not go on from it.
"""

import os

from absl import flags

from crnet_tf.common import cli


def define_flags():
    flags.DEFINE_string("checkpoint", None, "A .keras file written by training.", required=True)
    flags.DEFINE_string("out", None, "The small .keras file.", required=True)
    flags.DEFINE_boolean(
        "mask_image",
        None,
        "Off: supports are encoded once and not twice (Config.mask_image), without training. "
        "Measure what that costs. Default: as the checkpoint has it.",
    )


def main():
    from crnet_tf.training.compact import compact

    args = flags.FLAGS
    rounding = compact(args.checkpoint, args.out, args.mask_image)
    megabytes = os.path.getsize(args.out) / 1e6
    print(f"{args.out}: {megabytes:.1f} MB, weights rounded by up to {rounding:.1e}.")


if __name__ == "__main__":
    cli.run(main, define_flags)
