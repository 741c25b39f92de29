"""Records -> episodes: which photos are drawn, how they become tensors, batches (Sec. 3).

An episode is one dict everywhere (K shots, H x W pixels; with B first in a batch):

    support_image  [K,H,W,3]  float32 RGB 0..255
    support_mask   [K,H,W,1]  uint8, 0 background, 1 foreground, 255 void
    query_image    [H,W,3]    float32
    query_mask     [H,W,1]    uint8
    class_id       []         int32
"""

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from crnet_tf.common.errors import InputError
from crnet_tf.common.progress import with_progress
from crnet_tf.data import records
from crnet_tf.data.augmentation import flip_scale_crop, rotate_colours
from crnet_tf.data.record_places import Place
from crnet_tf.data.resizing import resize_image, resize_mask
from crnet_tf.data.shares import WHOLE, Share
from crnet_tf.images.mask_values import class_mask, label_value

# Added to the seed of what is drawn of an episode; `to_episode` adds less for each photo.
_CLASS, _PHOTOS, _OTHER = 1 << 60, 1 << 61, 3 << 60


def episodes(
    records_dir,
    classes,
    shot: int = 1,
    seed: int = 0,
    *,
    image_size: int,
    batch_size: int,
    augment: str = "canet",
    colour_rotation: bool = False,
    skip: int = 0,
    split: str = "train",
    unseen=(),
    without_common_class: float = 0,
    share: Share = WHOLE,
) -> tf.data.Dataset:
    """Endless batches of training episodes; the same arguments give the same batches.

    Episode n depends on the seed and n alone: its class is drawn uniformly, then shot+1
    distinct photos of that. Only files of `classes` are opened, and only what is drawn is read.

    Args:
        records_dir: folder with index.json, or a `records.Index`.
        classes: class ids to draw from, uniformly.
        shot: support photos K of an episode.
        seed: of classes, photos and augmentation.
        image_size: side of the square photos, px.
        batch_size: episodes of a batch.
        augment: "canet", "symmetric" or "none"; see `Config.augment`.
        colour_rotation: rotate the colours of an episode's photos alike.
        skip: batches to leave out at the start, to resume where a run stopped.
        split: of the records.
        unseen: class ids; photos that show one of them are left out.
        without_common_class: share of episodes whose query is a photo of another class.
        share: of a batch, that this worker of several gets.

    Raises:
        InputError: a class has fewer than shot+1 photos (with the counts), or a file of records
            is damaged.
    """
    index = records_dir
    if not isinstance(index, records.Index):
        index = records.load_index(records_dir)
    places = places_by_class(index, split, classes, shot, unseen)
    draw = drawing(places, shot, without_common_class)

    def make(number):
        episode_seed = tf.stack([tf.cast(seed, tf.int64), number])
        episode = to_episode(draw(episode_seed), image_size, augment, episode_seed)
        return rotate_colours(episode, episode_seed) if colour_rotation else episode

    return (
        share.numbers(batch_size, skip)
        .map(make, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size // share.workers, drop_remainder=True)
        .prefetch(2)
    )


def places_by_class(
    index: records.Index, split: str, classes, shot: int, unseen=()
) -> dict[int, list[Place]]:
    """{class id: where its photos are}, without those that show a class of `unseen`; raises as
    `episodes` does."""
    check_counts(index, split, classes, shot)
    streams = records.streams(index, split, classes)
    left_out = showing(index, streams, unseen) if unseen else ()
    left = {
        class_id: [place for name, place in stream.places.items() if name not in left_out]
        for class_id, stream in streams.items()
    }
    check_remaining(index, {class_id: len(found) for class_id, found in left.items()}, shot)
    return left


def check_counts(index: records.Index, split: str, classes, shot: int) -> None:
    """Raises ValueError when a class cannot fill an episode of shot+1 distinct photos."""
    short = {c: index.count(split, c) for c in classes if index.count(split, c) < shot + 1}
    if short:
        counts = ", ".join(f"{index.class_names[c - 1]} ({c}): {n}" for c, n in short.items())
        raise InputError(
            f"{shot}-shot episodes need at least {shot + 1} photos of every class in the "
            f"{split} split of {index.directory}; received {counts}. Add photos, lower the "
            "shot, or build the records with a milder --filter."
        )


def check_remaining(index: records.Index, left: dict[int, int], shot: int) -> None:
    """Raises ValueError when too few photos of a class id are left without unseen classes."""
    for class_id, count in left.items():
        if count < shot + 1:
            raise InputError(
                f"drop_novel_images: expected at least {shot + 1} photos of "
                f"{index.class_names[class_id - 1]} ({class_id}) that show no held-out class, "
                f"received {count}. Keep those photos, or add others."
            )


def showing(index: records.Index, streams: Mapping[int, records.Stream], classes) -> set[str]:
    """Ids of the photos, of those in `streams`, whose label map shows one of `classes`."""
    places = {
        name: place for stream in streams.values() for name, place in stream.places.items()
    }
    values = tf.constant([label_value(c) for c in classes], tf.uint8)

    def shows(path, start, length):
        return tf.reduce_any(records.label_of(records.record_at(path, start, length)) == values)

    dataset = tf.data.Dataset.from_tensor_slices(_columns(places.values()))
    answers = dataset.map(shows, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator()
    with records.whole(index.directory):
        answers = with_progress(answers, "label maps", len(places))
        return {name for name, found in zip(places, answers, strict=True) if found}


def drawing(
    places: dict[int, list[Place]], shot: int, without_common_class: float = 0
) -> Callable:
    """What draws and reads the photos of an episode: a seed int64 [2] -> a group, `records`
    string [shot+1], all distinct, and the `class_id` of all, or of all but the last one; eager
    and inside tf.data."""
    class_ids = tf.constant(list(places), tf.int32)
    counts = [len(found) for found in places.values()]
    firsts, counts = tf.constant(np.cumsum([0, *counts[:-1]])), tf.constant(counts, tf.int32)
    paths, starts, lengths = _columns(itertools.chain(*places.values()))

    def draw(seed):
        chosen = tf.random.stateless_uniform(
            [], seed + [_CLASS, 0], 0, len(class_ids), tf.int32
        )
        order = tf.random.stateless_uniform([counts[chosen]], seed + [_PHOTOS, 0])
        photos = firsts[chosen] + tf.cast(tf.math.top_k(order, shot + 1).indices, tf.int64)
        photos = tf.unstack(photos)
        if without_common_class:
            other, which, photo = tf.unstack(
                tf.random.stateless_uniform([3], seed + [_OTHER, 0])
            )
            which = chosen + 1 + tf.cast(which * (len(class_ids) - 1), tf.int32)
            which = which % len(class_ids)
            photo = firsts[which] + tf.cast(
                photo * tf.cast(counts[which], tf.float32), tf.int64
            )
            photos[-1] = tf.where(other < without_common_class, photo, photos[-1])
        read = [records.record_at(paths[row], starts[row], lengths[row]) for row in photos]
        return {"records": tf.stack(read), "class_id": class_ids[chosen]}

    return draw


def _columns(places):
    """Paths [N], starts [N] and lengths [N] of places, as tensors."""
    paths, starts, lengths = zip(*places, strict=True)
    return tf.constant(paths), tf.constant(starts, tf.int64), tf.constant(lengths, tf.int64)


def to_episode(group: dict, image_size: int, augment: str, seed) -> dict:
    """A group of K+1 serialized records -> an episode; the last photo is the query."""
    class_id = group["class_id"]
    photos = tf.unstack(group["records"])
    images, masks = [], []
    for position, serialized in enumerate(photos):
        is_query = position == len(photos) - 1
        record = records.parse(serialized)
        image, label = record["image"], record["label"]
        if augment == "symmetric" or (augment == "canet" and not is_query):
            value = tf.cast(label_value(class_id), tf.uint8)
            image, label = flip_scale_crop(
                image, label, image_size, seed + [0, position << 40], value
            )
        else:
            image, label = resize_image(image, image_size), resize_mask(label, image_size)
        images.append(image)
        masks.append(binary_mask(label, class_id))
    return {
        "support_image": tf.stack(images[:-1]),
        "support_mask": tf.stack(masks[:-1]),
        "query_image": images[-1],
        "query_mask": masks[-1],
        "class_id": class_id,
    }


def binary_mask(label, class_id):
    """Label map [H,W,1] uint8 -> 1 where it shows `class_id`, 255 where void, 0 elsewhere."""
    return class_mask(label, tf.cast(label_value(class_id), tf.uint8), tf.where)


def training_pair(episode: dict) -> tuple[dict, dict]:
    """Batch of 1-shot episodes -> inputs and targets of `CRNet.fit`."""
    support_mask = episode["support_mask"][:, 0]
    inputs = {
        "support_image": episode["support_image"][:, 0],
        "support_mask": support_mask,
        "query_image": episode["query_image"],
    }
    return inputs, {"support_mask": support_mask, "query_mask": episode["query_mask"]}
