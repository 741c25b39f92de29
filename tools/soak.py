"""Keeps a server busy for a while, with good and bad clients, and swaps its models beneath.

    python tools/soak.py --minutes=15

`crnet serve` runs as a process of its own, on a loopback port, with two models: sums, whose
every answer is known, and a tiny network that was taught a class, of which every 100th answer
is compared with the first. Good clients ask without a pause. Among them are requests with
faults, clients that hang up in the midst of a request, and clients that read slowly. Every few
seconds a second version of the sums appears, and is taken back. At the end the server is told
to stop while all go on. Prints a table; exits with 1 where an answer was wrong, none came, or
the server did not end well.
"""

import argparse
import collections
import contextlib
import json
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import requests
import scipy.stats

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

from helpers.forks import in_fork, resident
from helpers.live_server import b64, write_sums

GOOD, SWAP_S, PATIENCE_S = 4, 4.0, 60
PAIR = {"inputs": {"x": [[1, 2], [3, 4]], "y": [[10, 20], [30, 40.5]]}}
SUM = [[11.0, 22.0], [33.0, 44.5]]
BAD = (b"", b"{", b"[" * 9000, b'{"inputs": 1}', b'{"inputs": {"x": [[1]], "y": [[2]]}}',
       b'{"instances": [{"b64": "!"}]}', b'{"signature_name": "no", "inputs": {}}')  # fmt: skip
_HEAD = b"POST /v1/models/sum:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: "


class Soak:
    """Clients of a server at `port`, each a thread until `stop`; what they saw."""

    def __init__(self, port: int, models: pathlib.Path, photo: bytes):
        self.port, self.models, self.photo = port, models, photo
        self.seen, self.seconds, self.wrong = collections.Counter(), [], []
        self.stopping, self.told = threading.Event(), None
        clients = [self._good] * GOOD + [
            self._taught, self._bad, self._hang_up, self._slow, self._swap,
        ]  # fmt: skip
        self.threads = [threading.Thread(target=client, daemon=True) for client in clients]

    def _url(self, model):
        return f"http://127.0.0.1:{self.port}/v1/models/{model}:predict"

    def _ask(self, model, body, kind):
        """The answer, None where there is none. A request that was sent before the server was
        told to stop must get one."""
        started = time.monotonic()
        try:
            answer = requests.post(self._url(model), body, timeout=PATIENCE_S)
        except requests.RequestException as error:
            if self.told is None or started < self.told:
                self.wrong.append(f"{kind}: no answer: {error}")
            else:
                self.seen["turned away after the stop"] += 1
                self.stopping.set()
            return None
        self.seconds.append(time.monotonic() - started)
        self.seen[f"{kind}: {answer.status_code}"] += 1
        return answer

    def _good(self):
        body = json.dumps(PAIR)
        while not self.stopping.is_set():
            answer = self._ask("sum", body, "good")
            if answer is None or answer.status_code == 503:  # as it says: later
                continue
            outputs = answer.json().get("outputs", {})
            if outputs.get("sum") != SUM or set(outputs["version"]) - {1, 2}:
                self.wrong.append(f"sum: {answer.status_code} {answer.text[:200]}")

    def _taught(self):
        body = {"signature_name": "segment_encoded", "instances": [b64(self.photo)]}
        body, first, number = json.dumps(body), None, 0
        while not self.stopping.is_set():
            answer = self._ask("things", body, "network")
            if answer is not None and answer.ok:
                first, number = first or answer.json(), number + 1
                if number % 100 == 0 and answer.json() != first:
                    self.wrong.append("network: another answer than the first")

    def _bad(self):
        chance = random.Random(0)
        while not self.stopping.is_set():
            answer = self._ask("sum", chance.choice(BAD), "bad")
            if answer is not None and not 400 <= answer.status_code < 504:
                self.wrong.append(f"bad: {answer.status_code} {answer.text[:200]}")
            time.sleep(0.02)

    def _hang_up(self):
        while not self.stopping.is_set():
            with contextlib.suppress(OSError), self._connected() as client:
                client.sendall(_HEAD + b'900\r\n\r\n{"inputs"')
                self.seen["hung up"] += 1
            time.sleep(0.05)

    def _slow(self):
        """Asks for 200 kB and reads a few bytes at a time."""
        body = json.dumps({"signature_name": "echo", "inputs": ["x" * 100_000]}).encode()
        head = _HEAD + f"{len(body)}\r\n\r\n".encode()
        while not self.stopping.is_set():
            with contextlib.suppress(OSError), self._connected() as client:
                client.sendall(head + body)
                for _ in range(20):
                    client.recv(500)
                    time.sleep(0.05)
                self.seen["read slowly"] += 1

    def _connected(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def _swap(self):
        """A second version comes, is served, and goes; the first one serves again."""
        folder = self.models / "sum"
        while not self.stopping.wait(SWAP_S):
            if (folder / "2").exists():
                (folder / "2").rename(folder / ".2")
                self.seen["rolled back"] += 1
            else:
                (folder / ".2").rename(folder / "2")
                self.seen["swapped"] += 1


def write_models(folder: pathlib.Path) -> None:
    """Two versions of the sums, and a taught network; to be called in a fork."""
    from helpers import networks

    from crnet_tf.images.png_files import encode_png
    from crnet_tf.options import Options
    from export.package.teach import teach

    (folder / "sum").mkdir()
    write_sums(folder / "sum", 1)
    write_sums(folder / "sum", 2).rename(folder / "sum" / ".2")
    networks.with_prototypes().save(folder / "best.keras")
    options = Options(kshot="mean", refine_steps=1)
    teach(
        folder / "best.keras", {"cup": [networks.photo(1)]}, folder / "things", options=options
    )
    (folder / "photo.png").write_bytes(encode_png(networks.photo(2).image))


def served(models: pathlib.Path, port: int, log) -> subprocess.Popen:
    """A server as a user starts one, ready."""
    names = ",".join(f"{name}={models / name}" for name in ("sum", "things"))
    command = [sys.executable, "-m", "crnet", "serve", f"--model={names}", f"--port={port}"]
    root = pathlib.Path(__file__).parents[1]
    server = subprocess.Popen([*command, "--poll_s=0.5"], cwd=root, stdout=log, stderr=log)
    while True:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE_S).ok:
                return server
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode}")
        time.sleep(0.2)


def slope(samples: list[tuple[float, int]]) -> tuple[float, float]:
    """MiB an hour that memory grows, of samples (s, bytes), and half its 95 % interval."""
    seconds, sizes = np.array(samples).T
    found = scipy.stats.linregress(seconds / 3600, sizes / 2**20)
    return found.slope, found.stderr * scipy.stats.t.ppf(0.975, len(samples) - 2)


def soaked(models: pathlib.Path, minutes: float, log) -> tuple[Soak, list, int, float]:
    """The clients, memory of the server by time, its exit status, seconds it took to end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = served(models, port, log)
    try:
        soak = Soak(port, models, (models / "photo.png").read_bytes())
        samples, started = [], time.monotonic()
        for thread in soak.threads:
            thread.start()
        while time.monotonic() - started < 60 * minutes and server.poll() is None:
            time.sleep(1)
            samples.append((time.monotonic() - started, resident(server.pid)))
        soak.told = time.monotonic()
        server.send_signal(signal.SIGTERM)
        status = server.wait(PATIENCE_S * 3)
        ended = time.monotonic() - soak.told
        soak.stopping.set()
        for thread in soak.threads:
            thread.join(PATIENCE_S)
        return soak, samples, status, ended
    finally:
        server.kill()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=15)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        models = pathlib.Path(folder)
        written = in_fork(write_models, models)
        if written.status:
            raise RuntimeError(written.output)
        soak, samples, status, ended = soaked(models, minutes, log)
        log.seek(0)
        tracebacks = log.read().count("Traceback")
    settled = samples[len(samples) // 5 :]  # graphs are prepared, pools filled
    grows, interval = slope(settled)
    p50, p99 = np.percentile(soak.seconds, [50, 99])
    rows = {
        **dict(sorted(soak.seen.items())),
        "minutes": round(minutes, 1),
        "p50, p99, longest, s": f"{p50:.3f}, {p99:.3f}, {max(soak.seconds):.3f}",
        "memory at the end, MiB": round(samples[-1][1] / 2**20),
        "memory grows, MiB an hour": f"{grows:.1f} ± {interval:.1f}",
        "wrong or missing answers": len(soak.wrong),
        "tracebacks in its log": tracebacks,
        "exit status after SIGTERM": f"{status}, {ended:.1f} s later",
    }
    print("| seen | |\n|---|--:|")
    print("\n".join(f"| {name} | {value} |" for name, value in rows.items()))
    print("\n".join(soak.wrong[:20]))
    sys.exit(bool(soak.wrong or status or tracebacks))


if __name__ == "__main__":
    main()
