"""The on-disk contract: one (photo, label map) <-> one tf.train.Example, and the index.

    records/index.json                                   counts, sha256, source, filter, names
    records/<split>/class_07-00000-of-00001.tfrecord     every photo that holds class 7

The keys are those of the TensorFlow Model Garden, whose segmentation decoder can read
these files. A photo that holds two classes stands in two streams.

Label maps have 8 bits: class c is drawn as `label_value(c)`, which is c itself up to 254
classes. Beyond (FSS-1000) values repeat, and no photo may hold two classes of one value.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from crnet_tf.common.errors import InputError
from crnet_tf.data.index import FORMAT_VERSION, INDEX_NAME, Index, load_index
from crnet_tf.data.record_places import damaged, places, stretches

__all__ = [
    "FORMAT_VERSION", "INDEX_NAME", "Index", "Stream", "decoded", "filename", "label_of",
    "load_index", "parse", "photo", "record_at", "serialize", "stored", "streams", "stretches",
    "whole",
]  # fmt: skip

IMAGE = "image/encoded"
IMAGE_FORMAT = "image/format"
HEIGHT = "image/height"
WIDTH = "image/width"
FILENAME = "image/filename"
LABEL = "image/segmentation/class/encoded"
LABEL_FORMAT = "image/segmentation/class/format"


def serialize(
    image: bytes, image_format: str, label: bytes, filename: str, height: int, width: int
) -> bytes:
    """One photo with its label map as a serialized Example; same input, same bytes.

    Args:
        image: encoded RGB (or grey) photo.
        image_format: "jpeg" or "png".
        label: single-channel PNG of class ids (`label_value`), 255 void, of the photo's size.
        filename: source id of the photo, without folder or extension.
        height, width: size of the photo in pixels.
    """
    example = tf.train.Example()
    feature = example.features.feature
    feature[IMAGE].bytes_list.value.append(image)
    feature[IMAGE_FORMAT].bytes_list.value.append(image_format.encode())
    feature[HEIGHT].int64_list.value.append(height)
    feature[WIDTH].int64_list.value.append(width)
    feature[FILENAME].bytes_list.value.append(filename.encode())
    feature[LABEL].bytes_list.value.append(label)
    feature[LABEL_FORMAT].bytes_list.value.append(b"png")
    return example.SerializeToString(deterministic=True)


def parse(serialized) -> dict:
    """Inverse of `serialize`, as TensorFlow ops (eager and inside tf.data).

    Returns:
        dict: `image` uint8 [H,W,3] RGB, `label` uint8 [H,W,1], `filename` string scalar.
    """
    features = tf.io.parse_single_example(
        serialized,
        {key: tf.io.FixedLenFeature([], tf.string) for key in (IMAGE, LABEL, FILENAME)},
    )
    return {
        "image": decoded(features[IMAGE]),
        "label": tf.io.decode_png(features[LABEL], channels=1),
        "filename": features[FILENAME],
    }


def photo(serialized: bytes, source: object) -> tuple[np.ndarray, np.ndarray]:
    """Photo uint8 [H,W,3] and label map uint8 [H,W] of a record.

    Raises:
        InputError: it cannot be decoded; `source` says which it is.
    """
    try:
        found = parse(serialized)
    except tf.errors.InvalidArgumentError as error:
        raise damaged(source, error.message.splitlines()[0]) from error
    return found["image"].numpy(), found["label"].numpy()[..., 0]


def label_of(serialized):
    """Label map uint8 [H,W,1] of a record, without decoding its photo."""
    features = tf.io.parse_single_example(
        serialized, {LABEL: tf.io.FixedLenFeature([], tf.string)}
    )
    return tf.io.decode_png(features[LABEL], channels=1)


def decoded(image):
    """Bytes of a JPEG or PNG (string scalar) -> uint8 [H,W,3] RGB."""
    # decode_jpeg reads PNG as well; the default DCT is fast and inexact.
    return tf.io.decode_jpeg(image, channels=3, dct_method="INTEGER_ACCURATE")


def filename(serialized: bytes) -> str:
    """Source id of a serialized record, without decoding its pictures."""
    example = tf.train.Example.FromString(serialized)
    return example.features.feature[FILENAME].bytes_list.value[0].decode()


_OPS_OF_RECORDS = ("ParseSingleExample", "DecodeJpeg", "DecodePng")


@contextlib.contextmanager
def whole(source):
    """Around what reads records: a file that is cut off or damaged, or a picture that cannot be
    decoded, becomes a ValueError that names `source`, which may be the folder of several."""
    try:
        yield
    except tf.errors.OpError as error:
        # The graph is named before and after what is wrong.
        said, _, node = error.message.partition("\n\t [[")
        said = said.split("\n")[-1].rpartition("::Root::")[-1]
        # Lengths and checksums in a file, or nothing where a record was (`record_at`).
        unread = isinstance(error, tf.errors.DataLossError) or "Dataset was empty" in said
        if not unread and not any(f"node {op}" in node for op in _OPS_OF_RECORDS):
            raise
        raise damaged(source, said) from error


@tf.function(
    input_signature=[
        tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.int64)
    ]
)  # fmt: skip
def record_at(path, start, length):
    """The serialized record at a `Place` of a file, as TensorFlow ops (eager and inside
    tf.data): string scalar. Raises tf.errors.DataLossError where a checksum is wrong."""
    # What tf.data.TFRecordDataset is made of; it always begins at a file's beginning.
    frames = tf.raw_ops.TFRecordDatasetV2(
        filenames=[path], compression_type="", buffer_size=length + 16, byte_offsets=[start]
    )
    spec = tf.TensorSpec([], tf.string)
    return tf.data.experimental.from_variant(frames, spec).take(1).get_single_element()


def stored(paths: list[str]) -> Iterator[bytes]:
    """Serialized records of TFRecord files, in order.

    Raises:
        ValueError: a file is cut off or damaged.
    """
    with whole(", ".join(paths)):
        yield from tf.data.TFRecordDataset(paths).as_numpy_iterator()


class Stream(Mapping):
    """Serialized records of TFRecord files by photo id, in order, read when they are asked for:
    a large set would not fit in memory.

    Opening one reads a few bytes of each record.

    Attributes:
        places: {photo id: `Place`}.

    Args:
        paths: must stay as they are while this is used.

    Raises:
        InputError: a file is cut off or damaged, or has changed since.
    """

    def __init__(self, paths: list[str]):
        self._states = {path: _state(path) for path in paths}
        self.places = {name: place for path in paths for name, place in places(path, FILENAME)}

    def __getitem__(self, name: str) -> bytes:
        place = self.places[name]
        if _state(place.path) != self._states[place.path]:
            raise InputError(
                f"{place.path}: expected the records that were there at first, received "
                "others. Build records when nothing uses them, and give the command again."
            )
        with whole(place.path):
            return record_at(*place).numpy()

    def __contains__(self, name) -> bool:
        return name in self.places  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def streams(index: Index, split: str, classes) -> dict[int, Stream]:
    """{class id: its records}, as many as the index says.

    Raises:
        InputError: there are others, or what `Stream` raises.
    """
    found = {class_id: Stream(index.files(split, class_id)) for class_id in classes}
    for class_id, stream in found.items():
        if len(stream) != index.count(split, class_id):
            raise damaged(
                index.directory / split,
                f"{len(stream)} of class {class_id}, of which {INDEX_NAME} lists "
                f"{index.count(split, class_id)}",
            )
    return found


def _state(path):
    """What changes when a file is written or replaced."""
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns
