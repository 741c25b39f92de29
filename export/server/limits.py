"""How much the local server takes on: bounds, each a flag, and bodies received within them."""

import asyncio
import dataclasses
import math

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from crnet_tf.common import fields
from crnet_tf.common.fields import field

TOGETHER = 8  # times the largest body: memory for all that are being received or wait
RETRY = {"Retry-After": "1"}

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

    max_batch: int = field(8, "Most queries of several requests in one call.", minimum=1)
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


class Admission:
    """Counts requests and the bytes of their bodies; too many are refused with 503."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.requests = self.bytes = 0

    def enter(self) -> None:
        """Lets a request in, until `leave`."""
        if self.requests >= self.limits.queue:
            raise busy(f"{self.requests} requests wait already.")
        self.requests += 1

    def leave(self, held: int) -> None:
        """A request is answered; `held` bytes of its body are forgotten."""
        self.requests -= 1
        self.bytes -= held

    def hold(self, count: int) -> None:
        """Bytes more of a body."""
        if self.bytes + count > TOGETHER * self.limits.max_request_bytes:
            raise busy("other requests fill the memory.")
        self.bytes += count


def busy(why: str) -> HTTPException:
    """Refusal of what the server cannot take on now."""
    return HTTPException(503, f"The server is busy: {why} Try again.", RETRY)


async def receive(request: Request, admission: Admission, body: bytearray) -> None:
    """Appends the whole body to `body`; what was appended is held in `admission`.

    Raises:
        HTTPException: 413 too large, as soon as that is known; 408 too slow; 415 compressed;
            400 broken off; 503 no memory.
    """
    limits = admission.limits
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "Expected a body without Content-Encoding.")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.max_request_bytes:
        raise _too_large(limits)
    try:
        await asyncio.wait_for(_append(request, admission, body), limits.body_timeout_s)
    except asyncio.TimeoutError:
        seconds = f"{limits.body_timeout_s:g} s"
        raise HTTPException(408, f"Expected the whole body within {seconds}.") from None
    except ClientDisconnect:
        raise HTTPException(400, "The body broke off.") from None


async def _append(request, admission, body):
    async for chunk in request.stream():
        if len(body) + len(chunk) > admission.limits.max_request_bytes:
            raise _too_large(admission.limits)
        admission.hold(len(chunk))
        body += chunk


def _too_large(limits):
    return HTTPException(
        413,
        f"Expected a body of at most {limits.max_request_mb:g} MiB. Shrink the photos, send "
        "fewer at once, or start the server with a larger --max_request_mb.",
    )
