"""Records -> episodes: sampling, augmentation, batching (Sec. 3).

An episode is one dict everywhere (K shots, H x W pixels; with B first in a batch):

    support_image  [K,H,W,3]  float32 RGB 0..255
    support_mask   [K,H,W,1]  uint8, 0 background, 1 foreground, 255 void
    query_image    [H,W,3]    float32
    query_mask     [H,W,1]    uint8
    class_id       []         int32
"""

import tensorflow as tf

from crnet_tf.common.errors import InputError
from crnet_tf.images.mask_values import class_mask, label_value
from crnet_tf.data import records
from crnet_tf.data.warp import zoom

SHUFFLE_BUFFER = 1024


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
) -> tf.data.Dataset:
    """Endless batches of training episodes; the same arguments give the same batches.

    Only files of `classes` are opened. TensorFlow's global seed takes part as well.

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

    Raises:
        ValueError: a class has fewer than shot+1 photos (with the counts).
    """
    index = records_dir
    if not isinstance(index, records.Index):
        index = records.load_index(records_dir)
    check_counts(index, split, classes, shot)
    if unseen:
        left = {c: _count_without(index, split, c, unseen) for c in classes}
        check_remaining(index, left, shot)
    groups = [class_groups(index, split, c, shot, seed + c, unseen) for c in classes]
    drawn = tf.data.Dataset.sample_from_datasets(
        groups, seed=seed, rerandomize_each_iteration=False
    )

    def decode(number, group):
        episode_seed = tf.stack([tf.cast(seed, tf.int64), number])
        episode = to_episode(group, image_size, augment, episode_seed)
        return rotate_colours(episode, episode_seed) if colour_rotation else episode

    return (
        drawn.enumerate()
        .skip(skip * batch_size)
        .map(decode, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size, drop_remainder=True)
        .prefetch(2)
    )


def check_counts(index: records.Index, split: str, classes, shot: int) -> None:
    """Raises ValueError when a class cannot fill an episode of shot+1 distinct photos."""
    # tf.data would skip such a class without a word.
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


def _count_without(index, split, class_id, unseen):
    stream = tf.data.TFRecordDataset(index.files(split, class_id))
    left = stream.filter(lambda serialized: ~shows(serialized, unseen))
    return int(left.reduce(0, lambda total, _: total + 1))


def shows(serialized, classes):
    """Whether a record's label map has a pixel of one of the class ids: bool scalar."""
    label = records.parse(serialized)["label"]
    values = tf.constant([label_value(c) for c in classes], tf.uint8)
    return tf.reduce_any(label == values)


def class_groups(
    index: records.Index, split: str, class_id: int, shot: int, seed: int, unseen=()
) -> tf.data.Dataset:
    """Endless groups of shot+1 distinct serialized records of one class, with its id."""
    stream = tf.data.TFRecordDataset(index.files(split, class_id))
    # An emptied file would otherwise take its class out of training without a word.
    complete = tf.data.experimental.assert_cardinality(index.count(split, class_id))
    stream = stream.apply(complete)
    if unseen:
        stream = stream.filter(lambda serialized: ~shows(serialized, unseen))
    groups = stream.shuffle(SHUFFLE_BUFFER, seed=seed).batch(shot + 1, drop_remainder=True)
    return groups.repeat().map(
        lambda group: {"records": group, "class_id": tf.constant(class_id, tf.int32)}
    )


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


def resize_image(image, size: int):
    """[H,W,3] -> float32 [size,size,3], bilinear with aligned corners."""
    resized = tf.raw_ops.ResizeBilinear(
        images=image[None], size=[size, size], align_corners=True
    )
    return tf.ensure_shape(resized[0], [size, size, 3])


def resize_mask(mask, size: int):
    """[H,W,1] -> uint8 [size,size,1], nearest with aligned corners."""
    pixels = tf.cast(mask[..., 0], tf.uint8)
    for length in (tf.shape(mask)[0], tf.shape(mask)[1]):
        step = tf.cast(length - 1, tf.float32) / max(size - 1, 1)
        nearest = tf.cast(tf.range(size, dtype=tf.float32) * step + 0.5, tf.int32)
        # Whole rows, then whole columns as rows: a third of ResizeNearestNeighbor's time.
        pixels = tf.transpose(tf.gather(pixels, nearest))
    return tf.ensure_shape(pixels[..., None], [size, size, 1])


def flip_scale_crop(image, mask, size: int, seed, foreground=1):
    """CANet's augmentation, alike for photo and mask: flip, scale 1..1.5, random crop.

    What the crop would show of the scaled photo is cut out first, in whole pixels, and only
    that is resized. A crop that lost the whole object, the mask's value `foreground`, is given
    up for the uncropped photo.

    Returns:
        float32 [size,size,3], uint8 [size,size,1].
    """
    flip, scale, top, left = tf.unstack(tf.random.stateless_uniform([4], seed))
    whole = tf.shape(mask)[:2]
    shown = tf.cast(tf.round(tf.cast(whole, tf.float32) / zoom(scale)), tf.int32)
    room = tf.cast(whole - shown + 1, tf.float32)
    start = tf.cast(tf.stack([top, left]) * room, tf.int32)

    def flipped(pixels):
        return tf.cond(flip < 0.5, lambda: tf.reverse(pixels, [1]), lambda: pixels)

    def cut(pixels):
        begin, length = tf.concat([start, [0]], 0), tf.concat([shown, [-1]], 0)
        return flipped(tf.slice(pixels, begin, length))

    cropped = resize_mask(cut(mask), size)
    return tf.cond(
        tf.reduce_any(cropped == foreground),
        lambda: (resize_image(cut(image), size), cropped),
        lambda: (resize_image(flipped(image), size), resize_mask(flipped(mask), size)),
    )


def rotate_colours(episode: dict, seed) -> dict:
    """One random rotation (or reflection) of RGB about mid-grey for a whole episode."""
    rotation, _ = tf.linalg.qr(tf.random.stateless_normal([3, 3], seed))

    def rotate(image):
        return tf.clip_by_value(tf.tensordot(image - 127.5, rotation, 1) + 127.5, 0, 255)

    images = {key: rotate(episode[key]) for key in ("support_image", "query_image")}
    return episode | images


def training_pair(episode: dict) -> tuple[dict, dict]:
    """Batch of 1-shot episodes -> inputs and targets of `CRNet.fit`."""
    support_mask = episode["support_mask"][:, 0]
    inputs = {
        "support_image": episode["support_image"][:, 0],
        "support_mask": support_mask,
        "query_image": episode["query_image"],
    }
    return inputs, {"support_mask": support_mask, "query_mask": episode["query_mask"]}
