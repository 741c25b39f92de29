"""A Ray cluster of this machine for `ray_cluster.py`: nodes are started, watched and killed."""

import contextlib
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[1]
ENVIRONMENT = os.environ | {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",  # as `ray start` has it; nobody else gets in
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "PYTHONPATH": str(ROOT),
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
RAY = pathlib.Path(sys.executable).with_name("ray")


# === Processes ===


def children(pid: int) -> list[int]:
    """Processes that a process has started, and those that these have."""
    found = []
    for tasks in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            own = [int(word) for word in tasks.read_text().split()]
            found += own + [one for child in own for one in children(child)]
    return found


def working(node: subprocess.Popen) -> list[int]:
    """Workers of a node that do a piece just now."""
    return [pid for pid in children(node.pid) if "ray::_call" in text_of(pid, "cmdline")]


def text_of(pid: int, name: str) -> str:
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    return ""


def megabytes(pid: int) -> float:
    """Memory of a process."""
    lines = text_of(pid, "status").splitlines()
    return max((int(x.split()[1]) / 1e3 for x in lines if x.startswith("VmRSS")), default=0)


def killed(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# === The cluster ===


class Cluster:
    """A head without workers, and nodes of one worker each."""

    def __init__(self, logs: pathlib.Path, nodes: int):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address, self.logs, self.nodes = f"127.0.0.1:{port}", logs, []
        head = ["--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false"]
        self.head = self._start(*head)
        time.sleep(8)  # or the nodes find nobody
        for _ in range(nodes):
            self.add()

    def add(self) -> None:
        """Starts a node."""
        self.nodes.append(self._start(f"--address={self.address}", "--num-cpus=1"))
        time.sleep(5)

    def _start(self, *arguments):
        command = [RAY, "start", "--block", "--object-store-memory=100000000", *arguments]
        with open(self.logs / "ray.log", "ab") as log:
            return subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log)

    def kill(self, node: subprocess.Popen) -> None:
        """Ends a node, workers and all, at once."""
        killed([*children(node.pid), node.pid])
        node.wait()

    def stop(self) -> None:
        """Ends all of it."""
        for node in (*self.nodes, self.head):
            self.kill(node)


@contextlib.contextmanager
def cluster(logs: pathlib.Path, nodes: int = 2) -> Iterator[Cluster]:
    """A cluster that is stopped however the block ends."""
    made = Cluster(logs, nodes)
    try:
        yield made
    finally:
        made.stop()
