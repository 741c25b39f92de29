"""How far long work is, for whoever watches it; to stderr.

A bar on a terminal; a line every tenth in a log file, which control characters would fill.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

_WIDTH = 30


def with_progress(items: Iterable[Any], title: str, count: int | None = None) -> Iterator[Any]:
    """Passes items on and counts those that are done.

    Args:
        title: what they are, such as "episodes".
        count: how many, where `items` has no length.
    """
    total = len(items) if count is None else count
    start, live = time.monotonic(), sys.stderr.isatty()
    for done, item in enumerate(items, 1):
        yield item
        if done == total or live or done * 10 // total > (done - 1) * 10 // total:
            line = _line(title, done, total, time.monotonic() - start)
            end = "\n" if done == total or not live else ""
            print(f"\r{line:<79}" if live else line, end=end, file=sys.stderr, flush=True)


def _line(title, done, total, seconds):
    bar = "=" * (done * _WIDTH // total)
    line = f"{title} [{bar:<{_WIDTH}}] {done}/{total} {seconds:.0f} s"
    if done < total:
        line += f", {seconds / done * (total - done):.0f} s left"
    return line
