"""HTML of an evaluation: text, tables and pictures in one document that needs nothing else.

All text is escaped; pictures are PNG in data URIs; the reader's light or dark setting and
narrow screens are served by the style sheet.
"""

import base64
import html
import json
import math

import numpy as np

from crnet_tf.evaluation.results import ABOVE, STEP, departures, final, method_name
from crnet_tf.images import png_files

STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 60rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
details { margin: 1rem 0; }
section { border-top: 1px solid var(--line); margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th { font-weight: 600; } th:first-child { text-align: left; } td { white-space: nowrap; }
tbody tr:nth-child(even) { background: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; } figcaption { white-space: pre-line; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
@media (max-width: 35rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
"""

SELECTION = {
    "base": "The checkpoint was selected on held-out photos of the training classes.",
    "novel": "The checkpoint was selected on the unseen classes themselves, as is the field's "
    "habit: the scores are not clean.",
    "last": "No checkpoint was selected: it is the last one.",
}
PRESENCE = {
    "auroc": "AUROC of the presence score",
    "false_positive_rate": "queries without the object in which some was found, %",
    "mean_false_area": "share of such a photo taken for the object, mean, %",
    "negatives": "queries without the object",
}


def whole(heading: str, *parts: str) -> str:
    """The document: `heading` as text, `parts` as HTML."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(heading)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(heading)}</h1>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def title(evaluation: dict) -> str:
    fold = [f"fold {evaluation['fold']}"] if _of_fold(evaluation) else []
    return ", ".join([evaluation["dataset"], *fold, f"{evaluation['classes']} classes"])


def _of_fold(evaluation):
    """Whether the classes are those of a fold."""
    return evaluation["classes"] != "all"


def section(
    evaluation: dict,
    episodes: list[dict],
    pictures: dict[str, np.ndarray],
    panels: list[tuple[str, np.ndarray]],
) -> str:
    """An evaluation as HTML.

    Args:
        evaluation: content of evaluation.json. episodes: lines of episodes.jsonl.
        pictures: {name: uint8 [H,W,3]} of its charts.
        panels: (caption, uint8 [H,W,3]) of the episodes shown.
    """
    rows = evaluation["rows"]
    parts = [
        _heading(2, f"Fold {evaluation['fold']}" if _of_fold(evaluation) else "All classes"),
        _definitions(what_was_run(evaluation)),
        _details("Options", _options(evaluation)),
        _details("Manifests of the episodes", _manifests(rows)),
        _heading(3, "Scores, IoU in percent"),
        score_table(final(rows)),
        _details("After each refinement step", score_table(_of(STEP, rows))),
        _details("At other thresholds on the answer", score_table(_of(ABOVE, rows))),
        _heading(3, "IoU by class, in percent"),
        class_table(rows, evaluation["class_names"]),
    ]
    if evaluation["presence"]:
        parts += [_heading(3, "Is the object there at all?"), _presence(evaluation["presence"])]
    if pictures:
        parts.append(_heading(3, "Pictures"))
        parts += [_figure(_spoken(name), picture) for name, picture in pictures.items()]
    if panels:
        parts.append(_heading(3, "Episodes"))
        if episodes:
            words = f"{len(episodes)} episodes were scored; these were chosen by their IoU."
            parts.append(f"<p>{words}</p>")
        parts += [_figure(text, picture) for text, picture in panels]
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def what_was_run(evaluation: dict) -> list[tuple[str, str]]:
    """Pairs (name, text) of all that a number needs beside it."""
    rows = evaluation["rows"]
    rules = dict.fromkeys(row["select_on"] for row in rows)
    names = ", ".join(evaluation["class_names"].values())
    seconds = round(evaluation.get("seconds", 0))
    pairs = [
        ("checkpoint", evaluation["checkpoint"]),
        ("data set", f"{evaluation['dataset']}, records {evaluation.get('records_sha256')}"),
        ("classes", f"{evaluation['classes']}: {names}"),
        ("selection", " ".join(SELECTION.get(rule, str(rule)) for rule in rules)),
        *((f"protocol {name}", _departed(c)) for name, c in departures(rows).items()),
        ("time", f"{seconds // 3600} h {seconds // 60 % 60} min {seconds % 60} s"),
    ]
    ways = sorted({row.get("way", 1) for row in rows} - {1})
    return pairs + [("classes at once", ", ".join(map(str, ways)))] * bool(ways)


def _departed(changes):
    return "followed" if not changes else "departed from: " + "; ".join(changes)


def _options(evaluation):
    options = evaluation.get("options", {})
    return _definitions((name, json.dumps(value)) for name, value in options.items())


def _manifests(rows):
    """A line for each drawing of episodes; several methods are scored on one."""
    lines = [
        (row["protocol"], row["shot"], seed, sha)
        for row in rows
        for seed, sha in zip(row["seeds"], row["manifest_sha256"], strict=True)
    ]
    return _definitions(
        (f"{protocol}, {shot}-shot, seed {seed}", sha)
        for protocol, shot, seed, sha in dict.fromkeys(lines)
    )


def score_table(rows: list[dict]) -> str:
    """mIoU and FB-IoU of every row, mean ± standard deviation where there are several seeds."""
    head = ["method", "shot", "k-shot method", "protocol", "seeds", "episodes each"]
    body = [
        [
            method_name(row["method"]),
            row["shot"],
            row["kshot"],
            row["protocol"],
            ", ".join(map(str, row["seeds"])),
            row["episodes"],
            score(row, "mean_iou"),
            score(row, "fb_iou"),
        ]
        for row in rows
    ]
    return _table([*head, "mIoU", "FB-IoU"], body)


def _of(method, rows):
    return [row for row in rows if row["method"].startswith(method)]


def class_table(rows: list[dict], class_names: dict[str, str]) -> str:
    rows = final(rows)
    head = ["method", "shot", "k-shot method", "protocol", *class_names.values()]
    body = [
        [method_name(row["method"]), row["shot"], row["kshot"], row["protocol"]]
        + [percent(row["class_iou"].get(c)) for c in class_names]
        for row in rows
    ]
    return _table(head, body)


def fold_tables(evaluations: list[dict]) -> str:
    """mIoU and FB-IoU by fold, and their means over the folds: the field's number."""
    evaluations = sorted(evaluations, key=lambda evaluation: evaluation["fold"])
    keys = ("method", "shot", "kshot", "protocol")
    found = {}  # setting -> {fold: row}
    for evaluation in evaluations:
        for row in final(evaluation["rows"]):
            setting = tuple(row[key] for key in keys)
            found.setdefault(setting, {})[evaluation["fold"]] = row
    fold_ids = [evaluation["fold"] for evaluation in evaluations]
    parts = []
    for value, name in (("mean_iou", "mIoU"), ("fb_iou", "FB-IoU")):
        body = []
        for setting, rows in found.items():
            cells = [score(rows[i], value) if i in rows else "–" for i in fold_ids]
            mean = fold_mean([rows[i][value] if i in rows else None for i in fold_ids])
            names = [method_name(setting[0]), *setting[1:]]
            body.append([*names, *cells, percent(mean)])
        head = ["method", "shot", "k-shot method", "protocol"]
        head += [*(f"fold {i}" for i in fold_ids), f"mean of {len(fold_ids)} folds"]
        parts += [_heading(2, f"{name} by fold, in percent"), _table(head, body)]
    unlike = _unlike(found, evaluations)
    warning = (
        f"<p><strong>The folds differ in {', '.join(unlike)}.</strong></p>" if unlike else ""
    )
    return "\n".join(parts) + warning


def fold_mean(values: list[float | None]) -> float | None:
    """Mean of the folds' scores; None where a fold has none."""
    return None if None in values else sum(values) / len(values)


def _unlike(found, evaluations):
    """What should be the same in all folds and is not."""
    names = {"deviations": "deviations", "episodes": "episodes", "seeds": "seeds"}
    names["select_on"] = "selection"
    unlike = [
        name
        for key, name in names.items()
        if any(len({str(row[key]) for row in rows.values()}) > 1 for rows in found.values())
    ]
    for key, name in (("records_sha256", "records"), ("options", "options")):
        unlike += [name] * (len({str(one.get(key)) for one in evaluations}) > 1)
    return unlike


def score(row: dict, value: str) -> str:
    spread = row[f"{value}_std"]
    return percent(row[value]) + ("" if spread is None else f" ± {percent(spread)}")


def percent(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def _presence(found):
    pairs = []
    for name, value in found.items():
        text = PRESENCE.get(name, name)
        pairs.append((text, percent(value) if text.endswith("%") else f"{value:.4g}"))
    return _definitions(pairs)


def _spoken(name):
    text = name.replace("_", " ").replace("-", " ")
    return text[:1].upper() + text[1:]


def _heading(level, text):
    return f"<h{level}>{html.escape(text)}</h{level}>"


def _definitions(pairs):
    items = (f"<dt>{html.escape(a)}</dt><dd>{html.escape(str(b))}</dd>" for a, b in pairs)
    return "<dl>\n" + "\n".join(items) + "\n</dl>"


def _details(summary, content):
    return f"<details><summary>{html.escape(summary)}</summary>\n{content}\n</details>"


def _table(head, body):
    lines = ["".join(f'<th scope="col">{html.escape(str(name))}</th>' for name in head)]
    lines = [f"<thead><tr>{lines[0]}</tr></thead>", "<tbody>"]
    for first, *cells in body:
        rest = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{html.escape(str(first))}</th>{rest}</tr>')
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</tbody></table></div>"


def _figure(text, picture):
    data = base64.b64encode(png_files.encode_png(picture)).decode()
    height, width = picture.shape[:2]
    alt = html.escape(text.split("\n")[0], quote=True)
    image = f'<img src="data:image/png;base64,{data}" alt="{alt}" width="{width}"'
    return (
        f'<figure>{image} height="{height}">\n'
        f"<figcaption>{html.escape(text)}</figcaption></figure>"
    )
