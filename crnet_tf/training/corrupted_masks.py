"""A query's own mask, damaged, as the first cache of a training episode (Sec. 4.5).

A cache that is always the network's own last answer holds nothing that the features do not,
and training learns to ignore it. One that knows more than the features has to be read; one
that is wrong in parts has to be corrected.
"""

import numpy as np
import tensorflow as tf

from crnet_tf.config import Config
from crnet_tf.data.shares import WHOLE, Share
from crnet_tf.network.layers import as_foreground
from crnet_tf.network.resizing import resize_area

FARTHEST = 1 / 7  # of a side, that a mask is moved by
COARSE = 5  # blobs are cut out of noise of so many cells a side
BLOB, GAP = 0.72, 0.7  # noise above which cells are added or dropped
UNSURE = (0.05, 0.45)  # range of the probability that stands for a sure 0


def with_query_caches(
    batches, size: tuple[int, int], settings: Config, skip: int = 0, share: Share = WHOLE
):
    """Training batches (inputs, targets), from batch `skip` on -> the same with `query_cache`
    float32 [B,h,w,2] among the inputs, where `Config.corrupted_cache` asks for it."""
    if not settings.corrupted_cache:
        return batches
    count = settings.batch_size // share.workers

    def of_episode(given):
        mask, number = given
        seed = tf.stack([tf.cast(settings.seed, tf.int64), number])
        return query_cache(mask, size, settings.corrupted_cache, seed)

    def add(batch, numbers):
        inputs, targets = batch
        given = targets["query_mask"], numbers
        caches = tf.map_fn(of_episode, given, fn_output_signature=tf.float32)
        return inputs | {"query_cache": tf.ensure_shape(caches, [count, *size, 2])}, targets

    numbers = share.numbers(settings.batch_size, skip).batch(count)
    return tf.data.Dataset.zip((batches, numbers)).map(add)


def query_cache(mask, size: tuple[int, int], share: float, seed):
    """The first cache of an episode: [S,S,1] in {0,1,255} -> float32 [h,w,2].

    Args:
        share: of the episodes that get a damaged mask; the others get an empty cache.
        seed: int64 [2].
    """
    given = tf.random.stateless_uniform([], seed) < share
    return tf.cond(given, lambda: corrupted(mask, size, seed), lambda: tf.zeros([*size, 2]))


def corrupted(mask, size: tuple[int, int], seed):
    """Moved, grown or shrunk, with blobs added and dropped, and unsure: float32 [h,w,2],
    probabilities of background and foreground."""
    numbers = tf.random.stateless_uniform([6], seed + [0, 1 << 32])
    down, right, kind, added, dropped, unsure = tf.unstack(numbers)
    farthest = np.array(size, np.float32) * FARTHEST
    moves = tf.cast(tf.round((2 * tf.stack([down, right]) - 1) * farthest), tf.int32)
    share = tf.roll(resize_area(as_foreground(mask), size), moves, [0, 1])[None]  # [1,h,w,1]
    share = tf.case(
        [
            (kind < 0.25, lambda: tf.nn.max_pool2d(share, 5, 1, "SAME")),
            (kind < 0.5, lambda: -tf.nn.max_pool2d(-share, 3, 1, "SAME")),
        ],
        default=lambda: share,
    )
    blobs, gaps = (_noise(size, seed + [0, number << 33]) for number in (1, 2))
    share = tf.where((blobs > BLOB) & (added < 0.5), 1.0, share)
    share = tf.where((gaps > GAP) & (dropped < 0.5), 0.0, share)
    low, high = UNSURE
    floor = low + (high - low) * unsure
    foreground = floor + (1 - 2 * floor) * share[0]
    return tf.concat([1 - foreground, foreground], axis=-1)


def _noise(size, seed):
    """Smooth noise [1,h,w,1] of 0 to 1."""
    return tf.image.resize(tf.random.stateless_uniform([1, COARSE, COARSE, 1], seed), size)
