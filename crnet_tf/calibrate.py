"""Finds the probability above which a checkpoint should call a pixel the object's.

    python -m crnet_tf.calibrate --checkpoint=runs/voc1/best.keras --records=records/voc

A network is unsure of photos it was not trained on, so at a half it misses much of an object.
One-shot episodes of held-out photos of the training classes say where to cut instead, and a
tenth below that is taken for unseen classes, which are not looked at. Training does the same
with its validation episodes; this is for more of them, and for checkpoints of train_jax. The
checkpoint is written again, without the optimiser's state, with answers moved so that the
threshold has become a half.
"""

import os
import pathlib

from absl import flags

from crnet_tf import cli, manifest, model, records, results, scoring
from crnet_tf.checkpoints import save_calibrated
from crnet_tf.evaluation import chosen_classes
from crnet_tf.fewshot import Learner


def calibrate(
    checkpoint: str | os.PathLike,
    records_dir: str | os.PathLike,
    out: str | os.PathLike,
    episodes: int = 300,
    seed: int = 0,
) -> tuple[float, dict]:
    """Writes `checkpoint` with the threshold for unseen classes to `out`.

    Returns:
        The threshold, and `results.scores` at each of `scoring.THRESHOLDS`.

    Raises:
        FileNotFoundError, ValueError: see `model.load_checkpoint`, `evaluation.chosen_classes`.
    """
    network = model.load_checkpoint(checkpoint)
    network.parts.refinement.threshold = 0.5  # whatever an earlier call has found
    index = records.load_index(records_dir)
    archive = manifest.Archive(index, "val", chosen_classes(network, index, "base"))
    entries = manifest.draw(archive, 1, episodes, seed)
    found = scoring.evaluate(Learner(network), archive, entries, progress=True)
    scores = results.scores(found.totals["crnet"])
    threshold = scoring.unseen_threshold(scores)
    save_calibrated(network, pathlib.Path(out), threshold)
    return threshold, scores


def table(scores: dict, threshold: float) -> str:
    """Markdown of `calibrate`'s scores, in percent."""
    lines = ["| threshold | mIoU | FB-IoU | |", "|--:|--:|--:|---|"]
    said = {scoring.best_threshold(scores): "best", threshold: "for unseen classes"}
    for t in scoring.THRESHOLDS:
        mean, both = (100 * scores[scoring.above(t)][key] for key in ("mean_iou", "fb_iou"))
        lines.append(f"| {t} | {mean:.1f} | {both:.1f} | {said.get(t, '')} |")
    return "\n".join(lines)


def define_flags():
    text, number = flags.DEFINE_string, flags.DEFINE_integer
    text("checkpoint", None, "A .keras file written by training.", required=True)
    text("records", None, "Folder of records with index.json.", required=True)
    text("out", None, "The checkpoint to write; default: in place of --checkpoint.")
    number("episodes", 300, "One-shot episodes of held-out photos of training classes.", 1)
    number("seed", 0, "Of the episodes.", 0)


def main():
    args = flags.FLAGS
    out = args.out or args.checkpoint
    threshold, scores = calibrate(args.checkpoint, args.records, out, args.episodes, args.seed)
    print(f"\n{table(scores, threshold)}\n\nWritten to {out}.")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
