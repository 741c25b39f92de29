"""The on-disk contract: one (photo, label map) <-> one tf.train.Example, and the index.

    records/index.json                                   counts, sha256, source, filter, names
    records/<split>/class_07-00000-of-00001.tfrecord     every photo that holds class 7

The keys are those of the TensorFlow Model Garden, whose segmentation decoder can read
these files. A photo that holds two classes stands in two streams.

Label maps have 8 bits: class c is drawn as `label_value(c)`, which is c itself up to 254
classes. Beyond (FSS-1000) values repeat, and no photo may hold two classes of one value.
"""

from collections.abc import Iterator

import tensorflow as tf

from crnet_tf.index import FORMAT_VERSION, INDEX_NAME, Index, label_value, load_index

__all__ = [
    "FORMAT_VERSION", "INDEX_NAME", "Index", "decoded", "filename", "label_value", "load_index",
    "parse", "serialize", "stored",
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


def decoded(image):
    """Bytes of a JPEG or PNG (string scalar) -> uint8 [H,W,3] RGB."""
    # decode_jpeg reads PNG as well; the default DCT is fast and inexact.
    return tf.io.decode_jpeg(image, channels=3, dct_method="INTEGER_ACCURATE")


def filename(serialized: bytes) -> str:
    """Source id of a serialized record, without decoding its pictures."""
    example = tf.train.Example.FromString(serialized)
    return example.features.feature[FILENAME].bytes_list.value[0].decode()


def stored(paths: list[str]) -> Iterator[bytes]:
    """Serialized records of TFRecord files, in order.

    Raises:
        ValueError: a file is cut off or damaged.
    """
    try:
        yield from tf.data.TFRecordDataset(paths).as_numpy_iterator()
    except tf.errors.DataLossError as error:
        raise ValueError(
            f"{', '.join(paths)}: expected whole records, received {error.message}. Copy them "
            "again, or build them again."
        ) from error
