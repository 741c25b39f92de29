"""How often property-based tests ask: few cases, always the same, but for FUZZ_TIMES=10, which
asks ten times as often, each time something else."""

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("FUZZ_TIMES", 1))


def cases(count: int) -> settings:
    """A decorator: so many cases, each of which may take long."""
    return settings(
        max_examples=count * TIMES,
        derandomize=TIMES == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
