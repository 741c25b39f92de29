"""Work done side by side: Pillow frees the interpreter while it decodes."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def cores() -> int:
    """Processor cores that this process may use: containers and `taskset` may leave it few."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


THREADS = min(cores(), 8)
_AHEAD = 4 * THREADS  # results that wait in memory


def futures_of(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    threads: int = THREADS,
    ahead: int = _AHEAD,
) -> Iterator[concurrent.futures.Future]:
    """`function(item)` of every item as a future that is done, in order.

    Args:
        threads: 1: one item after the other, beside whoever makes the items.
        ahead: most results that wait in memory.
    """
    waiting = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield _done(waiting.popleft())
        while waiting:
            yield _done(waiting.popleft())


def _done(future):
    concurrent.futures.wait([future])
    return future
