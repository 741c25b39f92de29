"""Exports a checkpoint as a SavedModel whose signatures take photos as they are.

    python -m export.saved_model --checkpoint=runs/voc1/best.keras --out=models/crnet

Writes `OUT/1`, next time `OUT/2`: the folder TF Serving watches. Every signature of
`export/graph/signatures.py` is compared with the checkpoint on drawn photos, or real ones given
as `--support`, `--support_mask` and `--query`; an export that answers otherwise is removed.
Arithmetic is float32 in any case.
"""

from absl import flags

from crnet_tf.common import cli, fields
from crnet_tf.options import IN_USE, Options
from export.graph.settings import Settings
from export.package import inputs


def define_flags():
    inputs.define_common_flags()
    fields.define_flags(Options, only=["refine_tolerance"], defaults=IN_USE)
    fields.define_flags(Settings)


def main():
    from crnet_tf.network.checkpoint import checkpoint_or_start
    from export.package.saved_model import export

    args = flags.FLAGS
    examples = inputs.read_examples(args)
    settings = fields.from_flags(Settings, {}, args)
    checkpoint = checkpoint_or_start(args.checkpoint)
    print("Largest difference between signature and checkpoint:")
    folder = export(
        checkpoint,
        args.out,
        settings=settings,
        options=inputs.chosen_options(args),
        version=args.version,
        examples=examples,
    )
    compared = "on the photos given" if examples else "on drawn photos"
    print(f"Written: {folder} (compared {compared})")


if __name__ == "__main__":
    cli.run(main, define_flags)
