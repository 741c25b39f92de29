"""Seconds of functions that take turns, so that a busy machine slows all of them alike."""

import statistics
import time
from collections.abc import Callable

import numpy as np


def seconds(function: Callable, *arguments) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def in_turn(
    ways: dict[str, Callable[[], object]],
    rounds: int,
    summary: Callable = statistics.median,
    clock: Callable = time.perf_counter,
) -> dict:
    """What `summary` makes of each way's seconds in so many rounds, after one to warm up."""
    found = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = clock()
            way()
            if number:
                found[name].append(clock() - started)
    return {name: summary(values) for name, values in found.items()}


def wall_and_cpu() -> np.ndarray:
    """A clock of two: seconds, and seconds of work of all threads of this process."""
    return np.array([time.perf_counter(), time.process_time()])
