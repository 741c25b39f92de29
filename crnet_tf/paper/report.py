"""A table of the paper in Markdown: its values beside those of the runs that are finished."""

from crnet_tf import config
from crnet_tf.common import files
from crnet_tf.common.tables import markdown
from crnet_tf.data import records
from crnet_tf.paper.runs import Workplace, checkpoint_config
from crnet_tf.paper.tables import COMPLETE_PAIRS, Column, Row, Table, network_name

# Said elsewhere in the report, or no choice.
NOT_A_DEPARTURE = ("dataset", "fold", "image_size", "steps", "steps_per_epoch", "batch_size",
                   "select_on", "backbone_preprocessing", "backbone_stride")  # fmt: skip


def render(place: Workplace, index: records.Index, failures: dict) -> str:
    """The whole report.

    Args:
        failures: {(row name, column title, fold): last line of the error}, shown in place of
            a value.
    """
    table = place.table
    values = {
        (row.name, column.title): cell_values(place, row, column, failures)
        for row in table.own_rows()
        for column in table.columns
    }
    parts = [
        f"# Table {table.number}: {table.caption}",
        "IoU in percent; here: the mean over the folds named, all "
        f"{len(table.folds)} where none is named."
        if len(table.folds) > 1
        else "IoU in percent.",
        _side_by_side(table, values, failures),
        _failed(failures),
        "Readings of the paper:",
        "\n".join(f"* {note}" for note in table.notes),
        "## Folds",
        _folds(place, values, failures),
        "## What was run",
        _data(table, index),
        _networks(place),
        _evaluations(place),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def cell_values(place: Workplace, row: Row, column: Column, failures: dict) -> dict:
    """{fold: score of evaluation.json} of the folds that are finished."""
    found = {}
    for fold in place.table.folds:
        report = place.report(row, column.shot, fold)
        if report and (row.name, column.title, fold) not in failures:
            found[fold] = report["score"]
    return found


def _side_by_side(table: Table, values, failures):
    titles = [t for c in table.columns for t in (f"{c.title}, paper", f"{c.title}, here")]
    lines = []
    for row in table.rows:
        cells = list(row.labels)
        for column, paper in zip(table.columns, row.paper, strict=True):
            if row.network is None:
                cells += ["-" if paper is None else f"{paper:.1f}", ""]
            elif paper is None:
                cells += ["N/A", "N/A"]
            else:
                cells += [f"{paper:.1f}", _here(table, row, column, values, failures)]
        lines.append(cells)
    return markdown([*table.labels, *titles], lines, left=len(table.labels))


def _here(table, row, column, values, failures):
    found = values[row.name, column.title]
    failed = [fold for fold in table.folds if (row.name, column.title, fold) in failures]
    texts = []
    if found:
        text = _percent(sum(score[column.metric] for score in found.values()) / len(found))
        texts.append(text if len(found) == len(table.folds) else f"{text} ({_named(found)})")
    if failed:
        texts.append(f"failed ({_named(failed)})")
    return "; ".join(texts) or "not run"


def _named(folds):
    return ("fold " if len(folds) == 1 else "folds ") + ", ".join(str(fold) for fold in folds)


def _failed(failures):
    lines = [
        f"* {row}, {column}, fold {fold}: {_inline(error)}"
        for (row, column, fold), error in failures.items()
    ]
    return "\n".join(["Failed:", "", *lines]) if lines else ""


def _folds(place, values, failures):
    lines = []
    for row in place.table.own_rows():
        for column, paper in zip(place.table.columns, row.paper, strict=True):
            if paper is None:
                continue
            texts = {
                fold: _with_deviation(score, column.metric)
                for fold, score in values[row.name, column.title].items()
            }
            texts |= {
                fold: "failed" for *cell, fold in failures if cell == [row.name, column.title]
            }
            cells = [texts.get(fold, "not run") for fold in place.table.folds]
            lines.append([row.name, column.title, *cells])
    return markdown(
        ["row", "column", *(f"fold {fold}" for fold in place.table.folds)], lines, left=2
    )


def _with_deviation(score, metric):
    deviation = score.get(f"{metric}_std")
    text = _percent(score[metric])
    return text if deviation is None else f"{text} ± {_percent(deviation)}"


def _data(table, index):
    pairs = {
        split: sum(stream["records"] for stream in content["classes"].values())
        for split, content in index.splits.items()
    }
    counted = ", ".join(f"{split} {count:,}" for split, count in pairs.items())
    text = (
        f"Data set {index.dataset}, filter {index.filter}; (photo, class) pairs: {counted}; "
        f"index.json {index.sha256[:12]}."
    )
    complete = COMPLETE_PAIRS.get(table.dataset)
    if complete and (pairs.get("train"), pairs.get("val")) != complete:
        text += (
            f" The complete data set has train {complete[0]:,}, val {complete[1]:,}: **these "
            "values cannot be compared with the paper's.**"
        )
    return text


def _networks(place):
    """A line for each network that is trained: what it is and what it took."""
    lines = {}
    for row in place.table.own_rows():
        for fold in place.table.folds:
            if place.is_trained(row, fold):
                checkpoint = place.checkpoint(row, fold)
                lines[row.network, fold] = [
                    network_name(row.network), str(fold), *_training(checkpoint)
                ]  # fmt: skip
    if not lines:
        return "No network is trained."
    head = "network, fold, px, steps, batch, selected on, hours, git, departs".split(", ")
    return markdown(head, lines.values(), left=len(head))


def _training(checkpoint):
    values = checkpoint_config(checkpoint)
    run = files.read_json(checkpoint.with_name("run.json"), {})
    # The best checkpoint may be from before the number of steps was raised.
    steps = max(values["steps"], run.get("config", values)["steps"])
    best = files.read_json(checkpoint.with_name("best.json"), {}).get("step")
    defaults = vars(config.Config())
    departures = [
        f"{name}={str(value).rpartition('/')[2]}"
        for name, value in values.items()
        if name not in NOT_A_DEPARTURE and value != defaults.get(name)
    ]
    revisions = dict.fromkeys(session.get("git") or "unknown" for session in _sessions(run))
    return [
        str(values["image_size"]),
        f"{steps:,}" + (f" (best: {best:,})" if best else ""),
        str(values["batch_size"]),
        values["select_on"],
        _hours(run),
        ", ".join(revisions) or "unknown",
        ", ".join(departures) or "nothing",
    ]


def _hours(run):
    """Hours of training; a killed session has left no time."""
    seconds = [session.get("seconds") for session in _sessions(run)]
    known = sum(second for second in seconds if second is not None)
    if not seconds:
        return "unknown"
    return ("at least " if None in seconds else "") + f"{known / 3600:.2f}"


def _sessions(run):
    return run.get("sessions", [])


def _evaluations(place):
    """A line for each evaluation: what was drawn, and how it was scored."""
    lines = []
    for row in place.table.own_rows():
        for shot in row.shots(place.table.columns):
            for fold in place.table.folds:
                report = place.report(row, shot, fold)
                if not report:
                    continue
                score = report["score"]
                lines.append(
                    [
                        row.name,
                        f"{shot}",
                        f"{fold}",
                        score["kshot"] if shot > 1 else "",
                        row.test_scales,
                        _options(report["options"], score["kshot"] if shot > 1 else ""),
                        f"{score['episodes']:,}",
                        ", ".join(map(str, score["seeds"])),
                        ", ".join(sha256[:12] for sha256 in score["manifest_sha256"]),
                        "; ".join([score["protocol"], *score["deviations"]]),
                        report["classes"],
                        f"{report['seconds'] / 3600:.2f}",
                    ]
                )
    heads = ["row", "k", "fold", "k-shot", "scales", "options", "episodes", "seeds",
             "manifest", "protocol, deviations", "classes", "hours"]  # fmt: skip
    return markdown(heads, lines, left=len(heads)) if lines else "Nothing is evaluated."


def _options(options, kshot):
    """The evaluation's other options that are on, and that matter for the way of `kshot`."""
    apart = "kshot", "test_scales"
    return ", ".join(
        f"{name}={value}"
        for name, value in options.items()
        if value and name not in apart and not name.startswith("feature_cache")
        if "finetune" in kshot or not name.startswith("finetune")
    )


def _percent(value):
    return f"{100 * value:.1f}"


def _inline(text):
    """A line of someone's output as Markdown code."""
    return "`" + text.replace("`", "'") + "`"
