"""Rows: means and spreads over seeds, and in every row all that its number needs."""

import json

import numpy as np
import pytest

from crnet_tf.evaluation import results

ABOUT = {
    "protocol": "crnet", "shot": 1, "kshot": "fusion", "way": 1, "seeds": [3, 4, 5],
    "episodes": 6, "manifest_sha256": ["a" * 64, "b" * 64, "c" * 64], "select_on": "base",
    "deviations": [],
}  # fmt: skip
NAMES = {"6": "bus", "7": "car", "8": "cat"}


def areas(intersection, union, background=(50, 100)):
    return np.array([background, [intersection, union]])


def rows_of(*seeds, **about):
    """Rows of a method of these {class id: areas} by seed."""
    totals = {3 + i: {"crnet": by_class} for i, by_class in enumerate(seeds)}
    return results.rows(totals, ABOUT | about)


def test_scores_by_hand():
    found = results.scores({"crnet": {7: areas(30, 40), 6: areas(10, 40)}})["crnet"]
    assert found["class_iou"] == {6: 0.25, 7: 0.75} and list(found["class_iou"]) == [6, 7]
    assert found["mean_iou"] == 0.5
    assert found["fb_iou"] == pytest.approx((100 / 200 + 40 / 80) / 2)


def test_several_seeds_give_the_mean_and_the_sample_standard_deviation():
    (row,) = rows_of(*({6: areas(i, 100), 7: areas(2 * i, 100)} for i in (10, 20, 40)))
    ious = np.array([0.15, 0.30, 0.60])
    spread = np.sqrt(np.sum((ious - ious.mean()) ** 2) / 2)  # of a sample: by 3 - 1
    assert row["mean_iou"] == pytest.approx(0.35)
    assert row["mean_iou_std"] == pytest.approx(spread)
    assert row["class_iou"] == pytest.approx({"6": 0.7 / 3, "7": 1.4 / 3})
    fb = (0.5 + ious) / 2
    assert row["fb_iou"] == pytest.approx(fb.mean())
    assert row["fb_iou_std"] == pytest.approx(fb.std(ddof=1))
    assert [one["seed"] for one in row["per_seed"]] == [3, 4, 5]
    assert [one["mean_iou"] for one in row["per_seed"]] == pytest.approx(ious.tolist())


def test_one_seed_has_no_spread():
    (row,) = rows_of({6: areas(10, 100)})
    assert row["mean_iou"] == pytest.approx(0.1)
    assert row["mean_iou_std"] is None and row["fb_iou_std"] is None


def test_a_class_counts_in_the_seeds_that_drew_it():
    """Few episodes may miss a class, another one in each seed."""
    (row,) = rows_of({6: areas(10, 100)}, {8: areas(40, 100), 6: areas(30, 100)})
    assert row["class_iou"] == pytest.approx({"6": 0.2, "8": 0.4})
    assert row["mean_iou"] == pytest.approx((0.1 + 0.35) / 2)


def test_a_row_a_method_with_all_about_it():
    totals = {3: {"crnet": {6: areas(1, 2)}, "prototype": {6: areas(1, 4)}}}
    rows = results.rows(totals, ABOUT)
    assert [row["method"] for row in rows] == ["crnet", "prototype"]
    for row in rows:
        assert {key: row[key] for key in ABOUT} == ABOUT


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_row_of_the_table_says_how_its_number_came_about():
    rows = rows_of({6: areas(10, 40)}, {6: areas(20, 40)})
    rows += results.rows({0: {"prototype": {6: areas(30, 40), 7: areas(1, 40)}}}, ABOUT | {
        "protocol": "hsnet", "seeds": [0], "manifest_sha256": ["d" * 64], "select_on": "novel",
    })  # fmt: skip
    head, rule, first, second = results.table(rows, NAMES).splitlines()
    assert len(cells(rule)) == len(cells(head)) == len(cells(first)) == len(cells(second))
    said = [dict(zip(cells(head), cells(line), strict=True)) for line in (first, second)]
    assert said[0]["protocol"] == "crnet" and said[1]["protocol"] == "hsnet"
    assert said[0]["seeds"] == "3, 4, 5" and said[1]["seeds"] == "0"
    assert said[0]["manifest"] == "a" * 12 + ", " + "b" * 12 + ", " + "c" * 12
    assert said[1]["manifest"] == "d" * 12
    assert (said[0]["selected on"], said[1]["selected on"]) == ("base", "novel")
    assert said[0]["mIoU"] == "37.5 ± 17.7" and said[1]["mIoU"] == "38.8"
    assert said[0]["bus"] == "37.5" and said[1]["bus"] == "75.0"
    # A class that only some rows have drawn is no zero for the others.
    assert said[1]["car"] == "2.5" and said[0]["car"] not in ("0.0", "2.5")


@pytest.mark.parametrize(
    ("method", "shot", "kshot", "expected"),
    [
        ("crnet", 1, "fusion", "crnet"),
        ("crnet", 5, "fusion", "crnet, fusion"),
        ("crnet_step2", 5, "finetune", "crnet_step2, finetune"),
        ("crnet", 1, "finetune", "crnet, finetune"),  # on views of the one support
        ("prototype", 5, "finetune", "prototype"),
    ],
)
def test_the_table_says_which_method_used_the_supports(method, shot, kshot, expected):
    rows = results.rows({0: {method: {6: areas(1, 2)}}}, ABOUT | {"shot": shot, "kshot": kshot})
    last = results.table(rows, NAMES).splitlines()[-1]
    assert cells(last)[:2] == [expected, str(shot)]


def test_other_thresholds_are_rows_but_not_of_the_table():
    totals = {method: {6: areas(1, 2)} for method in ("crnet", "crnet_above0.1")}
    rows = results.rows({0: totals}, ABOUT)
    assert [row["method"] for row in rows] == ["crnet", "crnet_above0.1"]
    assert "above" not in results.table(rows, NAMES)


def test_what_is_written_can_be_read_again(tmp_path):
    evaluation = {"rows": rows_of({6: areas(1, 2)}, {6: areas(1, 4)}), "class_names": NAMES}
    episodes = [{"query": "ä", "iou": 0.5}, {"query": "b", "iou": 1.0}]
    results.write(tmp_path, evaluation, episodes)
    names = {"evaluation.json", "scores.md", "episodes.jsonl"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert [
        json.loads(x) for x in (tmp_path / "episodes.jsonl").read_text().splitlines()
    ] == episodes
    read = json.loads((tmp_path / "evaluation.json").read_text())
    assert read["rows"][0]["class_iou"] == {"6": 0.375} and read["class_names"] == NAMES
    text = (tmp_path / "scores.md").read_text(encoding="utf-8")
    assert text == results.text(evaluation) + "\n"
    assert text.startswith(results.table(evaluation["rows"], NAMES))


def test_the_table_is_followed_by_what_departs_from_each_protocol():
    rows = [
        row
        for protocol, deviations in (
            ("crnet", ["way 2"]), ("crnet", ["way 2", "seed 9"]), ("hsnet", []),
        )
        for row in rows_of({6: areas(1, 2)}, protocol=protocol, deviations=deviations)
    ]  # fmt: skip
    said = results.text({"rows": rows, "class_names": NAMES}).split("\n\n")[1].splitlines()
    count = ABOUT["episodes"]
    assert said[0] == f"crnet: {count} episodes a seed; way 2; seed 9."
    assert said[1] == f"hsnet: {count} episodes a seed; followed."
