"""Says which parts of a trained network do measurable work.

    python -m crnet_tf.probe --checkpoint=runs/voc1/best.keras --records=records/voc

Replaces, one after the other, the refinement's cache, the gate of the cross-reference and the
category vector, and compares the answers on the same one-shot episodes of the val split, at the
network's input size and without prototypes: mIoU at the best threshold and at a half, and the
paired difference with its bootstrap interval of 95 %. A part that does no work has an interval
around 0. Prints the table; with --out writes it as `probe.md` and `probe.json`.
"""

import json
import pathlib

from absl import flags

from crnet_tf.common import cli, files


def define_flags():
    text, number = flags.DEFINE_string, flags.DEFINE_integer
    text("checkpoint", None, "A .keras file written by training; default: the one of CRNet-TF.")
    text("records", None, "Folder of records with index.json.", required=True)
    flags.DEFINE_list("classes", "novel,base", "Unseen classes, training ones, or both.")
    number("episodes", 1000, "Episodes of each kind of classes.", 1)
    number("seed", 0, "Of the episodes and of the partners that are lent.", 0)
    text("out", None, "Folder for probe.md and probe.json; default: only printed.")


def main():
    from crnet_tf.data import records
    from crnet_tf.evaluation import manifest, probing
    from crnet_tf.evaluation.calibration import with_prototypes
    from crnet_tf.evaluation.draws import chosen_classes
    from crnet_tf.network.checkpoint import checkpoint_or_start, load_checkpoint

    args = flags.FLAGS
    index = records.load_index(args.records)
    network = load_checkpoint(checkpoint_or_start(args.checkpoint))
    if network.config.prototype_weight:
        network = with_prototypes(network, 0)
    probed = {}
    for kind in args.classes:
        archive = manifest.Archive(index, "val", chosen_classes(network, index, kind))
        entries = manifest.draw(archive, 1, args.episodes, args.seed)
        print(f"{kind}: {args.episodes} episodes, manifest {manifest.sha256(entries)[:12]}")
        probed[kind] = probing.probe(network, archive, entries, args.seed)
    numbers = probing.summary(probed)
    table = probing.table(numbers)
    print(f"\n{table}")
    if args.out:
        files.make_folder(args.out)
        out = pathlib.Path(args.out)
        files.write_text(out / "probe.md", f"{table}\n")
        files.write_text(out / "probe.json", json.dumps(numbers, indent=1))


if __name__ == "__main__":
    cli.run(main, define_flags)
