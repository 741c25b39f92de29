"""Charts of an evaluation, for its page and for TensorBoard.

Every chart is a uint8 picture [H,W,3] on white paper, drawn by Matplotlib without a window
and without its global state. Colours are Okabe and Ito's, told apart by colour-blind readers
too; markers, dashes and hatches say the same again. IoUs come in as shares 0..1 and are
shown in percent.
"""

import itertools
import math
import os
import pathlib

import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from crnet_tf.evaluation.results import final
from crnet_tf.reporting.series import Series, labels, over_shots, over_steps, over_thresholds

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS, DASHES, HATCHES = "os^DvPX", ("-", "--", ":"), ("", "///", "...")
GREY = "#8A8A8A"
SIZE_EDGES = (0, 0.01, 0.03, 0.1, 0.2, 0.4, 1)  # share of the photo
MIN_SPAN = 0.05  # of a curve's axis, or noise of a tenth of a percent would fill the chart
SUFFIX = ".evaluation"  # of the event files that `tensorboard` writes, and replaces


def curve(
    series: Series, xlabel: str, ylabel: str, title: str, errors: dict | None = None
) -> np.ndarray:
    """Lines over a few numbers x, such as k, the refinement step or the threshold.

    Args:
        series: {name: (xs, ys)}, ys shares 0..1.
        errors: {name: standard deviations, one for each y or None}, drawn as bars.

    Raises:
        ValueError: there is no point.
    """
    ticks = sorted({x for xs, _ in series.values() for x in xs})
    if not ticks:
        raise ValueError(f"curve: expected a point to draw in {title!r}, received none.")
    figure = _figure(6, 4)
    axes = figure.add_subplot()
    for i, (name, (xs, ys)) in enumerate(series.items()):
        bars = [math.nan if e is None else e for e in (errors or {}).get(name, [])] or None
        shift = (i - (len(series) - 1) / 2) * (ticks[-1] - ticks[0]) / 150 if errors else 0
        axes.errorbar(np.add(xs, shift), ys, bars, capsize=3, label=name, **_line(i))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(ticks) <= 12:
        axes.set_xticks(ticks)
    axes.margins(x=0.06, y=0.12)
    low, high = axes.get_ylim()
    missing = max(0, MIN_SPAN - (high - low)) / 2
    axes.set_ylim(low - missing, high + missing)
    _finish(axes, xlabel, ylabel, title)
    _legend(figure, axes)
    return _picture(figure)


def reliability(rows: dict[str, list[tuple[float, float, int]]]) -> np.ndarray:
    """What presence says against how many photos show the thing; the diagonal is perfect.

    Args:
        rows: by name, of `presence_fit.reliability`.
    """
    figure = _figure(5, 5)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    for i, (name, some) in enumerate(rows.items()):
        said, shown, _ = zip(*some, strict=True)
        axes.plot(said, shown, label=name, **_line(i))
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    _finish(axes, "presence", "photos that show the thing", "Reliability of presence")
    _legend(figure, axes)
    return _picture(figure)


def iou_by_size(episodes: list[dict]) -> np.ndarray:
    """IoU against the object's share of the query, and below how many episodes say so.

    Sums of intersections are not in `episodes.jsonl`, so a point is the mean of the episodes'
    IoUs, not the field's accumulated IoU.

    Raises:
        ValueError: there is no episode.
    """
    if not episodes:
        raise ValueError("iou_by_size: expected at least one episode, received none.")
    figure = _figure(6.4, 4.8)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    means, counts = _size_bins(episodes)
    shared = len({tuple(count) for count in counts.values()}) == 1
    places = np.arange(len(SIZE_EDGES) - 1)
    for i, (name, mean) in enumerate(means.items()):
        upper.plot(places, mean, label=name, **_line(i))
        if not shared:
            _bars(lower, i, len(means), counts[name], str)
    if shared:
        _bars(lower, 0, 1, next(iter(counts.values())), str, GREY)
    percent = [f"{100 * edge:g}" for edge in SIZE_EDGES]
    names = [f"{a} to {b}%" for a, b in itertools.pairwise(percent)]
    lower.set_xticks(places, names)
    lower.margins(y=0.25)
    _finish(upper, "", "mean of the episodes' IoUs", "IoU by object size")
    _finish(lower, "object's share of the query photo", "episodes", "")
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    lower.yaxis.set_major_formatter("{x:.0f}")
    upper.set_ylim(0)
    _legend(figure, upper)
    return _picture(figure)


def _size_bins(episodes):
    """{setting: mean IoU a bin, NaN where empty}, {setting: number of episodes a bin}."""
    names = np.array(labels(episodes, ("shot", "kshot", "protocol")))
    iou = np.array([episode["iou"] for episode in episodes], float)
    bins = np.digitize([e["foreground"] for e in episodes], SIZE_EDGES[1:-1])
    means, counts = {}, {}
    for name in dict.fromkeys(names.tolist()):
        inside = [iou[(names == name) & (bins == i)] for i in range(len(SIZE_EDGES) - 1)]
        means[name] = [values.mean() if len(values) else math.nan for values in inside]
        counts[name] = [len(values) for values in inside]
    return means, counts


def class_bars(rows: list[dict], class_names: dict[str, str]) -> np.ndarray:
    """IoU of every class, a group of bars a class, a bar a row.

    Args:
        rows: `evaluation.json`'s, each with `class_iou` {class id: IoU}.
        class_names: {class id: name}; what it lacks is called by its id.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("class_bars: expected at least one row, received none.")
    classes = list(dict.fromkeys(c for row in rows for c in row["class_iou"]))
    width = min(16, max(6.4, 1 + 0.26 * len(classes) * (len(rows) + 1)))
    figure = _figure(width, 4.2)
    axes = figure.add_subplot()
    crowded = len(classes) * len(rows) > 40  # numbers above the bars would overlap
    for i, (row, name) in enumerate(zip(rows, labels(rows), strict=True)):
        values = [row["class_iou"].get(c, math.nan) for c in classes]
        number = None if crowded else lambda v: "" if math.isnan(v) else f"{100 * v:.0f}"
        _bars(axes, i, len(rows), values, number, label=name)
    names = [class_names.get(c, c) for c in classes]
    axes.set_xticks(np.arange(len(classes)), names, parse_math=False)
    if sum(map(len, names)) > 9 * width:
        axes.tick_params("x", rotation=45)
        for tick in axes.get_xticklabels():
            tick.set(ha="right", rotation_mode="anchor")
    _finish(axes, "", "IoU", "IoU by class")
    axes.set_ylim(0, 1)
    _legend(figure, axes)
    return _picture(figure)


def pictures(evaluation: dict, episodes: list[dict]) -> dict[str, np.ndarray]:
    """{name: picture} of every chart that `evaluation.json` and `episodes.jsonl` have data for.

    Curves need two points: an evaluation of one k, or one step, has none.
    """
    rows, drawn = evaluation["rows"], {}
    for value, ylabel in (("mean_iou", "mIoU"), ("fb_iou", "FB-IoU")):
        for name, xlabel, title, lines in (
            ("over_shots", "k, number of labelled photos", "number of shots", over_shots),
            ("over_steps", "refinement step", "refinement step", over_steps),
            ("over_thresholds", "threshold on the answer", "threshold", over_thresholds),
        ):
            series = lines(rows, value)
            if any(len(xs) > 1 for xs, _ in series.values()):
                errors = {key: line[1] for key, line in lines(rows, f"{value}_std").items()}
                drawn[f"{value}_{name}"] = curve(
                    series, xlabel, ylabel, f"{ylabel} by {title}", errors
                )
    if episodes:
        drawn["iou_by_size"] = iou_by_size(episodes)
    answers = final(rows)
    if len(answers) > 6:  # too many bars to tell apart
        answers = [row for row in answers if row["method"] == "crnet"]
    if answers:
        drawn["class_iou"] = class_bars(answers, evaluation["class_names"])
    return drawn


def tensorboard(
    directory: str | os.PathLike, evaluation: dict, pictures: dict[str, np.ndarray]
) -> None:
    """Writes the scalars of `evaluation.json` and pictures [H,W,3] into one event file.

    mIoU and FB-IoU stand against k and against the refinement step, class IoUs against k.
    What an earlier call wrote into `directory` is replaced; other event files stay.
    """
    for path in pathlib.Path(directory).glob(f"events.*{SUFFIX}"):
        path.unlink()
    writer = tf.summary.create_file_writer(str(directory), filename_suffix=SUFFIX)
    rows, names = evaluation["rows"], evaluation["class_names"]
    with writer.as_default(), tf.summary.record_if(True):
        for value in ("mean_iou", "fb_iou"):
            for axis, lines in (("k", over_shots), ("refinement step", over_steps)):
                for name, (xs, ys) in lines(rows, value).items():
                    for x, y in zip(xs, ys, strict=True):
                        tf.summary.scalar(f"{value} over {axis}/{name}", y, int(x))
        for row, name in zip(final(rows), labels(final(rows)), strict=True):
            for c, iou in row["class_iou"].items():
                tf.summary.scalar(f"class_iou {name}/{names.get(c, c)}", iou, row["shot"])
        for name, value in (evaluation["presence"] or {}).items():
            tf.summary.scalar(f"presence/{name}", value, 0)
        for name, picture in pictures.items():
            tf.summary.image(name, picture[None], 0)
    writer.close()


def _figure(width, height):
    return Figure((width, height), 120, layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08))


def _line(i):
    return {
        "color": COLOURS[i % len(COLOURS)],
        "marker": MARKERS[i % len(MARKERS)],
        "linestyle": DASHES[i // len(COLOURS) % len(DASHES)],
    }


def _bars(axes, i, count, values, number, colour=None, label=None):
    """The i-th of `count` bars at every place, with what `number` makes of its value above."""
    width = 0.84 / count
    bars = axes.bar(
        np.arange(len(values)) + (i - (count - 1) / 2) * width,
        values,
        width,
        color=colour or COLOURS[i % len(COLOURS)],
        hatch=HATCHES[i // len(COLOURS) % len(HATCHES)],
        edgecolor="white",
        label=label,
    )
    if number:
        axes.bar_label(bars, [number(v) for v in values], padding=1, fontsize=7)


def _finish(axes, xlabel, ylabel, title):
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title, parse_math=False)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure, axes):
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:  # outside, where it covers nothing
        longest = max(map(len, names))
        columns = max(1, int(figure.get_figwidth() * 11 // (longest + 6)))
        figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)


def _picture(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # without opacity
