"""A server that speaks TF Serving's protocol, asked within a deadline and with retries."""

import json
from collections.abc import Callable

from export.client.errors import RemoteError, retrying
from export.client.over_grpc import Grpc
from export.client.over_rest import Rest
from export.client.target import Description, Target, VersionState

MEBIBYTE = 2**20


class Server:
    """A connection for any number of threads; a context, or to be closed with `close`.

    Args:
        address: host:port for gRPC, http://host:port or https://host for REST.
        deadline: seconds for an answer, all attempts together.
        attempts: how often an overloaded or absent server is asked.
        max_megabytes: the largest request (and over gRPC, answer), MiB.

    All methods raise RemoteError when the server refuses or does not answer.
    """

    def __init__(
        self, address: str, deadline: float = 60, attempts: int = 5, max_megabytes: int = 64
    ):
        self.address, self.deadline, self.attempts = address, deadline, attempts
        transport = Rest if address.startswith(("http://", "https://")) else Grpc
        self._transport = transport(address, max_megabytes * MEBIBYTE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def predict(self, target: Target, signature: str, inputs: dict) -> dict:
        """Outputs by name, for inputs by name: arrays, of bytes where they are files."""
        return self._ask(self._transport.predict, target, signature, inputs)

    def status(self, target: Target) -> list[VersionState]:
        """Of every version the server knows, or of the target's."""
        return self._ask(self._transport.status, target)

    def describe(self, target: Target) -> Description:
        """The version that answers for a target, and its signatures."""
        return self._ask(self._transport.describe, target)

    def metadata(self, target: Target) -> dict:
        """What the model says of itself (`export.package.metadata`); {} where it cannot.

        A TF Serving that batches the model's requests refuses one without inputs.
        """
        try:
            (text,) = self.predict(target, "metadata", {}).values()
        except RemoteError as error:
            if error.code not in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"):
                raise
            return {}
        text = text.item()
        return json.loads(text.decode() if isinstance(text, bytes) else text)

    def _ask(self, method: Callable, *arguments):
        return retrying(lambda left: method(*arguments, left), self.deadline, self.attempts)
