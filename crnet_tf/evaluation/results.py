"""What an evaluation found, as rows: one a method, with all that a number needs beside it.

totals  {method: {class id: areas [2,2]}} of one seed, from `evaluate.evaluate`
row     dict: method, protocol, shot, seeds, manifest hashes, mIoU, FB-IoU, IoU a class
table   Markdown of rows, without those of other thresholds than 0.5
"""

import dataclasses
import json
import pathlib

import numpy as np

from crnet_tf.common import files, tables
from crnet_tf.network import metrics

STEP, ABOVE = "crnet_step", "crnet_above"  # methods: these, and a number
THRESHOLDS = tuple(tenth / 10 for tenth in range(1, 10))


def above(threshold: float) -> str:
    """Name of the method that takes what is more probable than `threshold`."""
    return f"{ABOVE}{threshold}"


def method_name(method: str) -> str:
    """How a row's method is called in text: "crnet_step2" -> "CRNet, step 2"."""
    return (
        method.replace("crnet", "CRNet")
        .replace("_step", ", step ")
        .replace("_above", ", above ")
        .replace("_", " ")
    )


def final(rows: list[dict]) -> list[dict]:
    """Rows of answers: without those of single refinement steps and of other thresholds."""
    return [r for r in rows if not r["method"].startswith((STEP, ABOVE))]


@dataclasses.dataclass(frozen=True)
class Scored:
    """Part of an evaluation: rows, lines of `episodes.jsonl`, presence section or None."""

    rows: list[dict]
    episodes: list[dict]
    presence: dict | None


def scores(totals: dict) -> dict:
    """Areas by method and class -> method -> {mean_iou, fb_iou, class_iou: {class id: IoU}}."""
    return {
        name: {
            "mean_iou": metrics.mean_iou(by_class),
            "fb_iou": metrics.fb_iou(by_class),
            "class_iou": {c: metrics.class_iou(area) for c, area in sorted(by_class.items())},
        }
        for name, by_class in totals.items()
    }


def rows(totals_by_seed: dict[int, dict], about: dict) -> list[dict]:
    """Rows of a protocol: means over the seeds, and sample standard deviations.

    Args:
        totals_by_seed: seed -> areas by method and class.
        about: what every row says beside its scores.
    """
    by_seed = {seed: scores(totals) for seed, totals in totals_by_seed.items()}
    methods = next(iter(by_seed.values()))
    return [
        _row(method, {s: r[method] for s, r in by_seed.items()}, about) for method in methods
    ]


def _row(method, by_seed, about):
    found = list(by_seed.values())
    row = {"method": method, **about}
    for key in ("mean_iou", "fb_iou"):
        values = [one[key] for one in found]
        row[key] = float(np.mean(values))
        row[f"{key}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    # Few episodes may lack a class: it counts in the seeds that drew it.
    row["class_iou"] = {
        str(c): float(np.mean([one["class_iou"][c] for one in found if c in one["class_iou"]]))
        for c in sorted({c for one in found for c in one["class_iou"]})
    }
    row["per_seed"] = [{"seed": seed, **one} for seed, one in by_seed.items()]
    return row


def write(out: pathlib.Path, evaluation: dict, episodes: list[dict]) -> None:
    """`evaluation.json`, its rows as `scores.md`, and `episodes.jsonl`."""
    files.write_text(out / "episodes.jsonl", "".join(json.dumps(e) + "\n" for e in episodes))
    files.write_text(out / "scores.md", text(evaluation) + "\n")
    files.write_text(out / "evaluation.json", json.dumps(evaluation, indent=1))


def text(evaluation: dict) -> str:
    """Markdown: the table, and below it how each protocol was followed."""
    rows, lines = evaluation["rows"], [""]
    for protocol, changes in departures(rows).items():
        counts = sorted({row["episodes"] for row in rows if row["protocol"] == protocol})
        lines.append(
            f"{protocol}: {' and '.join(map(str, counts))} episodes a seed; "
            f"{'; '.join(changes) or 'followed'}."
        )
    lines += [
        f"Boundaries of {row['shot']}-shot {row['kshot']}: F-score "
        f"{100 * row['boundary_f']:.1f}, IoU {100 * row['boundary_iou']:.1f}."
        for row in rows
        if "boundary_f" in row
    ]
    return "\n".join([table(rows, evaluation["class_names"]), *lines])


def departures(rows: list[dict]) -> dict[str, list[str]]:
    """{protocol: what its rows did otherwise, each thing once}."""
    found = {}
    for row in rows:
        found.setdefault(row["protocol"], {}).update(dict.fromkeys(row["deviations"]))
    return {protocol: list(changes) for protocol, changes in found.items()}


def table(rows: list[dict], class_names: dict[str, str]) -> str:
    """Markdown: a row a method with its protocol, a column a class, IoU in percent."""
    rows = [row for row in rows if not row["method"].startswith(ABOVE)]
    classes = sorted({c for row in rows for c in row["class_iou"]}, key=int)
    head = ["method", "k", "protocol", "seeds", "manifest", "selected on", "mIoU", "FB-IoU"]
    head += [class_names[c] for c in classes]
    lines = []
    for row in rows:
        manifests = ", ".join(value[:12] for value in row["manifest_sha256"])
        seeds = ", ".join(map(str, row["seeds"]))
        cells = [row["method"] + _how(row), str(row["shot"]), row["protocol"], seeds, manifests]
        cells += [row["select_on"], _percent(row, "mean_iou"), _percent(row, "fb_iou")]
        found = row["class_iou"]
        cells += [f"{100 * found[c]:.1f}" if c in found else "" for c in classes]
        lines.append(cells)
    return tables.markdown(head, lines, left=6)


def _how(row):
    """Which k-shot method; baselines and single supports have none."""
    ours = row["method"].startswith("crnet")
    return f", {row['kshot']}" if ours and (row["shot"] > 1 or row["kshot"] != "fusion") else ""


def _percent(row, key):
    spread = row[f"{key}_std"]
    return f"{100 * row[key]:.1f}" + (f" ± {100 * spread:.1f}" if spread is not None else "")
