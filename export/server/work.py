"""Requests with JSON bodies that threads of their own answer, within the server's bounds."""

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from starlette.exceptions import HTTPException
from starlette.requests import Request

from crnet_tf.common.errors import BlockedError, InputError
from export.server import tensors
from export.server.bodies import Admission, receive
from export.server.predicting import CODES, readable

THREADS = 2


class Work:
    """The threads; bodies count among those of predictions."""

    def __init__(self, admission: Admission):
        self.admission = admission
        self._threads = concurrent.futures.ThreadPoolExecutor(THREADS, "work")

    def close(self) -> None:
        """Waits for what runs."""
        self._threads.shutdown()

    async def answer(self, request: Request, work: Callable[[dict], Any]) -> Any:
        """What `work` makes of the JSON object in the body.

        Raises:
            HTTPException: 400 for an InputError, 501 for a BlockedError, that of a graph's
                error, and those of `bodies.receive`.
        """
        self.admission.enter()
        body = bytearray()
        try:
            await receive(request, self.admission, body)
            in_thread = asyncio.get_running_loop().run_in_executor
            return await in_thread(self._threads, self._worked, work, bytes(body))
        except tensors.TooLarge as error:
            raise HTTPException(413, str(error)) from None
        except InputError as error:
            raise HTTPException(400, str(error)) from None
        except BlockedError as error:
            raise HTTPException(501, str(error)) from None
        except tf.errors.OpError as error:
            code = CODES.get(error.error_code, 500)
            raise HTTPException(code, readable(error.message)) from None
        finally:
            self.admission.leave(len(body))

    def _worked(self, work, body):
        return work(tensors.read(body, self.admission.limits.max_values))
