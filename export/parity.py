"""An exported model against the Keras network it was made of, signature by signature.

What is compared is what clients get: the folder is loaded as any client loads it, and asked
through its signatures.
"""

import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from crnet_tf.features import Photo
from crnet_tf.fewshot import Example, Learner
from crnet_tf.nway import decide
from crnet_tf.photos import encode_png
from export.settings import Settings

TOLERANCE = 1e-3  # of a probability
ROUNDING = 0.5 / 255  # of a probability in a PNG file
MOST_QUERIES = 3


def check(differences: dict[str, float]) -> None:
    """Prints the largest difference of every signature.

    Raises:
        RuntimeError: one is above the tolerance, or no number.
    """
    for name, difference in differences.items():
        print(f"  {name:<30}{difference:.1e}")
    failed = [name for name, value in differences.items() if not value <= TOLERANCE]
    if failed:
        raise RuntimeError(
            f"Expected the exported model to answer as the checkpoint does, to {TOLERANCE:g}; "
            f"received other answers from {', '.join(failed)}. The export was removed. Check "
            "that TensorFlow and Keras have the versions of requirements.txt."
        )


def check_sizes(photos: list[Photo], settings: Settings) -> None:
    """Raises ValueError for a photo that the signatures would refuse."""
    for photo in photos:
        height, width = photo.image.shape[:2]
        if height * width > settings.max_pixels:
            raise ValueError(
                f"{photo.name}: expected at most max_pixels ({settings.max_pixels}) to compare "
                f"on, received {width}x{height}. Shrink the photo, or raise --max_pixels."
            )


def few_shot(
    folder: pathlib.Path,
    learner: Learner,
    settings: Settings,
    supports: list[Photo],
    queries: list[Photo],
) -> dict[str, float]:
    """Largest difference of every signature of an exported `signatures.FewShot`."""
    loaded = tf.saved_model.load(str(folder)).signatures
    # Arrays have one size a request: the first support and its mirror image.
    pair = [supports[0], _mirrored(supports[0])]
    arrays = {
        "support_image": tf.constant(np.stack([photo.image for photo in pair])),
        "support_mask": tf.constant(np.stack([photo.mask for photo in pair])),
    }
    files = {
        "support_image_bytes": tf.constant([encode_png(photo.image) for photo in supports]),
        "support_mask_bytes": tf.constant([encode_png(photo.mask) for photo in supports]),
    }
    differences = {}
    for photos, given, whole, encode, part in (
        (pair, arrays, "serving_default", "encode_support", "segment_with_support"),
        (
            supports,
            files,
            "segment_encoded",
            "encode_support_encoded",
            "segment_encoded_with_support",
        ),
    ):
        state, example = loaded[encode](**given), learner.learn(photos)
        differences[encode] = state_difference(learner, photos, state)
        for name, first in ((whole, given), (part, state)):
            ask = _asking(loaded[name], first)
            differences[name] = answer_difference(ask, [example], settings, queries)
    return differences


def taught(
    folder: pathlib.Path, examples: list[Example], settings: Settings, queries: list[Photo]
) -> dict[str, float]:
    """Largest difference of every signature of an exported `taught.Taught`."""
    loaded = tf.saved_model.load(str(folder)).signatures
    return {
        name: answer_difference(_asking(loaded[name], {}), examples, settings, queries)
        for name in ("serving_default", "segment_encoded")
    }


def _asking(signature, given):
    """The signature as a function of a query alone: uint8 [H,W,3] -> outputs."""
    (name,) = set(signature.structured_input_signature[1]) - set(given)

    def ask(image):
        query = tf.constant([encode_png(image)]) if "bytes" in name else image[None]
        return signature(**given, **{name: tf.constant(query)})

    return ask


def answer_difference(
    ask: Callable, examples: list[Example], settings: Settings, queries: list[Photo]
) -> float:
    """Largest difference of probability and presence; 1 where a mask is another one."""
    gaps = []
    for query in queries[:MOST_QUERIES]:
        expected = np.stack([example.segment(query)[-1] for example in examples], axis=-1)
        answer = ask(query.image)
        if "mask" in answer:
            probability, mask = (answer[name].numpy()[0] for name in ("probability", "mask"))
            slack = 0.0
        else:
            probability, mask = _decoded(answer)
            slack = ROUNDING
        gap = np.abs(probability.reshape(expected.shape) - expected).max()
        scores = [example.presence(query) for example in examples]
        gaps += [
            np.maximum(gap - slack, 0),
            np.abs(answer["presence"].numpy().ravel() - scores).max(),
            np.any(_is_other(mask.clip(max=len(examples)), expected, settings.threshold)),
        ]
    return float(np.max(gaps))


def _decoded(answer):
    files = answer["probability_png_bytes"].numpy().ravel()
    levels = np.concatenate([tf.io.decode_png(file).numpy() for file in files], axis=-1)
    mask = tf.io.decode_png(answer["mask_png_bytes"].numpy()[0]).numpy()
    return levels / np.float32(255), mask[..., 0]


def _is_other(mask, expected, threshold):
    """Where a mask [H,W] is not what follows from probabilities [H,W,N], ties aside."""
    ordered = np.sort(expected, axis=-1)
    best = ordered[..., -1]
    second = ordered[..., -2] if expected.shape[-1] > 1 else best - 1
    clear = (np.abs(best - threshold) > TOLERANCE) & (best - second > TOLERANCE)
    return clear & (mask != decide(np.moveaxis(expected, -1, 0), threshold))


def state_difference(learner: Learner, supports: list[Photo], state: dict) -> float:
    """Largest difference of the state [K,1,1,C], relative to its largest value above 1."""
    frame, gaps = learner.frame, []
    for k, photo in enumerate(supports):
        expected = learner.network.encode_support(
            frame.image(photo.image)[None], frame.mask(photo.mask)[None]
        )
        for name, value in expected.items():
            value = np.asarray(value[0])
            gap = np.abs(value - state[name][k].numpy()).max()
            gaps.append(gap / max(1, np.abs(value).max()))
    return float(np.max(gaps))


def _mirrored(photo):
    flipped = photo.image[:, ::-1].copy(), photo.mask[:, ::-1].copy()
    return Photo(*flipped, f"{photo.name}, mirrored")


def drawn_photos() -> tuple[list[Photo], list[Photo]]:
    """Two labelled scenes and two queries of different sizes, where there are no real ones."""
    return [_scene(1, 150, 200), _scene(2, 97, 131)], [_scene(3, 120, 90), _scene(4, 211, 160)]


def _scene(seed, height, width):
    random = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    top, left = random.integers(height // 3), random.integers(width // 3)
    mask[top : top + height // 2, left : left + width // 2] = 1
    colours = random.integers(0, 200, (2, 3))
    noise = random.integers(0, 56, (height, width, 3))
    return Photo((colours[mask] + noise).astype(np.uint8), mask, f"drawn scene {seed}")
