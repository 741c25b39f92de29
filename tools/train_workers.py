"""Trains with several workers on this machine, to try what several machines would do.

    python tools/train_workers.py --workers=2 -- --fold=1 --records=records/voc --out=runs/two

What stands after `--` is given to `python -m crnet_tf.train`, once a worker. When a worker is
lost, the others are stopped and all are started again, as a cluster's supervisor does; the
training goes on after its last whole epoch. What a worker prints stands in --logs.
"""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

from absl import app, flags

LOOK_S = 0.5


def main(arguments):
    args = flags.FLAGS
    command = [sys.executable, "-m", "crnet_tf.train", *arguments[1:]]
    if not run(command, args.workers, pathlib.Path(args.logs), args.restarts):
        sys.exit(f"Gave up after {args.restarts} restarts: read {args.logs}/worker_*.log.")


def run(command: list[str], count: int, logs: pathlib.Path, restarts: int) -> bool:
    """Whether all `count` workers ended well, after at most so many restarts of all."""
    logs.mkdir(parents=True, exist_ok=True)
    for attempt in range(restarts + 1):
        if attempt:
            print(f"A worker is gone: starting all again ({attempt} of {restarts}).")
        if run_once(command, count, logs):
            return True
    return False


def run_once(command: list[str], count: int, logs: pathlib.Path) -> bool:
    """Starts all workers; whether all ended well. None runs any more when it returns."""
    addresses = free_addresses(count)
    with contextlib.ExitStack() as started:
        workers = [
            started.enter_context(worker(command, addresses, number, logs))
            for number in range(count)
        ]
        while True:
            codes = [one.poll() for one in workers]
            if any(codes) or None not in codes:
                return not any(codes)
            time.sleep(LOOK_S)


@contextlib.contextmanager
def worker(command, addresses, number, logs):
    """A worker's process; killed at the end, if it still runs."""
    task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
    with (logs / f"worker_{number}.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=os.environ | {"TF_CONFIG": json.dumps(task)}, stdout=log, stderr=log
        )
    print(f"Worker {number}: process {process.pid}, {log.name}", flush=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def free_addresses(count: int) -> list[str]:
    """Of this machine, with ports that nobody uses."""
    with contextlib.ExitStack() as opened:
        taken = [opened.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in taken]


if __name__ == "__main__":
    flags.DEFINE_integer("workers", 2, "Processes of this machine.", lower_bound=1)
    flags.DEFINE_integer("restarts", 3, "How often all are started again.", lower_bound=0)
    flags.DEFINE_string("logs", "runs/workers", "Folder of what the workers print.")
    app.run(main)
