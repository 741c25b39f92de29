"""How much the local server takes on: bounds, each a flag."""

import dataclasses
import math

from crnet_tf.common import fields
from crnet_tf.common.fields import field

# `fields.define_flags` needs types to be classes: no `from __future__ import annotations`.


def _number(default, help):
    """A field from 0 on, but not infinite: what the server counts in seconds and bytes."""
    return field(default, help, minimum=0, below=math.inf)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    Raises:
        ValueError: a value out of its range (expected, received).
    """

    max_batch: int = field(
        8, "Most queries of several requests in one call.", minimum=1, topic="Limits"
    )
    batch_wait_ms: float = _number(5.0, "Longest wait for companions in a call, ms.")
    workers: int = field(2, "Calls of TensorFlow at the same time.", minimum=1)
    queue: int = field(32, "Most requests received, waiting or running; then 503.", minimum=1)
    max_request_mb: float = _number(32.0, "Largest body of a request, MiB; then 413.")
    max_values: int = field(
        2**23, "Most numbers, strings and brackets in a body; then 413.", minimum=1
    )
    body_timeout_s: float = _number(30.0, "Longest wait for a body, s; then 408.")
    timeout_s: float = _number(120.0, "Longest wait for an answer, s; then 504.")
    poll_s: float = _number(2.0, "Seconds between looks for new versions.")

    def __post_init__(self):
        fields.check(self)

    @property
    def max_request_bytes(self) -> int:
        """`max_request_mb` in bytes."""
        return int(self.max_request_mb * 2**20)
