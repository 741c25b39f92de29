"""The paper's tables as data: its values, and rows that ask for what they say."""

import re

import pytest

from crnet_tf import config
from crnet_tf.paper.runs import structure
from crnet_tf.paper.tables import TABLES, network_name

OWN = [(table, row) for table in TABLES.values() for row in table.own_rows()]


def values(number):
    """The values of the rows that can be run, as printed: "-" for one that is not there."""
    return [
        " ".join("-" if value is None else f"{value:.1f}" for value in row.paper)
        for row in TABLES[number].own_rows()
    ]


def printed_table(text, caption):
    """Cells of the Markdown table above (or below) a caption of the paper's text."""
    above = text[: text.index(caption)].rstrip().splitlines()
    lines = []
    while above and above[-1].startswith("|"):
        lines.insert(0, above.pop())
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_ablations_have_the_papers_values():
    assert values(2) == ["36.3", "43.3", "49.1"]
    assert values(3) == ["49.1", "50.3", "53.4", "55.2"]
    assert values(4) == ["49.1 50.2 49.9", "- 57.5 59.1", "- 57.6 58.8"]
    assert values(7) == ["43.3 44.0", "38.5 42.7", "44.9 45.6", "45.8 47.2"]


def test_the_comparisons_have_the_papers_values():
    assert values(5) == ["55.2 66.4", "55.7 66.8"]
    assert values(6) == ["58.5 71.0", "58.8 71.5"]
    published = {row.labels[0]: row.paper for row in TABLES[6].rows if row.network is None}
    assert published["PGNet (published)"] == (58.5, 70.5)
    assert published["A-MCG (published)"] == (None, 62.2)


@pytest.mark.shared
@pytest.mark.parametrize("number", TABLES)
def test_every_value_is_the_one_printed(number, shared):
    text = (shared / "paper" / "crnet_cvpr2020.txt").read_text(encoding="utf-8")
    table = TABLES[number]
    printed = printed_table(text, f"\nTable {number}. ")
    assert len(printed) == len(table.rows)
    for cells, row in zip(printed, table.rows, strict=True):
        numbers = [re.sub(r"\*|<b>|</b>", "", cell) for cell in cells[-len(row.paper) :]]
        ours = [str(value) if value is not None else None for value in row.paper]
        assert [n if re.fullmatch(r"[\d.]+", n) else None for n in numbers] == ours
        labels = [re.sub(r"\s*\[.*", "", cell) for cell in cells[: -len(row.paper)]]
        plain = [label.removesuffix(" (published)").replace("-", "") for label in row.labels]
        assert [label.replace("-", "") for label in labels] == plain


@pytest.mark.parametrize("table, row", OWN, ids=lambda value: getattr(value, "name", None))
def test_check_marks_say_what_the_network_has(table, row):
    fields = structure(row.network)
    config.Config(**fields)  # a network that can be built
    marks = dict(zip(table.labels, row.labels, strict=True))
    headings = {
        "Condition": "condition",
        "Cross-Reference Module": "cross_reference",
        "Mask Refine": "mask_refinement",
        "Mask-Refine": "mask_refinement",
        "Multi-Level": "multi_level",
    }
    for heading, field in headings.items():
        if heading in marks:
            assert fields[field] == (marks[heading] == "✓"), heading
    if "Multi-Scale" in marks:
        assert ("," in row.test_scales) == (marks["Multi-Scale"] == "✓")
    if "Backbone" in marks:
        assert fields["backbone"] == marks["Backbone"].lower().replace("-", "")


def test_every_table_is_of_one_shape():
    for table in TABLES.values():
        assert len({row.name for row in table.rows}) == len(table.rows)
        for row in table.rows:
            assert len(row.labels) == len(table.labels)
            assert len(row.paper) == len(table.columns)


def test_the_baseline_is_one_network_in_three_tables():
    rows = {(table.number, row.name): row for table, row in OWN}
    baseline = rows[3, "baseline"]
    for other in ((2, "both"), (3, "multi-scale"), (4, "fusion"), (4, "finetune+fusion")):
        assert rows[other].network == baseline.network
    assert rows[2, "both"].paper == baseline.paper == rows[4, "fusion"].paper[:1]
    assert rows[2, "both"].evaluation(1) == baseline.evaluation(1)
    assert rows[3, "multi-scale"].evaluation(1) != baseline.evaluation(1)
    assert rows[5, "crnet-resnet50"].network == rows[3, "multi-level"].network == ()


def test_different_networks_have_different_names():
    networks = {row.network for _, row in OWN}
    assert len({network_name(network) for network in networks}) == len(networks) == 6
    assert network_name(("--nob", "--noa")) == network_name(("--noa", "--nob"))


def test_one_support_needs_no_way_to_use_several():
    for _, row in OWN:
        assert not any("kshot" in flag for flag in row.evaluation(1))
        assert f"--kshot={row.kshot}" in row.evaluation(5)
