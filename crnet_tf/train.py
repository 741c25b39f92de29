"""Trains CRNet on the base classes of a fold.

    python -m crnet_tf.train --fold=1 --records=records/voc --out=runs/voc1

Leaves in --out: `run.json` (flags, versions, records, git revision, duration), `best.keras`
(by held-out photos of the base classes), `last.keras` (to resume), and `logs/` for
TensorBoard. The same command again resumes where a killed run stopped. Without --records it
trains on the embedded demo set; with --init it starts from the weights of a checkpoint.
"""

import dataclasses
import pathlib
from contextlib import nullcontext

from absl import flags

from crnet_tf import presets
from crnet_tf.common import cli
from crnet_tf.common.errors import InputError
from crnet_tf.data.demo.build import build_demo
from crnet_tf.data.index import INDEX_NAME, load_index
from crnet_tf.training import runs

DEMO_DIR = pathlib.Path("data/demo")
DEMO_NOTICE = (
    "No --records given: training on the embedded procedural demo set, not on PASCAL-5i. "
    "For PASCAL-5i build the records first and give them:\n"
    "  crnet build voc --voc_dir=VOCdevkit/VOC2012 --out=records/voc\n"
    "  crnet train --fold=1 --records=records/voc"
)


def demo_records() -> pathlib.Path:
    """Records of the embedded demo set, built when missing."""
    directory = DEMO_DIR / "records"
    if not (directory / INDEX_NAME).exists():
        build_demo(DEMO_DIR)
    return directory


def define_flags():
    presets.define_flags()
    text = flags.DEFINE_string
    text("records", None, "Folder of records with index.json; default: the demo set.")
    text("out", None, "Run directory; default: runs/DATASET-foldN.")
    text("init", None, runs.INIT_HELP)
    text("feature_store", None, "Folder for --feature_views; default: OUT/features.")
    flags.DEFINE_float(
        "feature_store_gb",
        runs.FEATURES_GB,
        "Bound on its size, 1e9 bytes; a larger one is refused before anything is written.",
        lower_bound=0,
    )


def main():
    from crnet_tf.training import fitting, workers

    args, share = flags.FLAGS, workers.from_environment()
    notice = "" if args.records else DEMO_NOTICE
    if notice:
        print(notice, flush=True)
    settings = presets.from_flags("" if args.records else "demo")
    _check(args, settings, share.workers)
    index = load_index(args.records or demo_records())
    settings = dataclasses.replace(settings, dataset=index.dataset)
    out = runs.directory(args.out, settings)
    everywhere = workers.strategy(settings, share)  # before TensorFlow is used
    opened = runs.session(out, settings, index, notice, args.init)
    with nullcontext() if share.worker else opened:
        fitting.train(
            settings,
            index,
            out,
            init=args.init,
            feature_dir=args.feature_store,
            feature_gb=args.feature_store_gb,
            share=share,
            everywhere=everywhere,
        )
    if not share.worker:
        print(
            f"Best checkpoint: {out}/best.keras. TensorBoard: tensorboard --logdir={out}/logs"
        )


def _check(args, settings, workers):
    if args.feature_store and not settings.feature_views:
        raise InputError(
            "feature_store: expected --feature_views beside it, which says how many views of "
            "each photo to keep, received none. Give --feature_views=2, or leave it out."
        )
    if workers > 1 and not args.records:
        raise InputError(
            f"records: expected a folder that all {workers} workers see, received none. Build "
            "records first and give them."
        )


if __name__ == "__main__":
    cli.run(main, define_flags)
