"""How far long work is, for whoever watches it; to stderr.

A bar on a terminal; a line every tenth in a log file, which control characters would fill.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_WIDTH = 30
_PAUSE = 0.2  # s between two looks of a bar


class Progress:
    """Of work that is done bit by bit; as a context, its line is ended.

    Args:
        title: what is done, such as "episodes".
        total: how many there are, None where nobody knows.
        done: how many were there before.
        text: how a number is written, such as `megabytes`; of things that are counted, the
            line says how many a second.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        done: int = 0,
        text: Callable[[float], str] | None = None,
    ):
        self._title, self._total, self._done = title, total, done
        self._counts, self._text = text is None, text or "{:.0f}".format
        self._before, self._start = done, time.monotonic()
        self._live, self._drawn = sys.stderr.isatty(), 0.0

    def add(self, count: int = 1) -> None:
        """`count` more are done."""
        tenth = self._tenth()
        self._done += count
        waited = time.monotonic() - self._drawn > _PAUSE
        if self._tenth() > tenth or self._done == self._total or (self._live and waited):
            self._draw("\n" if self._done == self._total or not self._live else "")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._done != self._total:
            self._draw("\n")

    def _tenth(self):
        return self._done * 10 // self._total if self._total else 0

    def _draw(self, end):
        self._drawn = time.monotonic()
        line = f"\r{self._line():<79}" if self._live else self._line()
        print(line, end=end, file=sys.stderr, flush=True)

    def _line(self):
        seconds = time.monotonic() - self._start
        if not self._total:
            return f"{self._title} {self._text(self._done)} {seconds:.0f} s"
        bar = "=" * (self._done * _WIDTH // self._total)
        line = f"{self._title} [{bar:<{_WIDTH}}] {self._text(self._done)}/"
        line += f"{self._text(self._total)} {seconds:.0f} s"
        if self._before < self._done < self._total:
            left = seconds / (self._done - self._before) * (self._total - self._done)
            line += f", {left:.0f} s left"
        if self._counts and seconds:
            line += f", {(self._done - self._before) / seconds:.2f} a second"
        return line


def with_progress(items: Iterable[Any], title: str, count: int | None = None) -> Iterator[Any]:
    """Passes items on and counts those that are done.

    Args:
        title: as of `Progress`.
        count: how many, where `items` has no length; None where nobody knows.
    """
    if count is None and hasattr(items, "__len__"):
        count = len(items)
    with Progress(title, count) as progress:
        for item in items:
            yield item
            progress.add()


def megabytes(count: float) -> str:
    """A number of bytes for a human: "1,999.6 MB"."""
    return f"{count / 1e6:,.1f} MB"
