"""Concurrent requests -> few calls of TensorFlow: bounded threads, queries that go together.

Requests may share a call when nothing but their queries differs: the same version and
signature, the same supports or state to the byte, queries of one shape (files have none).
Queries are then joined along their first axis, and answers taken apart. Only for models that
are known to answer each query by itself: our exports. Never along the supports' axis: those of
a request give one answer.
"""

import asyncio
import concurrent.futures
import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np

from export.server.loading import Loaded
from export.server.tensors import Signature

QUERIES = ("query_image", "query_image_bytes", "image", "image_bytes")


@dataclasses.dataclass(eq=False)
class Call:
    """What one request asks.

    Attributes:
        query: name of the input that is joined; "" where none may be.
        supports: equal where all other inputs are.
    """

    loaded: Loaded
    signature: Signature
    inputs: dict[str, np.ndarray]
    query: str = ""
    supports: tuple = ()
    future: asyncio.Future | None = None

    @property
    def size(self) -> int:
        """Number of queries; 1 where it is not known."""
        return len(self.inputs[self.query]) if self.query else 1

    @property
    def companions(self) -> tuple | None:
        """What is equal in requests that may share a call; None: none may."""
        if not self.query:
            return None
        shape = self.inputs[self.query].shape[1:]
        return id(self.loaded), self.signature.name, shape, self.supports

    def answer(self, **queries: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs, for other queries than its own where they are given."""
        inputs = self.inputs | queries
        if not self.query:
            return self.signature.call(inputs)
        return self.loaded.states.answer(self.signature, inputs, self.supports)


def prepared(loaded: Loaded, signature: Signature, inputs: dict[str, np.ndarray]) -> Call:
    """A call that knows its companions. Reads all bytes of the supports."""
    names = [name for name in inputs if name in QUERIES]
    if not loaded.separates_queries or len(names) != 1:
        return Call(loaded, signature, inputs)
    query = names[0]
    supports = tuple(_digest(inputs[name]) for name in sorted(inputs) if name != query)
    return Call(loaded, signature, inputs, query, supports)


def _digest(array):
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    if array.dtype != object:
        digest.update(np.ascontiguousarray(array).data)
    else:
        for content in array.flat:
            digest.update(b"%d:" % len(content) + content)
    return digest.digest()


class Batcher:
    """Runs calls in threads, the oldest first, companions together.

    Args:
        max_batch: most queries that are joined. wait_s: longest wait for companions; calls
            that wait for a thread anyway gather more.
        observe: told the version, signature and number of queries of every call made.
        release: told the version of each request that needs it no more.
    """

    def __init__(
        self,
        max_batch: int,
        wait_s: float,
        workers: int,
        observe: Callable[[Loaded, Signature, int], None],
        release: Callable[[Loaded], None],
    ):
        self._max_batch, self._wait_s = max_batch, wait_s
        self._threads = concurrent.futures.ThreadPoolExecutor(workers, "tensorflow")
        self._free = workers
        self._groups: list[_Group] = []
        self._observe, self._release = observe, release
        self.running = 0

    @property
    def waiting(self) -> int:
        """Requests that no thread has taken up."""
        return sum(len(group.calls) for group in self._groups)

    def submit(self, call: Call) -> asyncio.Future:
        """The answer to come. Cancelled while it waits, a call is not made."""
        loop = asyncio.get_running_loop()
        call.future = loop.create_future()
        group = self._open_group(call)
        if group is None:
            group = _Group([])
            self._groups.append(group)
            if call.companions is not None:
                loop.call_later(self._wait_s, self._ripen, group)
        group.calls.append(call)
        if call.companions is None or group.size >= self._max_batch:
            group.ripe = True
        self._dispatch()
        return call.future

    def _open_group(self, call):
        if call.companions is None:
            return None
        for group in self._groups:
            fits = group.size + call.size <= self._max_batch
            if fits and group.calls[0].companions == call.companions:
                return group
        return None

    def _ripen(self, group):
        group.ripe = True
        self._dispatch()

    def _dispatch(self):
        for group in [group for group in self._groups if group.ripe]:
            if not self._free:
                break
            self._groups.remove(group)
            self._start(group)

    def _start(self, group):
        calls = [call for call in group.calls if not call.future.cancelled()]
        for call in group.calls:
            if call not in calls:
                self._release(call.loaded)
        if not calls:
            return
        self._free -= 1
        self.running += len(calls)
        self._observe(calls[0].loaded, calls[0].signature, sum(call.size for call in calls))
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, answered, calls)
        work.add_done_callback(lambda done: self._finish(calls, done))

    def _finish(self, calls, done):
        self._free += 1
        self.running -= len(calls)
        for call, outcome in zip(calls, done.result(), strict=True):
            self._release(call.loaded)
            if call.future.cancelled():
                continue
            if isinstance(outcome, Exception):
                call.future.set_exception(outcome)
            else:
                call.future.set_result(outcome)
        self._dispatch()

    def close(self) -> None:
        """Waits for the threads."""
        self._threads.shutdown()


@dataclasses.dataclass(eq=False)
class _Group:
    calls: list[Call]
    ripe: bool = False

    @property
    def size(self):
        return sum(call.size for call in self.calls)


def answered(calls: list[Call]) -> list:
    """Outputs of each call, or the exception that it ended with.

    When companions fail together, each is called alone: one damaged photo spoils no other
    request.
    """
    if len(calls) > 1:
        try:
            found = _together(calls)
        except Exception:  # whatever it is, each call finds out by itself
            found = None
        if found is not None:
            return found
    return [_outcome(call) for call in calls]


def _outcome(call):
    try:
        return call.answer()
    except Exception as error:  # for its own request, not for the thread
        return error


def _together(calls):
    """Outputs of each call out of one; None where they cannot be taken apart."""
    first, sizes = calls[0], [call.size for call in calls]
    joined = np.concatenate([call.inputs[call.query] for call in calls])
    outputs = first.answer(**{first.query: joined})
    if any(value.shape[:1] != (sum(sizes),) for value in outputs.values()):
        return None
    ends = np.cumsum(sizes)
    return [
        {name: value[end - size : end] for name, value in outputs.items()}
        for end, size in zip(ends, sizes, strict=True)
    ]
