"""Which photos an evaluation looks at: seeded episodes, written down by id, with a hash."""

import dataclasses
import hashlib
import json
import random

import tensorflow as tf

from crnet_tf import episodes, files, folds, records


@dataclasses.dataclass(frozen=True)
class Entry:
    """One evaluation episode: K support photos and a query photo of a class, by id."""

    class_id: int
    support: tuple[str, ...]
    query: str

    def to_json(self) -> str:
        """One line of a manifest."""
        return json.dumps(
            {"class_id": self.class_id, "support": list(self.support), "query": self.query}
        )


class Archive:
    """Serialized records of some classes of a split, by class and photo id, in memory."""

    def __init__(self, index: records.Index, split: str, classes):
        self.by_class = {}
        for class_id in classes:
            stream = tf.data.TFRecordDataset(index.files(split, class_id))
            self.by_class[class_id] = {
                records.filename(record): record for record in stream.as_numpy_iterator()
            }
            found, expected = len(self.by_class[class_id]), index.count(split, class_id)
            if found != expected:
                raise ValueError(
                    f"{index.directory / split}: expected {expected} photos of class "
                    f"{class_id}, as {records.INDEX_NAME} says, received {found}. Build the "
                    "records again."
                )

    def serialized(self, entry: Entry) -> list[bytes]:
        """Records of an episode, supports first, the query last."""
        photos = self.by_class[entry.class_id]
        return [photos[name] for name in (*entry.support, entry.query)]


def draw(archive: Archive, shot: int, count: int, seed: int) -> list[Entry]:
    """Episodes of the CANet/HSNet way: the (photo, class) pairs are walked in shuffled order,
    again and again until there are `count`; supports are other photos of the class."""
    generator = random.Random(seed)
    pairs = [
        (c, name) for c, photos in sorted(archive.by_class.items()) for name in sorted(photos)
    ]
    entries = []
    while len(entries) < count:
        generator.shuffle(pairs)
        for class_id, query in pairs[: count - len(entries)]:
            others = sorted(name for name in archive.by_class[class_id] if name != query)
            entries.append(Entry(class_id, tuple(generator.sample(others, shot)), query))
    return entries


def sha256(entries: list[Entry]) -> str:
    """Hash of a manifest: equal hashes, equal episodes."""
    return hashlib.sha256("\n".join(entry.to_json() for entry in entries).encode()).hexdigest()


def write(path, entries: list[Entry]) -> None:
    """One JSON object a line."""
    files.write_text(path, "".join(entry.to_json() + "\n" for entry in entries))


def batches(
    archive: Archive, entries: list[Entry], image_size: int, batch_size: int
) -> tf.data.Dataset:
    """Episodes of a manifest, in order, with the query's label map at the original size.

    Beside an episode's keys: `query_size` [B,2] int32 height and width, and
    `query_truth` uint8 [B,H,W,1] in {0,1,255}, padded with 255 to the largest of the batch.
    """
    shot = len(entries[0].support)

    def generate():
        for entry in entries:
            yield {"records": archive.serialized(entry), "class_id": entry.class_id}

    def decode(group):
        episode = episodes.to_episode(group, image_size, "none", None)
        label = records.parse(group["records"][-1])["label"]
        truth = episodes.binary_mask(label, group["class_id"])
        return episode | {"query_truth": truth, "query_size": tf.shape(label)[:2]}

    signature = {
        "records": tf.TensorSpec([shot + 1], tf.string),
        "class_id": tf.TensorSpec([], tf.int32),
    }
    decoded = tf.data.Dataset.from_generator(generate, output_signature=signature).map(
        decode, num_parallel_calls=tf.data.AUTOTUNE
    )
    values = {
        key: tf.constant(folds.VOID if key == "query_truth" else 0, spec.dtype)
        for key, spec in decoded.element_spec.items()
    }
    shapes = {
        key: [None, None, 1] if key == "query_truth" else spec.shape
        for key, spec in decoded.element_spec.items()
    }
    return decoded.padded_batch(batch_size, shapes, values).prefetch(2)
