"""A network -> the file that `lite_engine.py` answers with."""

import os
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from crnet_tf.common import files
from crnet_tf.common.errors import BlockedError
from crnet_tf.fewshot import answers, edges, saved_graphs
from crnet_tf.fewshot.learner import Learner
from crnet_tf.fewshot.lite_engine import LiteEngine
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network.model import CRNet, in_float32
from crnet_tf.network.parts import SupportState, branch_input, branch_logits, state_of_features

# {engine: (of the differences between the file's probabilities and the network's, the most)}
KINDS = {"litert": (np.max, 1e-3), "litert_int8": (np.mean, 0.03)}
MOST_FILES = 8  # kept; one of ResNet-50 takes 52 MB


def write(learner: Learner, path: str | os.PathLike, kind: str = "litert") -> None:
    """Writes the file of a learner's network, once it answers as that does; of many in a folder
    the oldest go.

    Args:
        kind: of `KINDS`.

    Raises:
        RuntimeError: it answers otherwise; nothing is written then.
    """
    path = pathlib.Path(path)
    files.make_folder(path.parent)
    content = converted(learner.network, kind)
    check(LiteEngine(content, learner.options), learner, kind)
    files.write_bytes(path, content)
    newest = sorted(path.parent.glob(f"*{path.suffix}"), key=lambda one: -one.stat().st_mtime)
    for old in newest[MOST_FILES:]:
        old.unlink()


def converted(network: CRNet, kind: str) -> bytes:
    """Content of the file of a network."""
    with tempfile.TemporaryDirectory() as work:
        saved_graphs.save(functions(in_float32(network)), work)
        converter = tf.lite.TFLiteConverter.from_saved_model(work)
        if kind == "litert_int8":  # activations are rounded by their range in each photo
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return converter.convert()


def functions(network: CRNet) -> dict:
    """The network in pieces, {name: (function, inputs)}: all of one photo or one support."""
    parts, config = network.parts.exported(), network.config
    size = config.image_size
    image = tf.TensorSpec([1, size, size, 3], tf.float32, "image")
    mask = tf.TensorSpec([1, size, size, 1], tf.uint8, "mask")

    def encode(image):
        return {"features": parts.encoder(image, training=False)}

    def hide(image, mask):
        return {"image": parts.mask_background(image, mask)}

    def support(features, mask, category=None):
        named = {"support": features} | ({} if category is None else {"category": category})
        return state_of_features(parts, named, mask).tensors()

    def photo(features):
        last_level, cells = parts.prototypes.levels(features)
        return {"last_level": last_level, **branch_input(parts, features, cells)}

    features = _specs(encode, image)["features"]
    supports = [features, mask]
    if parts.masks_image:
        supports.append(tf.TensorSpec(features.shape, features.dtype, "category"))
    state = _specs(support, *supports)
    needed = _specs(photo, features)
    last_level, average = needed.pop("last_level"), state.pop("prototype")
    del state["rival"]  # as large as the prototype
    shots, tolerance = (tf.TensorSpec([], tf.float32, name) for name in ("shots", "tolerance"))

    def answer(shots, tolerance, *given):
        named = dict(zip([*needed, *state], given, strict=True))
        own = {name: named.pop(name) for name in needed}
        chosen = {"shots": shots, "tolerance": tolerance}
        logits = branch_logits(parts, SupportState(**named), own, config.refine_steps, **chosen)
        return {"maps": answers.foreground(logits, size)[0]}

    side = edges.small_side(size)
    map_spec = tf.TensorSpec([1, side, side, 1], tf.float32, "map")
    guide = tf.TensorSpec([1, side, side, 3], tf.float32, "guide")

    def lines(map, guide):
        return {"lines": tf.concat(edges.lines(map, guide, _mean_around), axis=-1)}

    return {
        **({"lines": (lines, [map_spec, guide])} if config.edges else {}),
        "encode": (encode, [image]),
        **({"hide": (hide, [image, mask])} if parts.masks_image else {}),
        "support": (support, supports),
        "photo": (photo, [features]),
        "answer": (answer, [shots, tolerance, *needed.values(), *state.values()]),
        **_presence_functions(parts, average.shape, last_level, size),
    }


def _presence_functions(parts, shape, last_level, size):
    """Those that presence takes, given the shape of a prototype."""

    def resemblance(average, last_level):
        return {"cosine": answers.resemblance(parts, average, last_level)}

    def rival(found, last_level):
        return {"rival": answers.rivals(parts, found, last_level)}

    def likelihood(similarity, rival, shots):
        return {"presence": parts.likelihood(similarity, rival, shots)}

    average = tf.TensorSpec(shape, tf.float32, "average")
    found = tf.TensorSpec([1, size, size], tf.float32, "found")
    cosines = [tf.TensorSpec([1], tf.float32, name) for name in ("similarity", "rival")]
    return {
        "resemblance": (resemblance, [average, last_level]),
        "rival": (rival, [found, last_level]),
        "likelihood": (likelihood, [*cosines, tf.TensorSpec([], tf.float32, "shots")]),
    }


def _mean_around(images, reach):
    """As `resizing.mean_around`, by no weights that 8 bits would round."""
    for window in ((2 * reach + 1, 1), (1, 2 * reach + 1)):
        images = tf.nn.avg_pool2d(images, window, 1, "SAME")
    return images


def _specs(function, *inputs):
    """{name: TensorSpec} of what a function gives."""
    traced = tf.function(function, autograph=False).get_concrete_function(*inputs)
    shapes = traced.structured_outputs
    return {name: tf.TensorSpec(one.shape, one.dtype, name) for name, one in shapes.items()}


def check(engine: LiteEngine, learner: Learner, kind: str) -> None:
    """Raises BlockedError where an engine answers otherwise than a learner, on drawn photos."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 256, (3, 8, 10, 3)).repeat(20, axis=1).repeat(20, axis=2)
    support, other, query = (LabelledPhoto(np.uint8(image)) for image in drawn)
    mask = np.zeros(support.image.shape[:2], np.uint8)
    mask[40:120, 60:160] = 1
    supports = [LabelledPhoto(one.image, mask) for one in (support, other)]
    expected, found = learner.fit(supports[:1]), engine.fit(supports[:1])
    summary, most = KINDS[kind]
    difference = summary(np.abs(expected.maps(query)[0] - found.maps(query)[0]))
    sure = abs(expected.presence(query) - found.presence(query))
    if not max(difference, sure) < most:
        raise BlockedError(
            f"engine: expected {kind} to answer within {most} of the network, received a "
            f"difference of {max(difference, sure):.2g}. Use --engine=keras."
        )
