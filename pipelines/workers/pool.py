"""Work that is done piece by piece: in this process, or by the workers of a Ray cluster.

    for result in workers_at(address).results(work, items): ...

A piece may be done twice, where a worker dies and another takes over. So pieces write files
whole, by a rename, and the same bytes each time.
"""

import collections
import contextlib
import functools
import os
import pathlib
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from absl import flags

from crnet_tf.common import files, threads
from crnet_tf.common.errors import BlockedError

LOCAL = "local"
_RETRIES = 5  # of a piece whose worker or node dies
_ENVIRONMENT = {"TF_NUM_INTRAOP_THREADS": "1"}  # of workers: there is one a core
_AHEAD = 2  # pieces of each worker that are waited for: one is done, one waits


def define_flag() -> None:
    """The flag that `workers_at` is given."""
    flags.DEFINE_string(
        "ray",
        None,
        "Address of a Ray cluster whose workers do the work, such as 10.0.0.1:6379; local: "
        "workers on this machine, one a core. Default: this process alone.",
        module_name="Many machines",
    )


@functools.cache  # a process is connected to one cluster until it ends
def workers_at(address: str | None) -> "Here | Ray":
    """Workers at an address of `--ray`; None: this process.

    Raises:
        RuntimeError: Ray is not installed, or no cluster answers there.
    """
    if address is None:
        return Here()
    ray = _ray()
    _connect(ray, address)
    return Ray(ray)


def whole(path: pathlib.Path) -> contextlib.AbstractContextManager[pathlib.Path]:
    """Where a piece writes its file, which is renamed to `path` at the end: another place for
    each worker that does the piece, on any machine."""
    return files.replaced(path, f".{path.name}.{uuid.uuid4().hex}")


class Here:
    """This process, one piece after the other."""

    def results(
        self, work: Callable[[Any], Any], items: Iterable[Any], in_order: bool = False
    ) -> Iterator[Any]:
        """`work(item)` of every item, as they are done."""
        return map(work, items)


class Ray:
    """Workers of the cluster that this process is connected to."""

    def __init__(self, ray):
        self._ray = ray

    def results(
        self, work: Callable[[Any], Any], items: Iterable[Any], in_order: bool = False
    ) -> Iterator[Any]:
        """`work(item)` of every item: as they are done, or in order. Items are taken as workers
        become free, and few results wait, so there may be any number of them.

        Args:
            work: picklable; each worker process does one piece at a time.

        Raises:
            What `work` raises. RuntimeError: a piece ended the process of every worker that
            tried it.
        """
        remote = self._ray.remote(num_cpus=1, max_retries=_RETRIES)(_call)
        work = self._ray.put(work)  # once for all items
        waiting = collections.deque()
        for item in items:
            waiting.append((remote.remote(work, item), item))
            while len(waiting) > _AHEAD * self._cpus():
                yield self._take(waiting, in_order)
        while waiting:
            yield self._take(waiting, in_order)

    def _cpus(self):
        """Of the cluster as it is now: nodes come and go."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def _take(self, waiting, in_order):
        place = 0
        if not in_order:
            pieces = [piece for piece, _ in waiting]
            (done, *_), _ = self._ray.wait(pieces)
            place = pieces.index(done)
        piece, item = waiting[place]
        del waiting[place]
        errors = self._ray.exceptions
        try:
            return self._ray.get(piece)
        except errors.RayTaskError as error:
            raise error.cause from error
        except errors.RayError as error:
            raise BlockedError(
                "--ray: expected workers that end a piece of work, received: "
                f"{error!s:.1000} The piece: {item!s:.200} ... Run it again: what is complete "
                "is not done again."
            ) from error


def _call(work, item):
    return work(item)


def _ray():
    try:
        import ray
    except ModuleNotFoundError as error:
        raise BlockedError(
            "--ray: expected the package ray, received none. Install it with pip install "
            "'crnet-tf[ray]', or leave --ray out."
        ) from error
    return ray


def _connect(ray, address):
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    where = {"address": address}
    if address == LOCAL:
        where |= {"num_cpus": threads.cores(), "include_dashboard": False}
    try:
        _check_answers(address)
        # What workers print stays in Ray's logs.
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        ray.init(**where, **quiet, runtime_env={"env_vars": _ENVIRONMENT})
    except (OSError, ValueError, RuntimeError) as error:
        raise BlockedError(
            f"--ray: expected the address of a Ray cluster that runs, received {address!r}: "
            f"{error!s:.500} Start one with ray start --head, or give local."
        ) from error


def _check_answers(address):
    """Raises OSError where nothing listens at HOST:PORT: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if host and "//" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()
