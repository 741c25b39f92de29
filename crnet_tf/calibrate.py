"""Makes a trained network fit for unseen classes: prototypes, and where to cut.

    python -m crnet_tf.calibrate --checkpoint=runs/voc1/best.keras --records=records/voc

A network is unsure of photos it was not trained on, so at a half it misses much of an object.
Episodes of held-out photos of the training classes say where to cut instead (one-shot ones at
the network's size, unless --shot and --test_scales say otherwise), and a tenth below that is
taken for unseen classes, which are not looked at. (Where a data set has classes for
validation, or prototypes count, it is taken as it is.) Training does the same with its
validation episodes; this is for more of them, for checkpoints of train_jax, and, with
--threshold, for a choice of one's own. Presence, how likely a photo shows the thing at all, is
measured on the same photos. --prototype_weight gives a network the prototypes of frozen
features as a second opinion first; no training is needed for that. The checkpoint is written
again, without the optimiser's state, its answers shifted so that the threshold has become a
half.
"""

import pathlib

from absl import flags

from crnet_tf.common import cli, files
from crnet_tf.common.errors import InputError


def define_flags():
    text, number = flags.DEFINE_string, flags.DEFINE_integer
    text("checkpoint", None, "A .keras file written by training.", required=True)
    text("records", None, "Folder of records with index.json; not with --threshold.")
    text("out", None, "The checkpoint to write; default: in place of --checkpoint.")
    number("episodes", 300, "Episodes of held-out photos of training classes.", 1)
    number("shot", 1, "Supports of an episode (--kshot=mean): it is for so many.", 1)
    text("test_scales", "1", "One scale, as in evaluation: the threshold is for it.")
    number("seed", 0, "Of the episodes.", 0)
    flags.DEFINE_float("threshold", None, "Take this one and measure nothing.")
    flags.DEFINE_float("prototype_weight", None, "As in training; default: leave as it is.", 0)
    levels = ["own", "deep"]
    flags.DEFINE_enum("prototype_levels", None, levels, "As in training; default: as it is.")
    text("backbone_weights", "", "Of deep prototypes; default: the file of the training.")
    text("diagram", None, "PNG file to draw the reliability of presence into.")


def main():
    args = flags.FLAGS
    if bool(args.records) == (args.threshold is not None):
        raise InputError(
            "Expected one of --records, to find a threshold, and --threshold, to set it; "
            f"received {'both' if args.records else 'none'}."
        )
    measuring = ("episodes", "shot", "test_scales", "seed", "diagram")
    idle = [n for n in measuring if args[n].present]
    if args.threshold is not None and idle:
        raise InputError(
            "--threshold: expected it alone, because then nothing is measured, received "
            f"--{idle[0]} beside it. Leave one of them out."
        )
    if args.prototype_weight is None and (args.prototype_levels or args.backbone_weights):
        raise InputError(
            "prototype_weight: expected a weight such as 7 beside --prototype_levels and "
            "--backbone_weights, received none."
        )
    run(args)


def run(args) -> None:
    """Measures, or takes, a threshold, and writes the checkpoint: `args` has the flags."""
    from crnet_tf.evaluation import calibration
    from crnet_tf.network.checkpoint import load_checkpoint
    from crnet_tf.training.checkpoints import check_out, save_calibrated

    checkpoint = pathlib.Path(args.checkpoint)
    out, threshold = pathlib.Path(args.out or checkpoint), args.threshold
    network = load_checkpoint(checkpoint)
    check_out(out)
    if args.prototype_weight is not None:
        network = calibration.with_prototypes(
            network,
            args.prototype_weight,
            args.prototype_levels or network.config.prototype_levels,
            args.backbone_weights,
        )
    files.make_folder(out.parent)
    if threshold is None:
        threshold, scores, seen = calibration.measure(
            network, args.records, args.episodes, args.seed, args.shot, args.test_scales
        )
        print(f"\n{calibration.table(scores, threshold)}\n")
        show_presence(network, seen, args.diagram)
    save_calibrated(network, out, threshold)
    print(f"Written to {out}: a probability of {threshold:g} is a half from now on.")


def show_presence(network, seen, diagram: str | None) -> None:
    """Prints how reliable presence is, and draws it into a file."""
    from crnet_tf.evaluation import presence_fit

    rows = presence_fit.reliability(network.parts.likelihood.measured.numpy(), seen)
    if not rows:
        print("Presence stays as it was: expected photos with and without a thing.")
        return
    print(f"{presence_fit.table(rows)}\n")
    if diagram:
        from crnet_tf.images.png_files import write_png
        from crnet_tf.reporting import charts

        write_png(diagram, charts.reliability({"held-out photos": rows}))


if __name__ == "__main__":
    cli.run(main, define_flags)
