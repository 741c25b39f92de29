"""What a server starts from: its models, the port it listens on, and uvicorn."""

import asyncio
import os
import pathlib
import re
import socket

import uvicorn

from crnet_tf.common.errors import InputError
from export.package.versions import SAVED_MODEL
from export.server.limits import Limits
from export.server.served import Served

READ_S = 0.1  # at the end, for requests that were sent and not yet read
CONNECTIONS = 64  # besides those of the queue: the page, Prometheus, those turned away


def served_models(models: list[str], version: int | None = None) -> list[Served]:
    """Models of FOLDER or NAME=FOLDER.

    Raises:
        FileNotFoundError: no folder, or no version in it.
        ValueError: a name twice, or one that no URL can hold; a version of several models.
    """
    if version and len(models) > 1:
        raise InputError(
            f"--version: expected one --model, received {len(models)}. Start a server for each."
        )
    found = {}
    for text in models:
        # Names have no "="; folders may.
        name, folder = text.split("=", 1) if "=" in text else ("", text)
        path = pathlib.Path(folder)
        name = name or os.path.basename(os.path.abspath(path))
        if not re.fullmatch(r"[\w.-]+", name, re.ASCII) or name in found:
            raise InputError(
                f"--model: expected names of letters, digits, '_', '.' and '-', each once, "
                f"received {name!r}. Give NAME=FOLDER."
            )
        found[name] = Served(name, path, version)
        _check_folder(path, found[name], version)
    return list(found.values())


def _check_folder(path, model, version):
    if (path / SAVED_MODEL).exists():
        raise FileNotFoundError(
            f"--model: expected the folder above the numbered versions, received a version: "
            f"{path}. Give {path.resolve().parent}."
        )
    if path.is_dir() and model.versions():
        return
    others = Served(model.name, path).versions() if path.is_dir() else []
    if others:
        raise FileNotFoundError(
            f"--version: expected one of {', '.join(map(str, others))}, which are in {path}, "
            f"received {version}. Leave it out to serve the newest."
        )
    below = sorted({str(found.parents[1]) for found in path.glob(f"*/[0-9]*/{SAVED_MODEL}")})
    if below:
        raise FileNotFoundError(
            f"--model: expected folders of one model each, received one of several, {path}. "
            f"Give --model={','.join(below)}"
        )
    raise FileNotFoundError(
        f"--model: expected a folder with a version in it, such as {path}/{version or 1}, "
        f"received none. Write one: crnet export saved-model --out={path}"
    )


def bound_socket(host: str, port: int) -> socket.socket:
    """What the server will listen on.

    Raises:
        OSError: the port is taken, or the address is not of this machine.
        ValueError: no address, which to a socket means all.
    """
    if not host:
        raise InputError(
            "--host: expected an address of this machine, received none. Leave it out for this "
            "machine alone; 0.0.0.0 lets others in."
        )
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(
            f"--port, --host: expected a free port of an address of this machine, received "
            f"{host}:{port}: {error}. Stop the program that uses it, or choose another --port "
            "(0: any that is free)."
        ) from error
    return listener


class Server(uvicorn.Server):
    """uvicorn's, which at its end would close connections whose request it has not read yet."""

    async def shutdown(self, sockets=None):
        for server in self.servers:
            server.close()  # nobody new comes
        await asyncio.sleep(READ_S)
        await super().shutdown(sockets)


def server(application, host: str, port: int, limits: Limits) -> uvicorn.Server:
    """What `run()` serves with."""
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        http="h11",
        ws="none",
        loop="asyncio",
        log_config=None,  # absl's
        log_level="warning",
        limit_concurrency=CONNECTIONS + limits.queue,
        timeout_graceful_shutdown=int(limits.body_timeout_s + limits.timeout_s) + 1,
        proxy_headers=False,
        server_header=False,
    )
    return Server(config)
