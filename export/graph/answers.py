"""Framed supports -> state; features of queries -> probabilities, masks and presence at the
photos' own size: graph code that an exported model takes along.
"""

import tensorflow as tf

from crnet_tf.fewshot.prior import object_average
from crnet_tf.network.layers import resize_align_corners
from crnet_tf.network.model import CRNet
from crnet_tf.network.parts import Parts, encode, segment, state_of_features
from crnet_tf.network.prototypes import unit
from export.graph import framing

PROTOTYPE = "prototype"


def state_of(network: CRNet, image, mask) -> dict:
    """All that answers need of K supports.

    Args:
        image: [K,S,S,3] RGB 0..255. mask: uint8 [K,S,S,1] in {0,1,255}.

    Returns:
        `importance` and `category` [K,1,1,C], `foreground` and `background` [K,1,1,F] (each
        absent where it is not used; see `parts.support_state`), and `prototype` [K,F'], the
        object's average in the last level.
    """
    parts = network.parts
    features = encode(parts, {"support_image": image, "support_mask": mask})
    last_level, cells = levels(parts, features["support"])
    state = state_of_features(parts, features, mask, cells)
    state[PROTOTYPE] = object_average(last_level, mask)
    return state


def levels(parts: Parts, features):
    """The last level of encoder features and their cells (`Prototypes`), by one pass through
    the backbone's last stage where that is apart from the encoder."""
    last_level = parts.prototypes.last_level(features)
    return last_level, parts.prototypes.cells(features, last_level)


def presence(parts: Parts, prototypes, last_level):
    """Prototypes [K,F], last level of queries [B,h,w,F] -> [B], as `fewshot.presence`."""
    objects, cells = unit(parts.centre(prototypes)), unit(parts.centre(last_level))
    cosine = tf.tensordot(cells, objects, [[-1], [-1]])  # [B,h,w,K]
    return tf.reduce_mean(tf.reduce_max(cosine, axis=(1, 2)), axis=-1)


def fused(parts: Parts, state: dict, photos: dict, steps: int, size: int, shots: int = 1):
    """Mean of the answers that each of K supports gives (Sec. 6).

    Args:
        state: of K supports; see `state_of`.
        photos: `parts.view` of B queries. size: side S of the probability maps.
        shots: number of supports that each of the K is the mean of.

    Returns:
        Probabilities float32 [B,S,S] after the last refinement step.
    """
    vectors = {name: value for name, value in state.items() if name != PROTOTYPE}
    if photos["projected"].shape[0] == 1:  # one photo meets all supports as it is
        logits = segment(parts, vectors, photos, steps, shots=shots)[:, -1]
        return tf.reduce_mean(_foreground(logits, size), axis=0, keepdims=True)
    count, batch = tf.shape(state[PROTOTYPE])[0], tf.shape(photos["projected"])[0]
    pairs = {name: tf.tile(value, [batch, 1, 1, 1]) for name, value in vectors.items()}
    photos = {name: tf.repeat(value, count, axis=0) for name, value in photos.items()}
    logits = segment(parts, pairs, photos, steps, shots=shots)[:, -1]
    probability = tf.reshape(_foreground(logits, size), [batch, count, size, size])
    return tf.reduce_mean(probability, axis=1)


def _foreground(logits, size):
    """Logits [N,h,w,2] -> probability [N,S,S]."""
    return tf.nn.softmax(resize_align_corners(logits, (size, size)))[..., 1]


def restored(maps, height, width):
    """Mean over the test scales, at the photo's size: [B,s,s,N] each -> float32 [B,H,W,N]."""
    large = [framing.bilinear(value, (height, width)) for value in maps]
    return tf.clip_by_value(tf.add_n(large) / len(large), 0, 1)


def decided(probability, threshold: float):
    """[B,H,W,N] -> uint8 [B,H,W]: 0 background, n the nth class (`nway.decide`)."""
    best = tf.argmax(probability, axis=-1, output_type=tf.int32) + 1
    certain = tf.reduce_max(probability, axis=-1) > threshold
    return tf.cast(tf.where(certain, best, 0), tf.uint8)


def encoded(maps, sizes, threshold: float, mask_scale: int):
    """Answers as PNG files: maps [B,s,s,N] of each test scale, int32 [B,2] heights and widths.

    Args:
        mask_scale: what the classes 1..N of the mask are multiplied with.

    Returns:
        Masks: strings [B]; probabilities in 0..255: strings [B,N].
    """
    count = maps[0].shape[-1]

    def one(element):
        mask, files = _files(*element, threshold)
        return _png(mask * tf.constant(mask_scale, tf.uint8)), files

    specs = tf.TensorSpec([], tf.string), tf.TensorSpec([count], tf.string)
    # One after the other: a batch of large photos holds one of them at its full size.
    return tf.map_fn(
        one, (tuple(maps), sizes), fn_output_signature=specs, parallel_iterations=1
    )


def _files(maps, size, threshold):
    """Maps [s,s,N] of each test scale -> what is `decided` uint8 [H,W,1], PNG files [N].

    Two classes at a time are held at the photo's size, however many there are.
    """
    count = maps[0].shape[-1]

    def add(n, best, mask, files):
        one = restored([value[None, ..., n, None] for value in maps], size[0], size[1])[0]
        mask = tf.where(one > best, tf.cast(n + 1, tf.uint8), mask)
        files = files.write(n, _png(tf.cast(tf.round(255 * one), tf.uint8)))
        return n + 1, tf.maximum(best, one), mask, files

    shape = [size[0], size[1], 1]
    start = (
        tf.constant(0),
        tf.fill(shape, tf.constant(threshold, tf.float32)),
        tf.zeros(shape, tf.uint8),
        tf.TensorArray(tf.string, count),
    )
    _, _, mask, files = tf.while_loop(
        lambda n, *_: n < count, add, start, parallel_iterations=2
    )
    return mask, files.stack()


def _png(pixels):
    # A photo's size is large: by default, files would take longer than the network.
    return tf.io.encode_png(pixels, compression=1)
