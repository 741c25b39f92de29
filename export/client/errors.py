"""What a server refuses, in one kind of error; and what may be asked again."""

import random
import time
from collections.abc import Callable

from crnet_tf.common.errors import UserError

TOO_LARGE = "MESSAGE_TOO_LARGE"  # gRPC calls it RESOURCE_EXHAUSTED, HTTP 413
RETRIED = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0  # seconds

REMEDIES = {
    "NOT_FOUND": "Ask for its --status: the model, version or label may be another one.",
    "UNAVAILABLE": "Is the server running, has it loaded the model, is the address right?",
    "RESOURCE_EXHAUSTED": "The server is at its limit: lower --concurrency, or ask later.",
    "DEADLINE_EXCEEDED": "Raise --deadline, or lower --concurrency.",
    "INVALID_ARGUMENT": "Correct the request.",
    "FAILED_PRECONDITION": "The model is not made for this request; see its --metadata.",
    TOO_LARGE: "Shrink the photo, or raise --max_megabytes here and the limit of the server.",
}


class RemoteError(UserError, RuntimeError):
    """A server that refused a request, or did not answer.

    Attributes:
        code: gRPC's name of the status, also where it came over REST; or `TOO_LARGE`.
        detail: what the server said.
    """

    def __init__(self, code: str, detail: str, target: str):
        self.code, self.detail = code, detail
        remedy = REMEDIES.get(code, "See the log of the server.")
        if code == "UNAVAILABLE" and "HTTP/2" in detail:  # gRPC's word on a REST port
            remedy = "That port speaks no gRPC: is it REST's? Give --server=http://HOST:PORT."
        said = detail.rstrip(". ")
        super().__init__(f"{target}: expected an answer, received {code}: {said}. {remedy}")


def retrying(ask: Callable[[float], object], deadline: float, attempts: int):
    """`ask(seconds left)`, again after a wait while its error is one of `RETRIED`.

    The wait doubles each time and is drawn between its half and its whole, so that many
    clients do not come back at once. Asking is safe: a model remembers nothing.

    Args:
        deadline: seconds for all attempts and waits together.
        attempts: 1 or more; the error of the last one is raised.
    """
    end, wait = time.monotonic() + deadline, FIRST_WAIT
    for left in reversed(range(attempts)):
        try:
            return ask(max(end - time.monotonic(), 0.001))
        except RemoteError as error:
            pause = wait * random.uniform(0.5, 1)
            in_time = time.monotonic() + pause < end
            if error.code not in RETRIED or not left or not in_time:
                raise
        time.sleep(pause)
        wait = min(2 * wait, LONGEST_WAIT)
