"""A real server on a loopback port, in a thread of this process, and a tiny model for it."""

import asyncio
import base64
import contextlib
import json
import pathlib
import socket
import threading
import time

import requests
import tensorflow as tf

from export.server import app, starting
from export.server.limits import Limits

QUICK = {"poll_s": 0.02, "batch_wait_ms": 0.0}
PATIENCE = 180  # seconds until a test gives up


class Server:
    """A running server; `session` asks it."""

    def __init__(self, application, limits):
        self.application, self.api = application, application.state.api
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self.url, self.session = f"http://127.0.0.1:{self.port}", requests.Session()
        self.uvicorn = starting.server(application, "127.0.0.1", self.port, limits)
        run = self.uvicorn.serve([listening])
        self.thread = threading.Thread(target=lambda: asyncio.run(run), daemon=True)
        self.thread.start()

    def get(self, path, **arguments):
        return self.session.get(self.url + path, timeout=PATIENCE, **arguments)

    def predict(self, body, model="sum", **arguments):
        body = body if isinstance(body, str | bytes) else json.dumps(body)
        url = f"{self.url}/v1/models/{model}:predict"
        return self.session.post(url, body, timeout=PATIENCE, **arguments)

    def outputs(self, signature, inputs, model="crnet"):
        answer = self.predict({"signature_name": signature, "inputs": inputs}, model)
        assert answer.status_code == 200, answer.text
        return answer.json()["outputs"]

    def stop(self):
        self.uvicorn.should_exit = True
        self.thread.join(PATIENCE)
        self.session.close()
        assert not self.thread.is_alive()


@contextlib.contextmanager
def serving(models, hosts=(), ready=True, label_studio=None, **limits):
    """A server of `models` (`Served`) until the block ends."""
    limits = Limits(**{**QUICK, **limits})
    server = Server(app.build(models, limits, hosts, label_studio), limits)
    try:
        until(lambda: server.get("/readyz").ok or not ready)
        yield server
    finally:
        server.stop()


def until(condition):
    """Waits for what another thread brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def b64(content: bytes) -> dict:
    """Bytes in TF Serving's JSON."""
    return {"b64": base64.b64encode(content).decode()}


def write_sums(folder: pathlib.Path, version: int) -> pathlib.Path:
    """A SavedModel of few operations, of types that our exports do not have."""

    class Sums(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2]), tf.TensorSpec([None, 2])])
        def sums(self, x, y):
            return {"sum": x + y, "version": tf.fill([tf.shape(x)[0]], version)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
        def echo(self, text):
            return {"echo": text, "echo_bytes": text}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.bool, "flag")])
        def negate(self, flag):
            return {"negated": ~flag}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "n")])
        def total(self, n):
            return {"total": tf.reduce_sum(n)}

    model = Sums()
    names = {"serving_default": "sums", "echo": "echo", "negate": "negate", "total": "total"}
    signatures = {key: getattr(model, name) for key, name in names.items()}
    work = folder / f".{version}"
    tf.saved_model.save(model, str(work), signatures)
    return work.rename(folder / str(version))
