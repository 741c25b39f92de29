"""Tables in Markdown and CSV."""

import csv
import io
from collections.abc import Iterable, Sequence


def markdown(head: Sequence[str], rows: Iterable[Sequence], left: int = 1) -> str:
    """A table whose first `left` columns are text; the others, numbers, stand at the right."""
    rule = "|" + "---|" * left + "--:|" * (len(head) - left)
    first, *lines = ["| " + " | ".join(map(str, cells)) + " |" for cells in [head, *rows]]
    return "\n".join([first, rule, *lines])


def comma_separated(rows: Iterable[Sequence]) -> str:
    """Rows as CSV, each ended by a line feed."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
