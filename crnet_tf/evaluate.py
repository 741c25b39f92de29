"""Seeded episodes -> mIoU and FB-IoU, beside the baselines that give a number its meaning.

    python -m crnet_tf.evaluate --checkpoint=runs/demo/best.keras --records=data/demo/records

The protocol is DESIGN's `crnet`: 1-shot episodes of the fold's unseen classes out of the
val split, IoU at the photo's own size, void ignored. Writes, into --out, `evaluation.json`
and the episodes' `manifest.jsonl`, and prints a table per class and method.
"""

import json
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from crnet_tf import backbones, cli, episodes, folds, manifest, metrics, model, records
from crnet_tf.layers import resize_align_corners
from crnet_tf.parts import encode

BASELINES = ("all_foreground", "prototype")


def evaluate(
    network: model.CRNet,
    archive: manifest.Archive,
    entries: list[manifest.Entry],
    *,
    batch_size: int = 4,
    baselines: tuple[str, ...] = (),
    progress: bool = False,
) -> dict:
    """Scores every refinement step of a network, and baselines, on the same episodes.

    Args:
        network: 1-shot network; episodes must be 1-shot.
        archive, entries: photos and episodes (`manifest.draw`).
        baselines: of "all_foreground" and "prototype" (masked averages of the last level
            of the same encoder, cosine to the foreground minus cosine to the background).

    Returns:
        dict method -> {class id -> areas int64 [2,2]}; methods are "crnet" (the last
        refinement step), "crnet_step1" .. and the baselines. See `scores`.
    """

    @tf.function
    def predict(images):
        return _foreground_maps(network, images, "prototype" in baselines)

    totals = {}
    bar = keras.utils.Progbar(len(entries), unit_name="episode") if progress else None
    for batch in manifest.batches(archive, entries, network.config.image_size, batch_size):
        # Only what has a static size goes in, or every batch would be traced anew.
        images, _ = episodes.training_pair(batch)
        maps = {name: value.numpy() for name, value in predict(images).items()}
        for i, class_id in enumerate(batch["class_id"].numpy()):
            height, width = batch["query_size"][i].numpy()
            truth = batch["query_truth"][i, :height, :width, 0].numpy()
            predictions = _at_size(
                {name: value[i] for name, value in maps.items()}, truth.shape
            )
            if "all_foreground" in baselines:
                predictions["all_foreground"] = np.ones_like(truth)
            for name, prediction in predictions.items():
                by_class = totals.setdefault(name, {})
                area = metrics.areas(prediction, truth)
                by_class[int(class_id)] = by_class.get(int(class_id), 0) + area
        if bar:
            bar.add(len(batch["class_id"]))
    return totals


def scores(totals: dict) -> dict:
    """`evaluate`'s areas -> method -> {mean_iou, fb_iou, class_iou: {class id: IoU}}."""
    return {
        name: {
            "mean_iou": metrics.mean_iou(by_class),
            "fb_iou": metrics.fb_iou(by_class),
            "class_iou": {c: metrics.class_iou(area) for c, area in sorted(by_class.items())},
        }
        for name, by_class in totals.items()
    }


def _foreground_maps(network, images, with_prototype):
    """Maps that are positive where foreground: {name: [B,h,w,1 or T]}."""
    mask = images["support_mask"]
    features = encode(network.parts, images)
    logits = network.segment_features(network.support_state(features, mask), features["query"])
    margins = tf.nn.softmax(logits)[..., 1] - 0.5  # [B,T,S,S]
    maps = {"crnet": tf.transpose(margins, [0, 2, 3, 1])}
    if with_prototype:
        maps["prototype"] = prototype(network, features["support"], mask, features["query"])
    return maps


def prototype(network, support, mask, query):
    """Cosine to the foreground's minus to the background's masked average: [B,h,w,1]."""
    config = network.config
    levels = backbones.FEATURE_LEVELS[config.backbone][config.feature_levels]
    last = network.parts.encoder.get_layer(config.backbone).get_layer(levels[-1])
    support, query = (
        tf.cast(value[..., -last.output.shape[-1] :], tf.float32) for value in (support, query)
    )

    def similarity(value):
        weights = tf.cast(mask == value, tf.float32)
        weights = resize_align_corners(weights, tuple(support.shape[1:3]))
        average = tf.reduce_sum(support * weights, axis=(1, 2), keepdims=True)
        cosine = tf.nn.l2_normalize(query, -1) * tf.nn.l2_normalize(average, -1)
        return tf.reduce_sum(cosine, axis=-1, keepdims=True)

    return similarity(1) - similarity(0)


def _at_size(maps, size):
    """Foreground maps of one episode, [h,w,T] each -> {method: bool [H,W]}."""
    predictions = {}
    for name, value in maps.items():
        large = tf.raw_ops.ResizeBilinear(images=value[None], size=size, align_corners=True)
        large = large[0].numpy() > 0  # [H,W,T]
        predictions[name] = large[..., -1]
        if large.shape[-1] > 1:
            steps = {f"{name}_step{t + 1}": large[..., t] for t in range(large.shape[-1])}
            predictions |= steps
    return predictions


def table(result: dict, index: records.Index) -> str:
    """Markdown: a row a method, a column a class, IoU in percent."""
    classes = list(next(iter(result.values()))["class_iou"])
    names = [index.class_names[c - 1] for c in classes]
    lines = [
        "| method | mIoU | FB-IoU | " + " | ".join(names) + " |",
        "|---|" + "--:|" * (2 + len(names)),
    ]
    for name, row in result.items():
        values = [row["mean_iou"], row["fb_iou"], *row["class_iou"].values()]
        lines.append(f"| {name} | " + " | ".join(f"{100 * v:.1f}" for v in values) + " |")
    return "\n".join(lines)


def define_flags():
    flags.DEFINE_string("checkpoint", None, "A .keras file written by training.", required=True)
    flags.DEFINE_string("records", None, "Folder of records with index.json.", required=True)
    flags.DEFINE_string("out", None, "Folder of the results; default: beside the checkpoint.")
    flags.DEFINE_enum("classes", "novel", ["novel", "base"], "Unseen or training classes.")
    flags.DEFINE_integer("episodes", 1000, "Number of episodes.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the episodes.", lower_bound=0)
    flags.DEFINE_integer("batch_size", 4, "Episodes computed together.", lower_bound=1)
    flags.DEFINE_bool("baselines", True, "Score the baselines on the same episodes.")


def main():
    args = flags.FLAGS
    started = time.time()
    network = model.load_checkpoint(args.checkpoint)
    index = records.load_index(args.records)
    fold = network.config.fold
    choose = folds.test_classes if args.classes == "novel" else folds.train_classes
    classes = choose(index.dataset, fold)
    episodes.check_counts(index, "val", classes, 1)
    archive = manifest.Archive(index, "val", classes)
    entries = manifest.draw(archive, 1, args.episodes, args.seed)
    totals = evaluate(
        network,
        archive,
        entries,
        batch_size=args.batch_size,
        baselines=BASELINES if args.baselines else (),
        progress=True,
    )
    result = scores(totals)
    out = pathlib.Path(args.out or pathlib.Path(args.checkpoint).parent / "evaluation")
    out.mkdir(parents=True, exist_ok=True)
    manifest.write(out / "manifest.jsonl", entries)
    report = {
        "protocol": "crnet",
        "checkpoint": args.checkpoint,
        "dataset": index.dataset,
        "records_sha256": index.sha256,
        "fold": fold,
        "classes": args.classes,
        "shot": 1,
        "episodes": len(entries),
        "seed": args.seed,
        "manifest_sha256": manifest.sha256(entries),
        "select_on": network.config.select_on,
        "seconds": round(time.time() - started, 1),
        "scores": result,
    }
    partial = out / ".evaluation.partial"
    partial.write_text(json.dumps(report, indent=1))
    partial.rename(out / "evaluation.json")
    print(
        f"\n{index.dataset} fold {fold}, {args.classes} classes, 1-shot, {len(entries)} "
        f"episodes, seed {args.seed}, manifest {report['manifest_sha256'][:12]}, "
        f"best checkpoint by {network.config.select_on} classes\n\n{table(result, index)}\n\n"
        f"Written to {out}/evaluation.json and {out}/manifest.jsonl."
    )


if __name__ == "__main__":
    define_flags()
    cli.run(main)
