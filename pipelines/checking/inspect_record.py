"""What one record holds, and everything that is wrong with it by itself."""

import dataclasses
import hashlib

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from crnet_tf.data import records
from crnet_tf.images import label_files
from crnet_tf.images.mask_values import VOID, label_value
from pipelines.checking.perceptual_hash import perceptual_hash

_TEXTS = (
    records.IMAGE, records.IMAGE_FORMAT, records.FILENAME, records.LABEL, records.LABEL_FORMAT,
)  # fmt: skip
_NUMBERS = (records.HEIGHT, records.WIDTH)
_MAGIC = {b"jpeg": b"\xff\xd8\xff", b"png": b"\x89PNG\r\n\x1a\n"}
_PNG_KIND = slice(24, 26)  # bits a sample, colour type
_GREY8 = bytes((8, 0))


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """What is kept of a photo: a few hundred bytes."""

    image_sha256: bytes
    perceptual: int
    values: frozenset[int]  # of its label map


def read_example(serialized: bytes) -> dict | None:
    """{key: bytes or int} of a record; None when it is no Example with all the keys."""
    try:
        feature = tf.train.Example.FromString(serialized).features.feature
        content = {key: feature[key].bytes_list.value[0] for key in _TEXTS}
        return content | {key: feature[key].int64_list.value[0] for key in _NUMBERS}
    except (DecodeError, IndexError):
        return None


def inspect(
    serialized: bytes, example: dict, num_classes: int
) -> tuple[Fingerprint | None, list]:
    """Decodes a record as training does.

    Args:
        serialized: the record.
        example: `read_example` of it.
        num_classes: of the data set.

    Returns:
        What is kept of it (None when it cannot be decoded), and a list of what is wrong.
    """
    problems = _check_formats(example)
    try:
        parsed = records.parse(serialized)
    except tf.errors.OpError as error:
        message = error.message.splitlines()[0]
        return None, [*problems, f"expected a photo and a label map, cannot decode: {message}"]
    image, label = parsed["image"].numpy(), parsed["label"].numpy()
    problems += _check_sizes(example, image, label)
    values = frozenset(np.flatnonzero(label_files.value_counts(label[..., 0])).tolist())
    allowed = {0, VOID, *(label_value(c) for c in range(1, num_classes + 1))}
    if values - allowed:
        problems.append(
            f"expected label ids 0..{max(allowed - {VOID})} and {VOID}, received "
            f"also {sorted(values - allowed)[:8]}"
        )
    return (
        Fingerprint(
            image_sha256=hashlib.sha256(example[records.IMAGE]).digest(),
            perceptual=perceptual_hash(image),
            values=values,
        ),
        problems,
    )


def _check_formats(example):
    problems = []
    image, name = example[records.IMAGE], example[records.IMAGE_FORMAT]
    if name not in _MAGIC or not image.startswith(_MAGIC[name]):
        problems.append(
            f"expected a JPEG or PNG photo as {records.IMAGE_FORMAT} says, received "
            f"{name.decode(errors='replace')!r} and bytes that begin with {image[:4]!r}"
        )
    label, name = example[records.LABEL], example[records.LABEL_FORMAT]
    # A palette would be decoded to colours, and those taken for ids.
    if name != b"png" or not label.startswith(_MAGIC[b"png"]) or label[_PNG_KIND] != _GREY8:
        problems.append(
            "expected an 8-bit grey PNG as label map, received format "
            f"{name.decode(errors='replace')!r}, bits and colour type {list(label[_PNG_KIND])}"
        )
    return problems


def _check_sizes(example, image, label):
    stored = example[records.HEIGHT], example[records.WIDTH]
    sizes = {
        "stored": stored,
        "photo": image.shape[:2],
        "label map": label.shape[:2],
    }
    if len(set(sizes.values())) == 1:
        return []
    text = ", ".join(f"{name} {w}x{h}" for name, (h, w) in sizes.items())
    return [f"expected one size, received {text}"]
