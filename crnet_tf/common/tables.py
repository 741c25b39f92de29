"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown(head: Sequence[str], rows: Iterable[Sequence], left: int = 1) -> str:
    """A table whose first `left` columns are text; the others, numbers, stand at the right."""
    rule = "|" + "---|" * left + "--:|" * (len(head) - left)
    first, *lines = ["| " + " | ".join(map(str, cells)) + " |" for cells in [head, *rows]]
    return "\n".join([first, rule, *lines])
