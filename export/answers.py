"""Projected queries -> probabilities, masks, presence at the photos' size, in graph code."""

import tensorflow as tf

from crnet_tf.layers import resize_align_corners
from crnet_tf.parts import Parts, segment
from crnet_tf.presence import CONFIDENT_SHARE


def fused(parts: Parts, state: dict, projected, steps: int, size: int):
    """Mean of the answers that each of K supports gives (Sec. 6).

    Args:
        state: of K supports, `importance` and `category` [K,1,1,C]; see `parts.support_state`.
        projected: [B,h,w,C] of B queries. size: side S of the probability maps.

    Returns:
        Probabilities float32 [B,S,S] after the last refinement step.
    """
    shots = tf.shape(next(iter(state.values())))[0]
    batch = tf.shape(projected)[0]
    pairs = {name: tf.tile(value, [batch, 1, 1, 1]) for name, value in state.items()}
    logits = segment(parts, pairs, tf.repeat(projected, shots, axis=0), steps)[:, -1]
    probability = tf.nn.softmax(resize_align_corners(logits, (size, size)))[..., 1]
    return tf.reduce_mean(tf.reshape(probability, [batch, shots, size, size]), axis=1)


def restored(maps, height, width):
    """Mean over the test scales, at the photo's size: [B,s,s,N] each -> float32 [B,H,W,N]."""
    large = [
        tf.raw_ops.ResizeBilinear(images=value, size=[height, width], align_corners=True)
        for value in maps
    ]
    return tf.clip_by_value(tf.add_n(large) / len(large), 0, 1)


def decided(probability, threshold: float):
    """[B,H,W,N] -> uint8 [B,H,W]: 0 background, n the nth class (`crnet_tf.nway.decide`)."""
    best = tf.argmax(probability, axis=-1, output_type=tf.int32) + 1
    certain = tf.reduce_max(probability, axis=-1) > threshold
    return tf.cast(tf.where(certain, best, 0), tf.uint8)


def presence(probability):
    """[B,H,W,N] -> float32 [B,N], the score of `crnet_tf.presence.presence`."""
    shape = tf.shape(probability)
    pixels = shape[1] * shape[2]
    flat = tf.reshape(tf.transpose(probability, [0, 3, 1, 2]), [shape[0], shape[3], pixels])
    share = tf.round(CONFIDENT_SHARE * tf.cast(pixels, tf.float64))
    largest = tf.math.top_k(flat, tf.maximum(1, tf.cast(share, tf.int32)), sorted=False)
    return tf.reduce_mean(largest.values, axis=-1)


def encoded(maps, sizes, threshold: float, mask_scale: int):
    """Answers as PNG files: maps [B,s,s,N] of each test scale, int32 [B,2] heights and widths.

    Args:
        mask_scale: what the classes 1..N of the mask are multiplied with.

    Returns:
        Masks: strings [B]; probabilities in 0..255: strings [B,N]; presence: float32 [B,N].
    """
    count = maps[0].shape[-1]

    def one(element):
        values, size = element
        probability = restored([value[None] for value in values], size[0], size[1])
        mask = decided(probability, threshold)[0, ..., None] * tf.constant(mask_scale, tf.uint8)
        levels = tf.cast(tf.round(255 * probability[0]), tf.uint8)
        files = [tf.io.encode_png(levels[..., n : n + 1]) for n in range(count)]
        return tf.io.encode_png(mask), tf.stack(files), presence(probability)[0]

    specs = (
        tf.TensorSpec([], tf.string),
        tf.TensorSpec([count], tf.string),
        tf.TensorSpec([count], tf.float32),
    )
    # One after the other: a batch of large photos holds one of them at its full size.
    return tf.map_fn(
        one, (tuple(maps), sizes), fn_output_signature=specs, parallel_iterations=1
    )
