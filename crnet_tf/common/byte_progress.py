"""How far a transfer is, for whoever watches it; to stderr.

A bar on a terminal, a line every tenth elsewhere.
"""

import sys
import time


class ByteProgress:
    """Of a transfer.

    Args:
        title: what is moved.
        total: bytes it has, None where nobody knows.
        done: bytes that are there already.
    """

    def __init__(self, title: str, total: int | None, done: int = 0):
        self._title, self._total, self._done = title, total, done
        self._first, self._start = done, time.monotonic()
        self._live, self._shown = sys.stderr.isatty(), None
        if done:
            self._print("\n")

    def add(self, count: int) -> None:
        """`count` more bytes are done."""
        self._done += count
        seconds = time.monotonic() - self._start
        step = (
            int(seconds * 5) if self._live else self._done * 10 // (self._total or sys.maxsize)
        )
        if step != self._shown:
            self._shown = step
            self._print("" if self._live else "\n")

    def close(self) -> None:
        """Ends the line."""
        self._print("\n")

    def _print(self, end):
        seconds = max(time.monotonic() - self._start, 1e-3)
        rate = (self._done - self._first) / seconds
        line = f"{self._title} {megabytes(self._done)}"
        if self._total:
            bar = "=" * (self._done * 30 // self._total)
            line = f"{self._title} [{bar:<30}] {megabytes(self._done)} of "
            line += f"{megabytes(self._total)}"
            if rate and self._done < self._total:
                line += f", {(self._total - self._done) / rate:.0f} s left"
        line += f" ({megabytes(rate)}/s)"
        print(f"\r{line:<90}" if self._live else line, end=end, file=sys.stderr, flush=True)


def megabytes(count: float) -> str:
    """A number of bytes for a human: "1,999.6 MB"."""
    return f"{count / 1e6:,.1f} MB"
