"""How much the local server takes on; each field is a flag."""

import dataclasses

from crnet_tf import fields
from crnet_tf.fields import field

# `fields.define_flags` needs types to be classes: no `from __future__ import annotations`.


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    Raises:
        ValueError: a value below its minimum (expected, received).
    """

    max_batch: int = field(8, "Most queries of several requests in one call.", minimum=1)
    batch_wait_ms: float = field(5.0, "Longest wait for companions in a call, ms.", minimum=0)
    workers: int = field(2, "Calls of TensorFlow at the same time.", minimum=1)
    queue: int = field(32, "Most requests received, waiting or running; then 503.", minimum=1)
    max_request_mb: float = field(32.0, "Largest body of a request, MiB; then 413.", minimum=0)
    max_values: int = field(
        2**23, "Most numbers, strings and brackets in a body; then 413.", minimum=1
    )
    body_timeout_s: float = field(30.0, "Longest wait for a body, s; then 408.", minimum=0)
    timeout_s: float = field(120.0, "Longest wait for an answer, s; then 504.", minimum=0)
    poll_s: float = field(2.0, "Seconds between looks for new versions.", minimum=0)

    def __post_init__(self):
        fields.check(self)

    @property
    def max_request_bytes(self) -> int:
        """`max_request_mb` in bytes."""
        return int(self.max_request_mb * 2**20)
