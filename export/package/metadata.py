"""What an exported model says of itself: one JSON text, in a signature and in a file."""

import dataclasses
import hashlib
import json
import os
import pathlib

from crnet_tf.common import files, provenance
from crnet_tf.network.model import CRNet
from export.graph.settings import Settings

# Beside TF Serving's own extras, which it leaves alone.
FILE = pathlib.Path("assets.extra", "metadata.json")


def describe(
    network: CRNet,
    checkpoint: str | os.PathLike,
    settings: Settings,
    version: int,
    **more,
) -> str:
    """JSON of a version: configuration, input size, git revision, checkpoint's sha256.

    Args:
        checkpoint: file the network was loaded from.
        more: what is particular to a kind of export.
    """
    session, path = provenance.describe_session(), pathlib.Path(checkpoint)
    return json.dumps(
        {
            "model": "crnet",
            "version": version,
            "exported": session["started"],
            "git": session["git"],
            "versions": session["versions"],
            "checkpoint": {"name": path.name, "sha256": sha256(path)},
            "input_size": network.config.image_size,
            "settings": dataclasses.asdict(settings),
            "config": dataclasses.asdict(network.config),
            **more,
        },
        indent=1,
    )


def sha256(checkpoint: str | os.PathLike) -> str:
    """Of a checkpoint's file, in hexadecimal."""
    return hashlib.sha256(pathlib.Path(checkpoint).read_bytes()).hexdigest()


def write(folder: pathlib.Path, text: str) -> None:
    """Puts the text beside the SavedModel in `folder`."""
    (folder / FILE.parent).mkdir(exist_ok=True)
    files.write_text(folder / FILE, text)
