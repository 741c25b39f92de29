"""Charts say what the rows say; TensorBoard reads back what was written."""

import math

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorflow import make_ndarray

from crnet_tf.evaluation import results
from crnet_tf.reporting import charts, series

NAMES = {"6": "bus", "7": "cost $ of a $ car"}


def row(method="crnet", shot=1, kshot="fusion", mean=0.4, protocol="crnet", **more):
    scores = {"mean_iou": mean, "fb_iou": mean + 0.2, "mean_iou_std": None, "fb_iou_std": None}
    class_iou = {"6": mean + 0.1, "7": mean - 0.1}
    setting = {"method": method, "shot": shot, "kshot": kshot, "protocol": protocol}
    return {**setting, **scores, "class_iou": class_iou, **more}


def evaluation(rows, presence=None):
    return {"rows": rows, "class_names": NAMES, "presence": presence}


def episode(foreground, iou, **more):
    setting = {"shot": 1, "kshot": "fusion", "protocol": "crnet"}
    return {**setting, "foreground": foreground, "iou": iou, **more}


def is_colour(picture, colour):
    """bool [H,W]: where a picture has exactly this colour."""
    return (picture == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(-1)


def drawn(picture):
    """Indices of the colours of `charts.COLOURS[:6]` that are in a picture."""
    return [i for i in range(6) if is_colour(picture, charts.COLOURS[i]).sum() > 20]


def test_the_one_shot_row_begins_the_curve_of_every_kshot_method():
    rows = [row(shot=5, kshot="finetune", mean=0.5), row(), row(shot=5, mean=0.45)]
    rows += [row("crnet_step1"), row("prototype", shot=5)]
    assert series.over_shots(rows) == {
        "fusion": ([1, 5], [0.4, 0.45]),
        "finetune": ([1, 5], [0.4, 0.5]),
    }
    assert series.over_shots(rows, "fb_iou")["fusion"] == ([1, 5], [0.4 + 0.2, 0.45 + 0.2])


def test_methods_and_protocols_with_their_own_one_shot_row_keep_it():
    rows = [row(kshot=kshot, shot=k, mean=k / 10) for kshot in "ab" for k in (5, 1)]
    assert series.over_shots(rows) == {"a": ([1, 5], [0.1, 0.5]), "b": ([1, 5], [0.1, 0.5])}
    rows = [row(protocol=p, shot=k, mean=k / 10) for p in ("crnet", "panet") for k in (1, 5)]
    assert sorted(series.over_shots(rows)) == ["crnet protocol", "panet protocol"]
    assert series.over_shots([row(kshot="a")]) == {"a": ([1], [0.4])}


def test_steps_are_sorted_as_numbers():
    rows = [row(f"crnet_step{t}", mean=t / 100) for t in (10, 2, 1)]
    assert series.over_steps([row(), *rows]) == {"1-shot": ([1, 2, 10], [0.01, 0.02, 0.1])}
    rows += [row("crnet_step1", shot=5)]
    assert sorted(series.over_steps(rows)) == ["1-shot", "5-shot"]


def test_thresholds_are_a_curve_and_no_answers_of_their_own():
    rows = [row(f"crnet_above{t}", mean=t / 2) for t in (0.5, 0.1)]
    assert series.over_thresholds([row(), *rows]) == {"1-shot": ([0.1, 0.5], [0.05, 0.25])}
    assert results.final([row(), *rows]) == [row()]
    assert {f"{key}_over_thresholds" for key in ("mean_iou", "fb_iou")} <= set(
        charts.pictures(evaluation([row(), *rows]), [])
    )


def test_labels_tell_only_what_differs():
    assert series.labels([row(), row("all_foreground"), row("crnet_step2")]) == [
        "CRNet",
        "all foreground",
        "CRNet, step 2",
    ]
    assert series.labels([row(), row(shot=5, kshot="finetune")]) == [
        "1-shot, fusion",
        "5-shot, finetune",
    ]


def test_a_curve_has_a_colour_a_line_and_higher_values_are_drawn_higher():
    lines = {"low": ([1, 5], [0.2, 0.3]), "high": ([1, 5], [0.6, 0.7])}
    picture = charts.curve(lines, "k", "mIoU", "a $ in a title $")
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert drawn(picture) == [0, 1]
    plot = picture[: picture.shape[0] * 3 // 4]  # without the legend
    low, high = (np.nonzero(is_colour(plot, charts.COLOURS[i]))[0] for i in (0, 1))
    assert high.max() < low.min()


def test_error_bars_are_drawn_where_there_is_a_deviation():
    line = {"a": ([1, 5, 10], [0.4, 0.5, 0.6])}
    pixels = [
        is_colour(charts.curve(line, "k", "mIoU", "", errors), charts.COLOURS[0]).sum()
        for errors in (None, {"a": [None] * 3}, {"a": [None, 0.05, 0.05]})
    ]
    assert pixels[1] <= pixels[0] * 1.1 < pixels[2] * 0.95


def test_no_points_is_an_error():
    with pytest.raises(ValueError, match="expected a point"):
        charts.curve({}, "k", "mIoU", "title")
    with pytest.raises(ValueError, match="expected at least one episode"):
        charts.iou_by_size([])
    with pytest.raises(ValueError, match="expected at least one row"):
        charts.class_bars([], NAMES)


def test_size_bins_average_their_episodes_and_count_them():
    episodes = [episode(0.005, 0.2), episode(0.005, 0.4), episode(0.5, 0.9), episode(1, 0.7)]
    means, counts = charts._size_bins(episodes)
    assert counts == {"1-shot": [2, 0, 0, 0, 0, 2]}
    assert means["1-shot"][0] == pytest.approx(0.3)
    assert means["1-shot"][-1] == pytest.approx(0.8)
    assert all(math.isnan(mean) for mean in means["1-shot"][1:-1])


def test_sizes_have_a_line_a_method_and_grey_counts_where_all_agree():
    one = [episode(0.2, 0.5), episode(0.5, 0.6)]
    two = [{**e, "kshot": "finetune", "iou": 0.2} for e in one]
    assert drawn(charts.iou_by_size(one)) == [0]
    alike = charts.iou_by_size(one + two)
    assert drawn(alike) == [0, 1] and is_colour(alike, charts.GREY).sum() > 1000
    unlike = charts.iou_by_size(one + two[:1])
    assert drawn(unlike) == [0, 1] and is_colour(unlike, charts.GREY).sum() < 200


def test_the_bar_of_a_higher_iou_is_longer():
    picture = charts.class_bars([row(mean=0.2), row("prototype", mean=0.6)], NAMES)
    short, long = (is_colour(picture, charts.COLOURS[i]).sum() for i in (0, 1))
    assert drawn(picture) == [0, 1] and long > 2 * short


def test_many_classes_and_rows_fit():
    names = {str(c): f"a long class name {c}" for c in range(20)}
    rows = [row(shot=k, class_iou=dict.fromkeys(names, 0.5)) for k in range(1, 10)]
    rows[0]["class_iou"] = {"3": 0.5}  # a row that misses classes
    assert charts.class_bars(rows, names).shape[1] <= 2000


def test_only_charts_with_data_are_drawn():
    assert list(charts.pictures(evaluation([row()]), [])) == ["class_iou"]
    rows = [row(), row(shot=5), row("crnet_step1"), row("crnet_step2")]
    assert set(charts.pictures(evaluation(rows), [episode(0.2, 0.5)])) == {
        "mean_iou_over_shots",
        "mean_iou_over_steps",
        "fb_iou_over_shots",
        "fb_iou_over_steps",
        "iou_by_size",
        "class_iou",
    }


def test_tensorboard_reads_the_scalars_and_pictures_back(tmp_path):
    rows = [row(mean=0.4), row(shot=5, mean=0.5), row("crnet_step1"), row("crnet_step2")]
    other = tmp_path / "events.out.tfevents.training"
    other.write_bytes(b"")
    for _ in range(2):  # the second call replaces what the first wrote
        charts.tensorboard(
            tmp_path,
            evaluation(rows, {"auroc": 0.75, "negatives": 3}),
            {"curve": np.full((4, 6, 3), 7, np.uint8)},
        )
    assert other.exists()
    (path,) = tmp_path.glob("*.evaluation")
    events = EventAccumulator(str(path)).Reload()

    def read(tag):
        return [
            (event.step, pytest.approx(float(make_ndarray(event.tensor_proto))))
            for event in events.Tensors(tag)
        ]

    assert read("mean_iou over k/fusion") == [(1, 0.4), (5, 0.5)]
    assert read("fb_iou over refinement step/1-shot") == [(1, 0.6), (2, 0.6)]
    assert read("class_iou 5-shot/bus") == [(5, 0.6)]
    assert read("presence/auroc") == [(0, 0.75)]
    width, height, png = make_ndarray(events.Tensors("curve")[0].tensor_proto)
    assert (width, height, png[1:4]) == (b"6", b"4", b"PNG")
