"""Episodes of a manifest as batches of tensors: what records of whole episodes must equal."""

import tensorflow as tf

from crnet_tf.data import episodes, records
from crnet_tf.evaluation.manifest import Archive, Entry
from crnet_tf.images.mask_values import VOID


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
        key: tf.constant(VOID if key == "query_truth" else 0, spec.dtype)
        for key, spec in decoded.element_spec.items()
    }
    shapes = {
        key: [None, None, 1] if key == "query_truth" else spec.shape
        for key, spec in decoded.element_spec.items()
    }
    return decoded.padded_batch(batch_size, shapes, values).prefetch(2)
