"""TF Serving's protocol over HTTP: JSON, files as base64."""

import base64
import dataclasses
import json
import urllib.parse

import numpy as np
import requests

from export.client.errors import TOO_LARGE, RemoteError
from export.client.target import Description, Target, VersionState

CODES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: TOO_LARGE,
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",  # said by a proxy before the server
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
CONNECTIONS = 32  # kept open for threads that ask at the same time


class Rest:
    """One pool of connections, for any number of threads.

    Args:
        address: http://host:port or https://host, without a path.
        max_bytes: the largest request.

    A time-out is for each silence of the server: an answer that trickles in may take longer.
    """

    def __init__(self, address: str, max_bytes: int):
        self.address, self.max_bytes = address.rstrip("/"), max_bytes
        self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def close(self) -> None:
        """Ends the connections."""
        self._session.close()

    def predict(self, target: Target, signature: str, inputs: dict, timeout: float) -> dict:
        """Outputs by name: arrays, or arrays of bytes."""
        body = {
            "signature_name": signature,
            "inputs": {name: to_json(value) for name, value in inputs.items()},
        }
        return self._ask("POST", target, ":predict", timeout, _outputs, body)

    def status(self, target: Target, timeout: float) -> list[VersionState]:
        """Of every version, or of the target's; labels are none of a status's business."""
        target = dataclasses.replace(target, label=None)
        return self._ask("GET", target, "", timeout, _states)

    def describe(self, target: Target, timeout: float) -> Description:
        """The version that answers for a target, and its signatures."""
        return self._ask("GET", target, "/metadata", timeout, _description)

    def _ask(self, method, target, end, timeout, read, body=None):
        name = f"{self.address}, {target}"
        data = None if body is None else json.dumps(body).encode()
        if data and len(data) > self.max_bytes:
            detail = f"a request of {len(data)} bytes, of at most {self.max_bytes}"
            raise RemoteError(TOO_LARGE, detail, name)
        url, headers = self._url(target) + end, {"Content-Type": "application/json"}
        try:
            answer = self._session.request(
                method, url, data=data, headers=headers, timeout=timeout
            )
        except requests.Timeout as error:
            raise RemoteError("DEADLINE_EXCEEDED", str(error), name) from error
        except requests.RequestException as error:  # refused, or broken off
            raise RemoteError("UNAVAILABLE", str(error), name) from error
        if answer.status_code != 200:
            code = CODES.get(answer.status_code, f"HTTP {answer.status_code}")
            raise RemoteError(code, _said(answer), name)
        try:
            return read(answer.json())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            detail = f"an answer that is not TF Serving's ({error!r})"
            raise RemoteError("INTERNAL", detail, name) from error

    def _url(self, target):
        url = f"{self.address}/v1/models/{_quoted(target.model)}"
        if target.version is not None:
            return f"{url}/versions/{target.version}"
        return f"{url}/labels/{_quoted(target.label)}" if target.label else url


def _outputs(found):
    outputs = found["outputs"]
    if not isinstance(outputs, dict):  # of a single output, the name is left out
        outputs = {"": outputs}
    return {name: from_json(value) for name, value in outputs.items()}


def _states(found):
    return [
        VersionState(
            int(one["version"]), one["state"], one.get("status", {}).get("error_message", "")
        )
        for one in found["model_version_status"]
    ]


def _description(found):
    inputs = {
        name: sorted(one.get("inputs", {}))
        for name, one in found["metadata"]["signature_def"]["signature_def"].items()
    }
    return Description(int(found["model_spec"]["version"]), inputs)


def _quoted(name):
    return urllib.parse.quote(name, safe="")


def _said(answer):
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]


def to_json(value):
    """Arrays as nested lists, files in base64."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    value = np.asarray(value)
    return [to_json(one) for one in value] if value.dtype == object else value.tolist()


def from_json(value) -> np.ndarray:
    """The array that `to_json` wrote; of objects, where it holds files."""
    decoded = _decoded(value)
    array = np.array(decoded)
    # NumPy's own strings of bytes lose zeros at their end.
    return np.array(decoded, object) if array.dtype.kind == "S" else array


def _decoded(value):
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    return [_decoded(one) for one in value] if isinstance(value, list) else value
