"""The one place where answers are made: tensors in, tensors out.

    answered    K supports, B photos -> probabilities of the object, of the frame's size
    AnswerGraphs    the same of one photo after each refinement step, for `Learner`
    fused       of K supports -> one answer
    presence    is the object there at all? (`rivals`: and not what was falsely found)
    restored    ... at the photos' own size, with edges that follow theirs, mean over the test
                scales
    there       ... which of several classes there are
    decided     ... a class a pixel

`Learner` and exported graphs call these functions.
"""

import dataclasses

import tensorflow as tf

from crnet_tf.fewshot import deciding, edges
from crnet_tf.network.layers import masked_average, unit
from crnet_tf.network.model import CRNet
from crnet_tf.network.parts import Parts, SupportState, branch_logits
from crnet_tf.network.resizing import bilinear, resize_align_corners, resize_area


def joined(states: list[SupportState], mean: bool = False) -> SupportState:
    """States of several supports as one of all [K,..], or as their mean [1,..]."""
    named = [state.tensors() for state in states]
    together = {name: tf.concat([one[name] for one in named], axis=0) for name in named[0]}
    return mean_of(SupportState(**together)) if mean else SupportState(**together)


def mean_of(state: SupportState) -> SupportState:
    """State of K supports [K,..] -> of their mean [1,..]."""
    named = state.tensors().items()
    return SupportState(**{n: tf.reduce_mean(v, axis=0, keepdims=True) for n, v in named})


def foreground(logits, size: int):
    """Logits [...,h,w,2] -> probability of the foreground float32 [...,S,S]."""
    return tf.nn.softmax(resize_align_corners(logits, (size, size)))[..., 1]


def fused(answers, agreement=None):
    """One answer out of K: their mean (Sec. 6).

    Args:
        answers: [K,T,S,S], of T refinement steps; any shape [K,...] without `agreement`.
        agreement: [K,T], weighs each support's answer; all count alike where all are 0.
    """
    if agreement is None:
        return tf.reduce_mean(answers, axis=0)
    weights = tf.where(tf.reduce_sum(agreement, axis=0) > 0, agreement, 1)
    weights = tf.cast(weights / tf.reduce_sum(weights, axis=0), tf.float32)
    return tf.einsum("ktij,kt->tij", answers, weights)


def answered(
    parts: Parts,
    state: SupportState,
    photos: dict,
    steps: int,
    size: int,
    shots=1,
    tolerance=None,
):
    """What each of K supports says of each of B photos.

    Args:
        photos: their `parts.branch_input`. size: side S of the probability maps.
        shots, tolerance: as of `parts.branch_logits`; shots a number, or one a support [K].

    Returns:
        Probabilities float32 [K,B,S,S] after the last refinement step.
    """
    vectors, batch = dataclasses.replace(state, prototype=None, rival=None).tensors(), 1
    shots = tf.reshape(tf.cast(shots, tf.float32), [-1, 1, 1, 1])
    if photos["projected"].shape[0] != 1:  # one photo meets all supports as it is
        batch = tf.shape(photos["projected"])[0]
        count = tf.shape(next(iter(vectors.values())))[0]
        vectors = {name: tf.repeat(value, batch, axis=0) for name, value in vectors.items()}
        photos = {name: tf.tile(value, [count, 1, 1, 1]) for name, value in photos.items()}
        shots = tf.repeat(tf.broadcast_to(shots, [count, 1, 1, 1]), batch, axis=0)
    state, given = SupportState(**vectors), {"shots": shots, "tolerance": tolerance}
    logits = branch_logits(parts, state, photos, steps, **given)[:, -1]
    return tf.reshape(foreground(logits, size), [-1, batch, size, size])


class AnswerGraphs:
    """What K supports say of one photo each, or all of the same, as a graph for each size of
    frame, traced once for any K.

    Args:
        network: its parts are looked at when a graph is traced.
        steps, tolerance: as of `parts.branch_logits`.
    """

    def __init__(self, network: CRNet, steps: int, tolerance: float | None):
        self.network, self.steps, self.tolerance = network, steps, tolerance
        self._graphs = {}

    def __call__(self, state: SupportState, photo: dict, size: int, shots=1):
        """Probabilities float32 [K,T,size,size] after each refinement step.

        Args:
            photo: `parts.branch_input` of one photo, or of K.
            shots: number of supports that the state is the mean of; or one for each of the K.
        """
        if size not in self._graphs:
            self._graphs[size] = self._graph(state, photo, size)
        shots = tf.reshape(tf.cast(shots, tf.float32), [-1, 1, 1, 1])
        return self._graphs[size](state.tensors(), photo, shots)

    def _graph(self, state, photo, size):
        def answer(state, photo, shots):
            given = {"shots": shots, "tolerance": self.tolerance}
            state = SupportState(**state)
            logits = branch_logits(self.network.parts, state, photo, self.steps, **given)
            return foreground(logits, size)

        given = _any_number(state.tensors()), _any_number(photo)
        one_each = tf.TensorSpec([None, 1, 1, 1])
        return tf.function(answer, input_signature=(*given, one_each))


def _any_number(tensors):
    return {
        name: tf.TensorSpec([None, *value.shape[1:]], value.dtype)
        for name, value in tensors.items()
    }


def presence(parts: Parts, prototypes, last_level, rivals):
    """Is the object in the photos at all? How likely, where half of all photos show it.

    On photos that hold not one pixel of the class a good score is low. The answer itself is a
    poor witness: it finds something everywhere. Frozen features tell better, less what all
    photos have in common (`presence.Centre`).

    Args:
        prototypes: [K,F], `SupportState.prototype`. last_level: of photos [B,h,w,F].
        rivals: [R,F], of the function `rivals`; zeros: none.

    Returns:
        float32 [B], 0 to 1; with rivals, a half where a photo resembles both alike.
    """
    similar, rival = (resemblance(parts, one, last_level) for one in (prototypes, rivals))
    return parts.likelihood(similar, rival, tf.shape(prototypes)[0])


def resemblance(parts: Parts, averages, last_level):
    """Mean of `resemblances`: float32 [B]."""
    return tf.reduce_mean(resemblances(parts, averages, last_level), axis=-1)


def resemblances(parts: Parts, averages, last_level):
    """Cosine of a photo's most similar cell to each of some average cells.

    Args:
        averages: centred [K,F]. last_level: of photos [B,h,w,F].

    Returns:
        float32 [B,K], up to 1; 0 to an average of zeros.
    """
    cells = unit(parts.centre(last_level))
    cosine = tf.tensordot(cells, unit(averages), [[-1], [-1]])  # [B,h,w,K]
    return tf.reduce_max(cosine, axis=(1, 2))


def rivals(parts: Parts, found, last_level):
    """What is falsely found in photos that do not show the object: `SupportState.rival`.

    Args:
        found: probabilities of the object in R photos [R,S,S], of which the highest count most.
        last_level: of these photos [R,h,w,F].

    Returns:
        float32 [R,F], the average cell of what was found, centred.
    """
    weights = resize_area(found[..., None] ** 2, last_level.shape[1:3])
    return masked_average(parts.centre(last_level), weights)[:, 0, 0]


def at_own_size(maps, size, letterbox: bool = False):
    """Maps [B,s,s,N] of framed photos -> float32 [B,H,W,N] at the photos' own size (H, W).

    In a letterbox the square stands for the photo padded to a square of its longer side, which
    is how PFENet scores (its `ori_resize`): the up to 7 px lost in rounding the shorter side
    down are not given back.
    """
    maps, (height, width) = tf.cast(maps, tf.float32), size
    if not letterbox:
        return bilinear(maps, (height, width))
    return bilinear(maps, (max(size), max(size)))[:, :height, :width]


def following(maps, photo, letterbox: bool = False):
    """`at_own_size` with edges that follow those of a photo, see `edges`.

    Args:
        photo: RGB 0..255 [B,H,W,3] of the size that is wanted; [1,H,W,3] for all maps.
    """
    photo = tf.cast(photo, tf.float32) / 255
    height, width = size_of(photo)
    side, whole = edges.small_side(maps.shape[1]), photo
    if letterbox:
        longer = max(height, width)
        whole = tf.pad(photo, [[0, 0], [0, longer - height], [0, longer - width], [0, 0]])
    small = bilinear(tf.cast(maps, tf.float32), (side, side))
    lines = edges.lines(small, bilinear(whole, (side, side)))
    *slopes, offset = lines
    answer = at_own_size(offset, (height, width), letterbox)
    # One after the other: a colour's slopes take as much memory as the answer.
    for slope, colour in zip(slopes, tf.split(photo, 3, axis=-1), strict=True):
        answer += at_own_size(slope, (height, width), letterbox) * colour
    return answer


def size_of(images):
    """Height and width of images [N,H,W,...]: numbers where they are known."""
    if None not in images.shape[1:3]:
        return tuple(images.shape[1:3])
    shape = tf.shape(images)
    return shape[1], shape[2]


def restored(maps, size, letterbox: bool = False, photo=None):
    """Mean over the test scales: probabilities [B,s,s,N] of each -> float32 [B,H,W,N].

    Args:
        photo: as of `following`, of `size`; None: edges are smooth.
    """
    if photo is None:
        large = [at_own_size(value, size, letterbox) for value in maps]
    else:
        large = [following(value, photo, letterbox) for value in maps]
    return tf.clip_by_value(tf.add_n(large) / len(large), 0, 1)


def there(maps, presences, threshold: float, least: float):
    """`deciding.there` of maps [B,s,s,N] and presences [B,N]: bool [B,N]."""
    sure = presences[:, None, None]
    found = (maps > threshold) & (sure >= least)
    surest = tf.argmax(tf.cast(found, tf.float32) * sure, axis=-1, output_type=tf.int32)
    own = found & (surest[..., None] == tf.range(maps.shape[-1]))
    area, own = (tf.reduce_sum(tf.cast(one, tf.float32), (1, 2)) for one in (found, own))
    return (presences >= least) & (own >= deciding.OWN * area)


def decided(probabilities, threshold: float = 0.5, there=None):
    """[...,H,W,N] of N classes -> uint8 [...,H,W]: 0 background, n the nth class.

    A pixel is the most probable class, or background where none is above the threshold. Of
    more than 255 classes uint16.

    Args:
        there: bool [...,N], the classes that a pixel may be; default: all.
    """
    probabilities = tf.convert_to_tensor(probabilities)
    if there is not None:
        probabilities *= tf.cast(there, probabilities.dtype)[..., None, None, :]
    best = tf.argmax(probabilities, axis=-1, output_type=tf.int32) + 1
    certain = tf.reduce_max(probabilities, axis=-1) > threshold
    dtype = tf.uint8 if probabilities.shape[-1] < 256 else tf.uint16
    return tf.cast(tf.where(certain, best, 0), dtype)
