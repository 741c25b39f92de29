"""A hook of MkDocs: writes tables of flags where a page says `<!-- flags of FILE CLASS -->`."""

import dataclasses
import importlib
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[1]
PLACE = re.compile(r"<!-- flags of (\S+)\.py (\w+) -->")


def on_page_markdown(markdown, **_):
    return PLACE.sub(lambda found: table(*found.groups()), markdown)


def table(file: str, name: str) -> str:
    """Markdown: the fields of a dataclass that are flags, by topic."""
    sys.path.insert(0, str(ROOT))
    try:
        kind = getattr(importlib.import_module(file.replace("/", ".")), name)
    finally:
        sys.path.remove(str(ROOT))
    lines = []
    for entry in dataclasses.fields(kind):
        if topic := entry.metadata["topic"]:
            lines += [f"\n### {topic}\n", "| flag | default | what it does |", "|---|---|---|"]
        if entry.metadata["flag"]:
            said = entry.metadata["help"].replace("|", "\\|")
            lines.append(f"| `--{entry.name}` | `{entry.default!r}` | {said} |")
    return "\n".join(lines)
