"""What serving costs: clients at once, a state against full requests, the server's share.

    python -m benchmarks.serving --checkpoint=runs/voc1/best.keras --photo=photo.jpg \\
        --mask=mask.png --query=FOLDER

Exports the checkpoint (or takes `--model=models/crnet`), serves it on a loopback port from a
process of its own as a user would, and asks it, the SavedModel and the Keras network the same
in one run. Prints Markdown tables.
"""

import base64
import concurrent.futures
import contextlib
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
import requests
import tensorflow as tf
from absl import flags

from benchmarks import timing
from crnet_tf.common import cli
from crnet_tf.common.errors import BlockedError
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images import photo_folder, photos
from crnet_tf.images.labelled import LabelledPhoto, read_labelled
from crnet_tf.images.png_files import encode_label, encode_png
from crnet_tf.network import model
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.options import IN_USE, Options
from export.package import saved_model, versions

ROOT = pathlib.Path(__file__).parents[1]
CLIENTS = (1, 4, 16)
WHOLE, CACHED = "segment_encoded", "segment_encoded_with_support"
START_S = 300


@contextlib.contextmanager
def served(folder: pathlib.Path, core: int | None = None) -> Iterator[str]:
    """URL of the model in `folder`, served by `export.serve` until the block ends.

    Args:
        core: the only one that the server may use; default: all.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
    command = [*pinned, sys.executable, "-m", "export.serve", f"--model=crnet={folder}"]
    with subprocess.Popen([*command, f"--port={port}"], cwd=ROOT) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/readyz", server)
            yield f"http://127.0.0.1:{port}/v1/models/crnet:predict"
        finally:
            server.terminate()


def _wait(url, server):
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(url, timeout=START_S).ok:
                return
        time.sleep(0.2)
    raise BlockedError(f"The server did not start within {START_S} s; see its output above.")


class Client:
    """Asks a server for the answers to one support and one of several queries.

    Args:
        support: file contents of photo and mask. queries: of photos.
    """

    def __init__(self, url: str, support: tuple[bytes, bytes], queries: list[bytes]):
        self.url, self.queries = url, [_b64(query) for query in queries]
        photo, mask = map(_b64, support)
        self.support = {"support_image_bytes": [photo], "support_mask_bytes": [mask]}
        self.state = self._ask("encode_support_encoded", self.support)

    def ask(self, signature: str, number: int, photo: dict | None = None) -> dict:
        """The answer for a query; numbers go round.

        Args:
            photo: of the support, instead of the own one.
        """
        shared = self.support if signature == WHOLE else self.state
        if photo is not None:
            shared = shared | {"support_image_bytes": [photo]}
        query = self.queries[number % len(self.queries)]
        return self._ask(signature, {**shared, "query_image_bytes": [query]})

    def _ask(self, signature, inputs):
        body = json.dumps({"signature_name": signature, "inputs": inputs})
        answer = requests.post(self.url, body, timeout=START_S)
        answer.raise_for_status()
        return answer.json()["outputs"]


def _b64(content):
    return {"b64": base64.b64encode(content).decode("ascii")}


def load(ask: Callable[[int], object], clients: int, count: int) -> dict:
    """`count` questions of `clients` at once: p50, p95 in seconds, questions a second."""

    def timed(number):
        return timing.seconds(ask, number)

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        list(pool.map(timed, range(clients)))  # graphs of this batch size are prepared
        started = time.perf_counter()
        seconds = list(pool.map(timed, range(count)))
        whole = time.perf_counter() - started
    return {
        "p50": float(np.percentile(seconds, 50)),
        "p95": float(np.percentile(seconds, 95)),
        "throughput": count / whole,
    }


def ways_of(
    client: Client,
    folder: pathlib.Path,
    network,
    photo: LabelledPhoto,
    query: LabelledPhoto,
    rounds: int,
) -> dict:
    """The same question, 1-shot, asked in every way, up to `rounds` times."""
    unseen = iter(unseen_files(photo.image, rounds))
    loaded = tf.saved_model.load(str(folder))
    whole, cached, encode = (
        loaded.signatures[name] for name in (WHOLE, CACHED, "encode_support_encoded")
    )
    files = {
        "support_image_bytes": tf.constant([encode_png(photo.image)]),
        "support_mask_bytes": tf.constant([encode_label(photo.mask)]),
    }
    query_file = tf.constant([encode_png(query.image)])
    state = encode(**files)
    learner = Learner(network, Options(**IN_USE), keep_features=True)
    learnt = learner.fit([photo])

    def keras_answer(example):
        learner.cache.clear()  # a photo is encoded once in an answer, and anew in the next
        example = example or learner.fit([photo])
        return example.steps(query), example.presence(query)

    return {
        "server, full request": lambda: client.ask(WHOLE, 0, next(unseen)),
        "server, supports that it knows": lambda: client.ask(WHOLE, 0),
        "server, state": lambda: client.ask(CACHED, 0),
        "SavedModel, full": lambda: whole(**files, query_image_bytes=query_file),
        "SavedModel, state": lambda: cached(**state, query_image_bytes=query_file),
        "Keras network, full": lambda: keras_answer(None),
        "Keras network, state": lambda: keras_answer(learnt),
    }


def unseen_files(image: np.ndarray, count: int) -> list[dict]:
    """A photo in so many files that differ in a pixel: supports that no server knows."""
    files = []
    for number in range(count):
        other = image.copy()
        other[0, 0] = number
        files.append(_b64(encode_png(other)))
    return files


def load_table(found: dict[int, dict]) -> str:
    """Markdown of `load` by number of clients."""
    lines = ["| clients | p50, s | p95, s | queries a second |", "|--:|--:|--:|--:|"]
    for clients, row in found.items():
        lines.append(
            f"| {clients} | {row['p50']:.3f} | {row['p95']:.3f} | {row['throughput']:.2f} |"
        )
    return "\n".join(lines)


def ways_table(found: dict[str, float]) -> str:
    """Markdown of `timing.in_turn`, with what a state saves and the server adds."""
    base = found["SavedModel, full"]
    lines = ["| 1-shot, one query | s | of the SavedModel, full |", "|---|--:|--:|"]
    lines += [f"| {name} | {s:.3f} | {100 * s / base:.0f} % |" for name, s in found.items()]
    query = found["server, state"]
    saved = query / found["server, full request"]
    added = query - found["SavedModel, state"]
    slower = query / found["Keras network, state"]
    return "\n".join(lines) + (
        f"\n\nWith a state a query takes {100 * saved:.0f} % of a full request (wanted: at "
        f"most 45 %).\nThe server adds {1000 * added:.0f} ms to a query with a state, takes "
        f"{slower:.2f} times as long as the Keras network, which reads and writes no files."
    )


def exported(checkpoint: str, folder: pathlib.Path) -> pathlib.Path:
    """Exports into `folder`, if it has no version yet; its newest version's folder."""
    found = versions.numbers(folder) if folder.is_dir() else []
    return folder / str(max(found)) if found else saved_model.export(checkpoint, folder)


def define_flags():
    text = flags.DEFINE_string
    text("checkpoint", None, "A .keras file written by training.", required=True)
    text("model", None, "Folder of its export; default: exported for this run.")
    text("photo", None, "The support.", required=True)
    text("mask", None, "Its mask.", required=True)
    text("query", None, "Photo, or folder of photos.", required=True)
    flags.DEFINE_integer("questions", 48, "Questions of each number of clients.", 1)
    flags.DEFINE_integer("rounds", 9, "Rounds of the ways that take turns.", lower_bound=1)


def main():
    args = flags.FLAGS
    photo = read_labelled(args.photo, args.mask)
    queries = [photos.read_photo(path) for path in photo_folder.query_paths(args.query)]
    network = model.in_float32(load_checkpoint(args.checkpoint))
    files = encode_png(photo.image), encode_label(photo.mask)
    with tempfile.TemporaryDirectory() as temporary:
        folder = exported(args.checkpoint, pathlib.Path(args.model or f"{temporary}/crnet"))
        with served(folder.parent) as url:
            client = Client(url, files, [encode_png(query) for query in queries])
            found = {
                clients: load(lambda n: client.ask(CACHED, n), clients, args.questions)
                for clients in CLIENTS
            }
            query = LabelledPhoto(queries[0], name="query")
            ways = ways_of(client, folder, network, photo, query, args.rounds + 1)
            medians = timing.in_turn(ways, args.rounds)
    config = network.config
    print(
        f"{config.backbone}, {config.image_size} px, {config.channels} channels, float32; "
        f"{len(queries)} queries, {args.questions} questions, medians of {args.rounds} rounds"
        "\n\n"
        f"Queries with a state, clients that ask without a pause:\n\n{load_table(found)}\n\n"
        f"{ways_table(medians)}"
    )


if __name__ == "__main__":
    cli.run(main, define_flags)
