"""What a `Segmenter` has learnt, as one file, a ZIP:

    learnt.json        classes, options, threshold, path and sha256 of the checkpoint
    0.png, 0_mask.png  the examples, and the negatives, which may have no masks

The examples are all that fitting needs, and fitting is repeatable: the answers are the same.
"""

import dataclasses
import io
import json
import os
import pathlib
import zipfile
import zlib

import numpy as np
from PIL import Image

from crnet_tf.common import archives, files
from crnet_tf.common.disk import sha256_of
from crnet_tf.common.errors import InputError
from crnet_tf.images import png_files
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.options import Options

CONTENT, FORMAT = "learnt.json", 1
# What reading another file, or a damaged one, raises.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, KeyError, TypeError, AttributeError, ValueError, OSError,
    SyntaxError, NotImplementedError, RuntimeError, Image.DecompressionBombError,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Learnt:
    """What a file holds; see `Segmenter`."""

    checkpoint: str | os.PathLike | None
    options: dict
    threshold: float
    classes: dict[str, list[LabelledPhoto]]
    negatives: list[LabelledPhoto]


def write(path: str | os.PathLike, learnt: Learnt) -> None:
    """Writes what was learnt, whole or not at all. Raises as `encoded`, and OSError."""
    files.write_bytes(path, encoded(learnt))


def encoded(learnt: Learnt) -> bytes:
    """The file of what was learnt; the same gives the same bytes.

    Raises:
        ValueError: nothing was learnt, or with a network that is no file. OSError: there is no
            such checkpoint.
    """
    if not learnt.classes:
        raise InputError(
            "save: expected a Segmenter that has learnt something. Call fit first."
        )
    content, buffer = {"format": FORMAT, "threshold": learnt.threshold}, io.BytesIO()
    content["options"] = dataclasses.asdict(Options(**learnt.options))
    if learnt.checkpoint is not None:
        if not isinstance(learnt.checkpoint, str | os.PathLike):
            raise InputError(
                "save: expected a Segmenter of a checkpoint's file, received one of a network. "
                "Save the network as NAME.keras, and give that to Segmenter."
            )
        checkpoint = pathlib.Path(learnt.checkpoint).absolute()
        content |= {"checkpoint": str(checkpoint), "sha256": sha256_of(checkpoint)}
    with zipfile.ZipFile(buffer, "w") as archive:
        groups = [*learnt.classes.items(), (None, learnt.negatives)]
        content["photos"] = [_put(archive, *one) for one in _numbered(groups)]
        archive.writestr(zipfile.ZipInfo(CONTENT), json.dumps(content, indent=1))
    return buffer.getvalue()


def read(path: str | os.PathLike, checkpoint: str | os.PathLike | None = None) -> Learnt:
    """What `write` wrote; see `Segmenter.load`."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No {str(path)!r}: expected a file written by Segmenter.save.")
    try:
        with archives.opened(path) as archive:
            content = json.loads(archive.read(CONTENT))
            photos = [
                _got(archive, number, one) for number, one in enumerate(content["photos"])
            ]
            known = content["format"] == FORMAT
            options = dataclasses.asdict(Options(**content["options"]))
            threshold = float(content["threshold"])
            names = [one["class"] for one in content["photos"]]
            classes = {name: [] for name in names}
            learnt_with = _learnt_with(content)
    except _DAMAGED as error:
        raise InputError(
            f"{path}: expected a file written by Segmenter.save, received another one or a "
            f"damaged one ({error})."
        ) from error
    if not known:
        raise InputError(
            f"{path}: expected format {FORMAT}, received {content['format']}: it was written "
            "by another version of crnet_tf. Use that version, or call fit again."
        )
    for name, photo in zip(names, photos, strict=True):
        classes[name].append(photo)
    negatives = classes.pop(None, [])
    there = _checked(checkpoint, learnt_with) if learnt_with else checkpoint
    return Learnt(there, options, threshold, classes, negatives)


def _learnt_with(content):
    """Path and SHA-256 of a checkpoint; None for the one that comes along."""
    if "checkpoint" in content:
        return pathlib.Path(content["checkpoint"]), content["sha256"]
    return None


def _checked(checkpoint, learnt_with):
    """The checkpoint that it was learnt with."""
    path, sha256 = learnt_with
    there = pathlib.Path(checkpoint or path)
    if there.is_file() and sha256_of(there) != sha256:
        raise InputError(
            f"{there}: expected the checkpoint that it was learnt with, received another one. "
            "Give load(path, checkpoint=...) that file, or call fit again."
        )
    return there  # load_checkpoint says what is wrong where there is none


def _numbered(groups):
    number = 0
    for name, photos in groups:
        for photo in photos:
            yield number, name, photo
            number += 1


def _put(archive, number, name, photo):
    def put(name, content):
        archive.writestr(zipfile.ZipInfo(name), content)  # of no date

    put(f"{number}.png", png_files.encode_png(photo.image, png_files.FAST))
    if photo.mask is not None:
        put(f"{number}_mask.png", png_files.encode_label(photo.mask))
    return {"class": name, "name": photo.name}


def _got(archive, number, one):
    def pixels(name):
        with Image.open(io.BytesIO(archive.read(name))) as image:
            return np.array(image)

    masked = one["class"] is not None or f"{number}_mask.png" in archive.namelist()
    mask = pixels(f"{number}_mask.png") if masked else None
    return LabelledPhoto(pixels(f"{number}.png"), mask, one["name"])
