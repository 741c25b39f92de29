"""Markdown tables: a head, a rule, a line a row."""

from crnet_tf.common.tables import markdown


def test_text_stands_left_and_numbers_right():
    assert markdown(["name", "k", "IoU"], [["a", 1, "4.0"], ["b", 5, "5.0"]], left=1) == (
        "| name | k | IoU |\n|---|--:|--:|\n| a | 1 | 4.0 |\n| b | 5 | 5.0 |"
    )


def test_a_table_of_nothing_has_its_head():
    assert markdown(["a", "b"], [], left=2) == "| a | b |\n|---|---|"
