"""Seeded episodes -> mIoU and FB-IoU, beside the baselines that give a number its meaning.

    python -m crnet_tf.evaluate --checkpoint=runs/demo/best.keras --records=data/demo/records

The protocol is DESIGN's `crnet`: 1-shot episodes of the fold's unseen classes out of the
val split, IoU at the photo's own size, void ignored. Prints a table per class and method and
writes, into --out, `evaluation.json`, the table as `scores.md`, the episodes as
`manifest.jsonl`, and `panels.png` with the first episode of each class.
"""

import json
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from crnet_tf import (
    baselines,
    cli,
    episodes,
    files,
    folds,
    manifest,
    metrics,
    model,
    photos,
    records,
    visualize,
)
from crnet_tf.parts import encode


def evaluate(
    network: model.CRNet,
    archive: manifest.Archive,
    entries: list[manifest.Entry],
    *,
    batch_size: int = 4,
    compared: tuple[str, ...] = (),
    progress: bool = False,
    predict=None,
) -> dict:
    """Scores every refinement step of a network, and baselines, on the same episodes.

    Args:
        network: 1-shot network; episodes must be 1-shot.
        archive, entries: photos and episodes (`manifest.draw`).
        compared: names out of `baselines.BASELINES`.
        predict: `predictor(network, compared)`, to trace it once for many evaluations.

    Returns:
        dict method -> {class id -> areas int64 [2,2]}; methods are "crnet" (the last
        refinement step), "crnet_step1" .. and the baselines. See `scores`.
    """
    predict = predict or predictor(network, compared)
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
            if "all_foreground" in compared:
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


def predictor(network: model.CRNet, compared: tuple[str, ...] = ()):
    """Function of a batch's images (`episodes.training_pair`) -> `foreground_maps`, traced."""
    return tf.function(lambda images: foreground_maps(network, images, "prototype" in compared))


def foreground_maps(network: model.CRNet, images: dict, with_prototype: bool) -> dict:
    """Maps that are positive where foreground: {method: float32 [B,h,w,T], T steps or 1}."""
    mask = images["support_mask"]
    features = encode(network.parts, images)
    logits = network.segment_features(network.support_state(features, mask), features["query"])
    margins = tf.nn.softmax(logits)[..., 1] - 0.5  # [B,T,S,S]
    maps = {"crnet": tf.transpose(margins, [0, 2, 3, 1])}
    if with_prototype:
        maps["prototype"] = baselines.prototype(
            network, features["support"], mask, features["query"]
        )
    return maps


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


def panels(
    network: model.CRNet, archive: manifest.Archive, entries: list[manifest.Entry]
) -> np.ndarray:
    """Picture uint8 [H,W,3]: an episode a row, support, query, truth, every refinement step."""
    rows = []
    for episode in manifest.batches(archive, entries, network.config.image_size, 1):
        support = network.encode_support(
            episode["support_image"][:, 0], episode["support_mask"][:, 0]
        )
        logits = network.segment(support, episode["query_image"])
        probabilities = tf.nn.softmax(logits)[0, ..., 1].numpy()  # [T,S,S]
        rows.append(
            visualize.panel(
                episode["support_image"][0, 0].numpy().astype("uint8"),
                episode["support_mask"][0, 0, ..., 0].numpy(),
                episode["query_image"][0].numpy().astype("uint8"),
                episode["query_mask"][0, ..., 0].numpy(),
                list(probabilities),
            )
        )
    return visualize.contact_sheet(rows)


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


def chosen_classes(network: model.CRNet, index: records.Index, kind: str) -> tuple[int, ...]:
    """The "novel" or "base" classes of the fold a network was trained on.

    Raises:
        ValueError: the records are of another data set, or have too few photos of a class.
    """
    trained_on, fold = network.config.dataset, network.config.fold
    if trained_on and trained_on != index.dataset:
        raise ValueError(
            f"The checkpoint was trained on fold {fold} of {trained_on}: expected records of "
            f"it, received records of {index.dataset} in {index.directory}. Which classes are "
            "unseen is known for its own data set only."
        )
    choose = folds.test_classes if kind == "novel" else folds.train_classes
    classes = choose(index.dataset, fold)
    episodes.check_counts(index, "val", classes, 1)
    return classes


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
    classes = chosen_classes(network, index, args.classes)
    archive = manifest.Archive(index, "val", classes)
    entries = manifest.draw(archive, 1, args.episodes, args.seed)
    totals = evaluate(
        network,
        archive,
        entries,
        batch_size=args.batch_size,
        compared=baselines.BASELINES if args.baselines else (),
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
    shown = {entry.class_id: entry for entry in reversed(entries)}  # the first of each class
    picture = panels(network, archive, [shown[c] for c in sorted(shown)])
    photos.write_png(out / "panels.png", picture)
    files.write_text(out / "scores.md", table(result, index) + "\n")
    files.write_text(out / "evaluation.json", json.dumps(report, indent=1))
    print(
        f"\n{index.dataset} fold {fold}, {args.classes} classes, 1-shot, {len(entries)} "
        f"episodes, seed {args.seed}, manifest {report['manifest_sha256'][:12]}, "
        f"run selects on {network.config.select_on}\n\n{table(result, index)}\n\n"
        f"Written to {out}: evaluation.json, scores.md, manifest.jsonl, panels.png."
    )


if __name__ == "__main__":
    define_flags()
    cli.run(main)
