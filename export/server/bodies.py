"""The body of a request, received within the server's bounds, or refused."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from export.server.limits import Limits

TOGETHER = 8  # times the largest body: memory for all that are being received or wait
RETRY = {"Retry-After": "1"}


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
    except TimeoutError:
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
