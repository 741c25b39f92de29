"""A request for predictions, from its body to the body of its answer."""

import asyncio
import concurrent.futures
import re
import time

import tensorflow as tf
from absl import logging
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from crnet_tf.common.errors import InputError
from export.server import batching, tensors
from export.server.batching import Batcher
from export.server.bodies import Admission, receive
from export.server.limits import Limits
from export.server.loading import Loaded
from export.server.served import Served
from export.server.telemetry import OTHER, Telemetry

# Codes of TensorFlow's errors as TF Serving answers them; the rest are faults: 500.
CODES = {
    tf.errors.INVALID_ARGUMENT: 400,
    tf.errors.OUT_OF_RANGE: 400,
    tf.errors.RESOURCE_EXHAUSTED: 429,
    tf.errors.UNIMPLEMENTED: 501,
}
PARSERS = 2  # JSON at the same time: each may take some 20 times its body's size


class Predictor:
    """Answers `:predict` of any model."""

    def __init__(self, limits: Limits, models: dict[str, Served], telemetry: Telemetry):
        self.limits, self.models, self.telemetry = limits, models, telemetry
        self.admission = Admission(limits)
        self.parsers = concurrent.futures.ThreadPoolExecutor(PARSERS, "json")
        self.batcher = Batcher(
            limits.max_batch,
            limits.batch_wait_ms / 1000,
            limits.workers,
            self._observe,
            lambda loaded: models[loaded.name].release(loaded),
        )

    def _observe(self, loaded, signature, queries):
        self.telemetry.batch.labels(loaded.name, signature.name).observe(queries)

    def close(self) -> None:
        """Waits for what runs."""
        self.batcher.close()
        self.parsers.shutdown()

    async def answer(self, request: Request, loaded: Loaded) -> Response:
        """The response to a request to `loaded`; errors are exceptions, counted as well.

        Raises:
            HTTPException: with what was expected, what came, and what to do.
        """
        started, asked, code = time.perf_counter(), {"signature": OTHER}, 500
        self.models[loaded.name].hold(loaded)
        try:
            content = await self._bounded(request, loaded, asked)
            code = 200
            return Response(content, media_type="application/json")
        except HTTPException as error:
            code = error.status_code
            raise
        finally:
            self.models[loaded.name].release(loaded)
            labels = loaded.name, asked["signature"]
            self.telemetry.requests.labels(*labels, code).inc()
            self.telemetry.seconds.labels(*labels).observe(time.perf_counter() - started)

    async def _bounded(self, request, loaded, asked):
        self.admission.enter()
        body = bytearray()
        try:
            await receive(request, self.admission, body)
            return await self._predicted(bytes(body), loaded, asked)
        finally:
            self.admission.leave(len(body))

    async def _predicted(self, body, loaded, asked):
        in_thread = asyncio.get_running_loop().run_in_executor
        try:
            call, rows = await in_thread(self.parsers, self._parsed, body, loaded, asked)
        except tensors.TooLarge as error:
            raise HTTPException(413, str(error)) from None
        except InputError as error:
            raise HTTPException(400, str(error)) from None
        except MemoryError:
            raise _no_memory() from None
        outputs = await self._run(call)
        try:
            return await in_thread(self.parsers, tensors.answer, outputs, rows)
        except InputError as error:
            raise HTTPException(400, str(error)) from None

    def _parsed(self, body, loaded, asked):
        request = tensors.read(body, self.limits.max_values)
        name = tensors.signature_of(request)
        signature = loaded.signatures.get(name)
        if signature is None:
            raise InputError(
                f"Expected a signature of {sorted(loaded.signatures)}, received "
                f"{tensors.shown(name)}."
            )
        asked["signature"] = name
        inputs = tensors.arrays(request, signature.inputs)
        return batching.prepared(loaded, signature, inputs), tensors.is_rows(request)

    async def _run(self, call):
        self.models[call.loaded.name].hold(call.loaded)
        future = self.batcher.submit(call)
        try:
            return await asyncio.wait_for(future, self.limits.timeout_s)
        except TimeoutError:
            raise HTTPException(
                504, f"Expected an answer within {self.limits.timeout_s:g} s, received none."
            ) from None
        except tf.errors.OpError as error:
            code = CODES.get(error.error_code, 500)
            if code == 500:
                logging.error("%s: %s", call.loaded.name, error.message)
            raise HTTPException(code, readable(error.message)) from None
        except MemoryError:
            raise _no_memory() from None


def _no_memory():
    return HTTPException(429, "Expected a request that fits the memory. Send a smaller one.")


def readable(message: str) -> str:
    """A graph's error without the graph: the sentence of an assertion, and its values."""
    message = re.sub(r"\{\{.*?\}\}", "", message.partition("\n\t [[")[0])
    message = re.sub(r"\[Op:.*?\]", "", message).strip()
    found = re.search(r"assertion failed: (.*)", message, re.DOTALL)
    if not found:
        return message
    return re.sub(r"\[([^\[\]]*)\]", r"\1", found.group(1)).strip()
