"""Servers behind a balancer: how many answers a second one gives, and two.

    python -m benchmarks.balanced --photo=photo.jpg --mask=mask.png --query=FOLDER

Each server is a process on a core of its own (Linux). The balancer passes connections on to
them in turn, as a Service of Kubernetes does. Clients send supports and query each time; a
server has seen the supports before. Prints a Markdown table.
"""

import asyncio
import contextlib
import functools
import itertools
import os
import pathlib
import queue
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator

from absl import flags

from benchmarks import serving
from crnet_tf.common import cli, tables
from crnet_tf.common.errors import InputError
from crnet_tf.images import photo_folder, photos
from crnet_tf.images.labelled import read_labelled
from crnet_tf.images.png_files import encode_label, encode_png
from crnet_tf.network.checkpoint import checkpoint_or_start

HEAD = ("servers", "clients", "p50, s", "p95, s", "answers a second", "of one server")
CLIENTS = 4  # a server


@contextlib.contextmanager
def balanced(ports: list[int]) -> Iterator[int]:
    """A port whose connections go to `ports` in turn, until the block ends."""
    turn, told = itertools.cycle(ports), queue.SimpleQueue()

    async def passed_on(reader, writer):
        there = await asyncio.open_connection("127.0.0.1", next(turn))
        await asyncio.gather(_piped(reader, there[1]), _piped(there[0], writer))

    async def listen():
        server = await asyncio.start_server(passed_on, "127.0.0.1", 0)
        end = asyncio.Event()
        stop = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, end.set)
        told.put((server.sockets[0].getsockname()[1], stop))
        await end.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=[listen()], daemon=True)
    thread.start()
    port, stop = told.get()
    try:
        yield port
    finally:
        stop()
        thread.join()


async def _piped(reader, writer):
    with contextlib.suppress(ConnectionError):
        while content := await reader.read(1 << 16):
            writer.write(content)
            await writer.drain()
    writer.close()


def measured(folder: pathlib.Path, count: int, support, queries, requests: int) -> dict:
    """`serving.load` of `count` servers of the model in `folder`."""
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(serving.served(folder, core)) for core in range(count)]
        for url in urls:
            serving.Client(url, support, queries).ask(serving.WHOLE, 0)
        ports = [urllib.parse.urlsplit(url).port for url in urls]
        port = stack.enter_context(balanced(ports))
        client = serving.Client(
            f"http://127.0.0.1:{port}/v1/models/crnet:predict", support, queries
        )
        return serving.load(
            lambda number: client.ask(serving.WHOLE, number), CLIENTS * count, requests * count
        )


def define_flags():
    flags.DEFINE_string("checkpoint", None, "Of training; default: the one that comes along.")
    flags.DEFINE_string("photo", None, "The labelled photo.", required=True)
    flags.DEFINE_string("mask", None, "Its mask.", required=True)
    flags.DEFINE_string("query", None, "Folder of photos to ask about.", required=True)
    flags.DEFINE_list("servers", ["1", "2"], "How many, in turn.")
    flags.DEFINE_integer("requests", 40, "Requests for each server.", lower_bound=1)


def main():
    args, rows = flags.FLAGS, []
    counts = [int(count) for count in args.servers]
    if max(counts) > os.cpu_count():
        raise InputError(
            f"servers: expected at most one a core ({os.cpu_count()}), received {max(counts)}."
        )
    shown = read_labelled(args.photo, args.mask)
    support = encode_png(shown.image), encode_label(shown.mask)
    queries = [
        encode_png(photos.read_photo(path)) for path in photo_folder.query_paths(args.query)
    ]
    with tempfile.TemporaryDirectory() as folder:
        models = pathlib.Path(folder) / "crnet"
        serving.exported(str(checkpoint_or_start(args.checkpoint)), models)
        found = [measured(models, count, support, queries, args.requests) for count in counts]
    for count, one in zip(counts, found, strict=True):
        share = one["throughput"] / found[0]["throughput"]
        numbers = (f"{one['p50']:.2f}", f"{one['p95']:.2f}", f"{one['throughput']:.2f}")
        rows.append((count, CLIENTS * count, *numbers, f"{share:.2f}"))
    print(tables.markdown(HEAD, rows))


if __name__ == "__main__":
    cli.run(main, define_flags)
