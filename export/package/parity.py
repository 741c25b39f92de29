"""An exported model against the Keras network it was made of, signature by signature.

What is compared is what clients get: signatures, or files, loaded as any client loads them.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.fewshot import deciding
from crnet_tf.fewshot.answers import decided
from crnet_tf.fewshot.learner import Learner
from crnet_tf.fewshot.predictor import Predictor
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.images.png_files import encode_label, encode_png
from export.graph.settings import Settings
from export.package.inputs import MOST_QUERIES

Signatures = Mapping[str, Callable]  # of named tensors or arrays, by name

TOLERANCE = 1e-3  # of a probability
SURE = 0.1  # distance of a probability from another decision
CLOSE = 0.02  # margin by which a class may be there or not
PRESENCE_TOLERANCE = 0.2  # of formats of few bits: a cosine 0.03 off with five supports
ROUNDING = 0.5 / 255  # of a probability in a PNG file
REMEDY = "Check that TensorFlow and Keras have the versions of requirements.txt."


def check(
    differences: dict[str, float], tolerance: float = TOLERANCE, remedy: str = REMEDY
) -> None:
    """Prints the difference of every signature.

    Raises:
        RuntimeError: one is above the tolerance, or no number.
    """
    for name, difference in differences.items():
        print(f"  {name:<30}{difference:.1e}", flush=True)
    failed = [name for name, value in differences.items() if not value <= tolerance]
    if failed:
        raise BlockedError(
            f"Expected the exported model to answer as the checkpoint does, to {tolerance:g}; "
            f"received other answers from {', '.join(failed)}. The export was removed. {remedy}"
        )


def check_sizes(photos: list[LabelledPhoto], settings: Settings) -> None:
    """Raises ValueError for a photo that the signatures would refuse."""
    for photo in photos:
        height, width = photo.image.shape[:2]
        if height * width > settings.max_pixels:
            raise InputError(
                f"{photo.name}: expected at most max_pixels ({settings.max_pixels}) to compare "
                f"on, received {width}x{height}. Shrink the photo, or raise --max_pixels."
            )


def check_number(supports: list[LabelledPhoto], settings: Settings) -> None:
    """Raises ValueError for more supports than the signatures would take beside one query."""
    if len(supports) > settings.max_photos:
        raise InputError(
            f"support: expected at most max_photos ({settings.max_photos}), received "
            f"{len(supports)}. Give fewer, or raise --max_photos."
        )


def few_shot(
    loaded: Signatures,
    learner: Learner,
    settings: Settings,
    supports: list[LabelledPhoto],
    queries: list[LabelledPhoto],
) -> dict[str, float]:
    """Largest difference of every signature of an exported `signatures.FewShot`."""
    # Arrays have one size a request: the first support and its mirror image.
    pair = [supports[0], _mirrored(supports[0])]
    arrays = {
        "support_image": tf.constant(np.stack([photo.image for photo in pair])),
        "support_mask": tf.constant(np.stack([photo.mask for photo in pair])),
    }
    files = {
        "support_image_bytes": tf.constant([encode_png(photo.image) for photo in supports]),
        "support_mask_bytes": tf.constant([encode_label(photo.mask) for photo in supports]),
    }
    names = "serving_default", "encode_support", "segment_with_support", "query_image"
    encoded = (
        "segment_encoded",
        "encode_support_encoded",
        "segment_encoded_with_support",
        "query_image_bytes",
    )
    return {
        **whole_and_halves(loaded, names, learner, settings, pair, arrays, queries),
        **whole_and_halves(loaded, encoded, learner, settings, supports, files, queries),
        "with_negatives_encoded": rival_difference(
            loaded, learner, supports, files, queries[0].image
        ),
    }


def rival_difference(
    loaded: Signatures,
    learner: Learner,
    supports: list[LabelledPhoto],
    given: dict,
    image: np.ndarray,
) -> float:
    """Largest difference of the rival [1,F] of a photo [H,W,3], relative to its largest value
    above 1.

    Args:
        given: the supports as `encode_support_encoded` takes them.
    """
    negative = LabelledPhoto(image)
    expected = np.asarray(learner.fit(supports, negatives=[negative]).rivals)
    state = loaded["encode_support_encoded"](**given)
    files = tf.constant([encode_png(image)])
    found = loaded["with_negatives_encoded"](negative_image_bytes=files, **state)["rival"]
    return float(np.abs(expected - np.asarray(found)).max() / max(1, np.abs(expected).max()))


def whole_and_halves(
    functions: Signatures,
    names: tuple[str, str, str, str],
    learner: Learner,
    settings: Settings,
    supports: list[LabelledPhoto],
    given: dict,
    queries: list[LabelledPhoto],
    measure: Callable | None = None,
) -> dict[str, float]:
    """Difference of a function of supports and query, and of its two halves.

    Args:
        names: of the whole, the half that gives a state, the half that takes it, and of their
            input for the query.
        given: the supports as those functions take them.
        measure: of answers; default: `answer_difference`. With `share_decided_otherwise` a
            state is judged by the answers it leads to, not by its numbers.
    """
    whole, encode, part, query = names
    measure = measure or answer_difference
    predictor = learner.fit(supports)  # first: it says what is wrong with a support
    state, differences = functions[encode](**given), {}
    if measure is not share_decided_otherwise:
        differences[encode] = state_difference(learner, supports, state)
    for name, first in ((whole, given), (part, state)):
        ask = asking(functions[name], query, first)
        differences[name] = measure(ask, [predictor], settings, queries)
    return differences


def taught(
    loaded: Signatures,
    predictors: list[Predictor],
    settings: Settings,
    queries: list[LabelledPhoto],
) -> dict[str, float]:
    """Largest difference of every signature of an exported `taught.Taught`."""
    return {
        name: answer_difference(asking(loaded[name], query), predictors, settings, queries)
        for name, query in (("serving_default", "image"), ("segment_encoded", "image_bytes"))
    }


def asking(function: Callable, name: str, given: dict | None = None) -> Callable:
    """A function of named inputs as one of its photo `name` alone: uint8 [H,W,3] -> outputs."""
    given = given or {}

    def ask(image):
        query = tf.constant([encode_png(image)]) if "bytes" in name else image[None]
        return function(**given, **{name: query})

    return ask


def answer_difference(
    ask: Callable,
    predictors: list[Predictor],
    settings: Settings,
    queries: list[LabelledPhoto],
    margin: float = TOLERANCE,
) -> float:
    """Largest difference of probability and presence; 1 where a mask is another one though the
    probability is further than `margin` from another decision."""
    gaps, most = [], len(predictors)
    for expected, scores, there, answer in _answers(ask, predictors, settings, queries, CLOSE):
        if "mask" in answer:
            probability, mask = (
                np.asarray(answer[name])[0] for name in ("probability", "mask")
            )
            slack = 0.0
        else:
            probability, mask = _decoded(answer)
            slack = ROUNDING
        gap = np.abs(probability.reshape(expected.shape) - expected).max()
        gaps += [
            np.maximum(gap - slack, 0),
            np.abs(np.ravel(answer["presence"]) - scores).max(),
            np.any(_is_other(mask.clip(max=most), expected, there, settings.threshold, margin)),
        ]
    return float(np.max(gaps))


def share_decided_otherwise(
    ask: Callable, predictors: list[Predictor], settings: Settings, queries: list[LabelledPhoto]
) -> float:
    """Share of the pixels that a mask decides otherwise though the checkpoint is sure; for
    formats of few bits. Not a number, or presence that is far off, makes it 1."""
    shares, given = [], (ask, predictors, settings, queries, PRESENCE_TOLERANCE)
    for expected, scores, there, answer in _answers(*given):
        found = np.concatenate([np.ravel(answer["probability"]), np.ravel(answer["presence"])])
        near = np.abs(np.ravel(answer["presence"]) - scores) <= PRESENCE_TOLERANCE
        mask = np.asarray(answer["mask"])[0]
        other = _is_other(mask, expected, there, settings.threshold, SURE)
        shares.append(np.mean(other) if np.isfinite(found).all() and near.all() else 1.0)
    return float(np.mean(shares))


def _answers(ask, predictors, settings, queries, close):
    """Of each query: probabilities [H,W,N], presence [N] and classes that are there [N]
    expected (None where a margin of that is smaller than `close`), and the answer."""
    least = deciding.least_presence(predictors, predictors[0].negatives)
    for query in queries[:MOST_QUERIES]:
        expected = np.stack([one.segment(query) for one in predictors], axis=-1)
        scores = np.array([one.presence(query) for one in predictors])
        there = np.ones(len(predictors), bool)
        if least:  # else the only class is there, whatever its presence
            maps = [one.maps(query)[0][-1] for one in predictors]
            margins = deciding.margins(maps, scores, settings.threshold, least)
            there = (margins >= 0).all(axis=0) if np.abs(margins).min() >= close else None
        yield expected, scores, there, ask(query.image)


def _decoded(answer):
    files = answer["probability_png_bytes"].numpy().ravel()
    levels = np.concatenate([tf.io.decode_png(file).numpy() for file in files], axis=-1)
    mask = tf.io.decode_png(answer["mask_png_bytes"].numpy()[0]).numpy()
    return levels / np.float32(255), mask[..., 0]


def _is_other(mask, expected, there, threshold, margin=TOLERANCE):
    """Where a mask [H,W] is not what follows from probabilities [H,W,N] of the classes that are
    there [N], near ties aside."""
    if there is None:
        return np.zeros(mask.shape, bool)
    expected = expected * there
    ordered = np.sort(expected, axis=-1)
    best = ordered[..., -1]
    second = ordered[..., -2] if expected.shape[-1] > 1 else best - 1
    clear = (np.abs(best - threshold) > margin) & (best - second > margin)
    return clear & (mask != decided(expected, threshold).numpy())


def state_difference(learner: Learner, supports: list[LabelledPhoto], state: dict) -> float:
    """Largest difference of the state [K,1,1,C], relative to its largest value above 1."""
    frame, gaps = learner.frame, []
    for k, photo in enumerate(supports):
        expected = learner.network.encode_support(
            frame.image(photo.image)[None], frame.mask(photo.mask)[None]
        )
        supports = dataclasses.replace(expected, rival=None)  # of negatives, not of supports
        for name, value in supports.tensors().items():
            value = np.asarray(value[0])
            gap = np.abs(value - np.asarray(state[name][k])).max()
            gaps.append(gap / max(1, np.abs(value).max()))
    return float(np.max(gaps))


def _mirrored(photo):
    flipped = photo.image[:, ::-1].copy(), photo.mask[:, ::-1].copy()
    return LabelledPhoto(*flipped, f"{photo.name}, mirrored")


def drawn_photos() -> tuple[list[LabelledPhoto], list[LabelledPhoto]]:
    """Two labelled scenes and two queries of different sizes, where there are no real ones."""
    return [_scene(1, 150, 200), _scene(2, 97, 131)], [_scene(3, 120, 90), _scene(4, 211, 160)]


def _scene(seed, height, width):
    random = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    top, left = random.integers(height // 3), random.integers(width // 3)
    mask[top : top + height // 2, left : left + width // 2] = 1
    colours = random.integers(0, 200, (2, 3))
    noise = random.integers(0, 56, (height, width, 3))
    return LabelledPhoto((colours[mask] + noise).astype(np.uint8), mask, f"drawn scene {seed}")
