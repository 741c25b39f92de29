"""Episodes as TFRecords that need nothing of this project to be read: ids, PNG and JPEG bytes.

One tf.train.Example an episode of K supports:

    class_id               int64   of the records' index
    image_size             int64   side of the square pictures, px; 0: photos as they are
    support/id             bytes [K]
    support/image/encoded  bytes [K]   PNG (or JPEG where image_size is 0), RGB
    support/mask/encoded   bytes [K]   single-channel PNG: 0, 1, and 255 for void and padding
    query/id, query/image/encoded, query/mask/encoded   bytes, likewise
    query/truth/encoded    bytes   the query's mask at the photo's own size, for scoring
"""

import itertools
import pathlib

import numpy as np
import tensorflow as tf

from crnet_tf.common.errors import InputError
from crnet_tf.data import episodes, records, resizing
from crnet_tf.data.frames import Frame
from crnet_tf.evaluation.manifest import Archive, Entry
from crnet_tf.images import photos, png_files


def serialize(archive: Archive, entry: Entry, frame: Frame | None = None) -> bytes:
    """An episode as a serialized Example; the same input gives the same bytes.

    Args:
        frame: store pictures of its size, rounded to whole grey levels. None: store the
            photos' own bytes, and masks of their size.
    """
    example = tf.train.Example()
    feature = example.features.feature
    feature["class_id"].int64_list.value.append(entry.class_id)
    feature["image_size"].int64_list.value.append(frame.size if frame else 0)
    names = (*entry.support, entry.query)
    for position, record in enumerate(archive.serialized(entry)):
        role = "support" if position < len(entry.support) else "query"
        parsed = records.parse(record)
        mask = episodes.binary_mask(parsed["label"], entry.class_id)
        values = {
            "id": names[position].encode(),
            "image/encoded": _image(record, parsed["image"], frame),
            "mask/encoded": _mask(frame.mask(mask) if frame else mask),
        }
        if role == "query":
            values["truth/encoded"] = _mask(mask)
        for key, value in values.items():
            feature[f"{role}/{key}"].bytes_list.value.append(value)
    return example.SerializeToString(deterministic=True)


def episodes_from_tfrecords(path: photos.PathLike, image_size: int | None = None):
    """Episodes of a file, in order: tf.data of dicts as in `data.episodes`, not batched.

    Args:
        image_size: side of the square photos, px; may be left out where the file says it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no episodes, or pictures of another size.
    """
    shot, size = _shot_and_size(path)
    if image_size is None and not size:
        raise InputError(
            f"{path}: expected an image size, as it holds photos of any size, received none."
        )
    if size and image_size not in (None, size):
        raise InputError(
            f"{path}: expected an image size of {size} px, which it was built with, received "
            f"{image_size}. Leave it out, or build the episodes again."
        )
    return tf.data.TFRecordDataset([str(path)]).map(
        lambda record: _parse(record, shot, image_size or size),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


class StoredEpisodes:
    """A file of episodes in the place of the records they were drawn from, in memory.

    Args:
        path: written without `image_size`: with the photos' own bytes.

    Attributes:
        entries: the episodes, in order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no episodes, or squares instead of photos, or is damaged.
    """

    def __init__(self, path: photos.PathLike):
        _, size = _shot_and_size(path)
        if size:
            raise InputError(
                f"{path}: expected episodes with the photos' own bytes, received squares of "
                f"{size} px, for one framing only. Build them without --image_size."
            )
        self.entries, self._photos = [], {}
        for record in records.stored([str(path)]):
            feature = tf.train.Example.FromString(record).features.feature
            class_id = feature["class_id"].int64_list.value[0]
            names = {role: _strings(feature, f"{role}/id") for role in ("support", "query")}
            ids = {role: tuple(name.decode() for name in some) for role, some in names.items()}
            self.entries.append(Entry(class_id, ids["support"], ids["query"][0]))
            for role, some in ids.items():
                images = _strings(feature, f"{role}/image/encoded")
                masks = _strings(feature, f"{role}/mask/encoded")
                for name, image, mask in zip(some, images, masks, strict=True):
                    self._photos[name, class_id] = image, mask

    def masked(self, name: str, class_id: int) -> tuple[np.ndarray, np.ndarray]:
        """As `manifest.Archive.masked`."""
        image, mask = self._photos[name, class_id]
        return (
            records.decoded(image).numpy(),
            tf.io.decode_png(mask, channels=1).numpy()[..., 0],
        )


def _strings(feature, key):
    return list(feature[key].bytes_list.value)


def _shot_and_size(path):
    """Supports of the first episode of a file, and its side of the square pictures."""
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(
            f"{path}: expected a TFRecord of episodes, received nothing. Build it with "
            "crnet build episodes --tfrecords."
        )
    for record in itertools.islice(records.stored([str(path)]), 1):
        feature = tf.train.Example.FromString(record).features.feature
        if feature["support/id"].bytes_list.value and feature["image_size"].int64_list.value:
            size = feature["image_size"].int64_list.value[0]
            return len(feature["support/id"].bytes_list.value), size
    raise InputError(
        f"{path}: expected a TFRecord of episodes, received none in it. Build it with "
        "crnet build episodes --tfrecords."
    )


def _parse(record, shot, size):
    counts = {"support": shot, "query": 1}
    keys = {
        f"{role}/{kind}/encoded": tf.io.FixedLenFeature([count], tf.string)
        for role, count in counts.items()
        for kind in ("image", "mask")
    }
    parsed = tf.io.parse_single_example(
        record, keys | {"class_id": tf.io.FixedLenFeature([], tf.int64)}
    )

    def images(role):
        encoded = tf.unstack(parsed[f"{role}/image/encoded"], counts[role])
        return [resizing.resize_image(records.decoded(e), size) for e in encoded]

    def masks(role):
        encoded = tf.unstack(parsed[f"{role}/mask/encoded"], counts[role])
        return [resizing.resize_mask(tf.io.decode_png(e, channels=1), size) for e in encoded]

    return {
        "support_image": tf.stack(images("support")),
        "support_mask": tf.stack(masks("support")),
        "query_image": images("query")[0],
        "query_mask": masks("query")[0],
        "class_id": tf.cast(parsed["class_id"], tf.int32),
    }


def _image(record, pixels, frame):
    if frame is None:
        example = tf.train.Example.FromString(record)
        return example.features.feature[records.IMAGE].bytes_list.value[0]
    framed = np.clip(np.rint(frame.image(pixels).numpy()), 0, 255)
    return png_files.encode_png(framed.astype(np.uint8))


def _mask(mask):
    return png_files.encode_label(mask.numpy()[..., 0])
