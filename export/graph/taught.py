"""A network that has learnt one class or several, as graph functions: photos in, masks out.

    serving_default   photos of one size -> probability, mask, presence
    segment_encoded   the same with JPEG and PNG files of any sizes
    metadata          -> JSON, with the names of the classes
    taught            image [1,H,W,3] -> probability [1,H,W,N], mask [1,H,W], presence [1,N]: in
                      TFLite and ONNX files, of fixed sizes

What was learnt is a few hundred numbers a support, and after fine-tuning a copy of all but
the encoder. A photo passes the encoder once (at each test scale), and the stage that
deep prototypes look at, whatever the number of classes and supports.
"""

import contextlib
import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from crnet_tf.common.errors import InputError
from crnet_tf.fewshot import answers, deciding
from crnet_tf.fewshot.finetune import adapted_variables, holding
from crnet_tf.fewshot.learner import Learner
from crnet_tf.fewshot.leave_one_out import shifted
from crnet_tf.fewshot.predictor import Predictor
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network.parts import Parts, SupportState, branch_input
from export.graph import encode, framing
from export.graph.settings import Settings, Sizes
from export.graph.signatures import Signature, files_spec, photos_spec

TAUGHT = "taught"  # the graph of fixed sizes


@dataclasses.dataclass(frozen=True)
class TaughtClass:
    """One class.

    Attributes:
        parts: the network's, or a fine-tuned copy that shares its encoder.
        states: for each test scale, that of K supports, or of their mean.
        prototypes: [K,F] at scale 1. rivals: [R,F], see `Predictor`.
        predictor: what answers in Keras.
    """

    name: str
    parts: Parts
    states: list[SupportState]
    prototypes: np.ndarray
    rivals: np.ndarray
    predictor: Predictor


def learn(
    learner: Learner,
    name: str,
    supports: list[LabelledPhoto],
    negatives: Sequence[LabelledPhoto] = (),
) -> TaughtClass:
    """Teaches a class; the network has its own weights back after.

    Args:
        negatives: as of `Predictor`.

    Raises:
        ValueError: see `Learner.fit`.
    """
    check_options(learner.options)
    predictor, network = learner.fit(supports, negatives=negatives), learner.network
    weights = contextlib.nullcontext()
    if predictor.adapted is not None:
        weights = holding(adapted_variables(network), predictor.adapted.weights)
    with weights:
        parts = network.parts if predictor.adapted is None else copied(network.parts)
        parts = parts.exported()
        states = [_constant(predictor.state(frame)) for frame in learner.frames]
    averages = predictor.prototypes.numpy(), predictor.rivals.numpy()
    return TaughtClass(name, parts, states, *averages, predictor)


def check_options(options) -> None:
    """Raises InputError for an option that a graph cannot follow."""
    if options.small_objects == "tiles":
        raise InputError(
            "small_objects: expected crop or off, because an exported graph sees a photo once "
            "and not in tiles, received tiles. Use crop, or crnet predict."
        )
    if options.weighted_fusion:
        raise InputError(
            "weighted_fusion: expected off, because a taught model keeps a few numbers of its "
            "supports and not the photos. Leave it off, or use `crnet predict`."
        )


def _constant(state):
    """Arrays become constants of the graph; tensors would stay inputs of it in ONNX."""
    return SupportState(**{name: value.numpy() for name, value in state.tensors().items()})


def copied(parts: Parts) -> Parts:
    """Parts with the weights of now, that share only the encoder."""
    layers = {
        name: getattr(parts, name)
        for name in ("projection", "cross_reference", "condition", "refinement")
    }
    return dataclasses.replace(
        parts, **{name: _copy(layer) for name, layer in layers.items() if layer is not None}
    )


def _copy(layer):
    twin = type(layer).from_config(layer.get_config())
    if not twin.built:
        twin.build_from_config(layer.get_build_config())
    twin.set_weights(layer.get_weights())
    return twin


class Taught:
    """Several classes of one network as graph functions.

    Args:
        classes: N, made by `learn` with `learner`.
    """

    def __init__(self, learner: Learner, classes: list[TaughtClass], settings: Settings):
        self.learner, self.classes, self.settings = learner, classes, settings
        self.network = learner.network
        self.scales = tuple(frame.size for frame in learner.frames)
        # Presence looks at scale 1, whatever scales answer.
        self.sizes = tuple(dict.fromkeys((learner.frame.size, *self.scales)))
        self.steps = learner.options.refine_steps or learner.network.config.refine_steps
        self.follows_edges = learner.follows_edges
        self.tolerance = learner.options.refine_tolerance or None

    def changed(self, **changes) -> "Taught":
        """The same with other `Options` of how a photo is answered."""
        old = self.learner
        options = dataclasses.replace(old.options, **changes)
        learner = Learner(old.network, options, cache=old.cache, keep_features=True)
        classes = []
        for one in self.classes:
            old = one.predictor
            known = old.supports, old.adapted, old.threshold, old.in_tiles, old.negatives
            classes.append(dataclasses.replace(one, predictor=Predictor(learner, *known)))
        return Taught(learner, classes, self.settings)

    def answer(self, framed):
        """Photos [B,S,S,3] of each of `sizes` -> probabilities [B,S,S,N] of each of `scales`,
        and presence [B,N]."""
        parts, features, levels = self.network.parts, {}, {}
        for size, photos in zip(self.sizes, framed, strict=True):
            features[size] = parts.encoder(photos, training=False)
            levels[size] = parts.prototypes.levels(features[size])
        maps = [
            self._maps(number, features[size], levels[size][1], size)
            for number, size in enumerate(self.scales)
        ]
        base, _ = levels[self.sizes[0]]
        scores = [
            answers.presence(parts, one.prototypes, base, one.rivals) for one in self.classes
        ]
        return maps, tf.stack(scores, axis=-1)

    def _maps(self, scale, features, cells, size):
        maps = {}
        for classes in self._of_one_network():
            parts = classes[0].parts
            inputs = branch_input(parts, features, cells)
            states = answers.joined([one.states[scale] for one in classes])
            counts = [one.predictor.count for one in classes]
            shots = np.repeat([one.predictor.shots for one in classes], counts)
            found = answers.answered(
                parts, states, inputs, self.steps, size, shots, self.tolerance
            )
            for one, own in zip(classes, tf.split(found, counts), strict=True):
                maps[one.name] = shifted(answers.fused(own), one.predictor.threshold)
        return tf.stack([maps[one.name] for one in self.classes], axis=-1)

    def _of_one_network(self):
        """The classes in groups that answer by the same weights: without fine-tuning, all."""
        groups = {}
        for one in self.classes:
            groups.setdefault(id(one.parts.projection), []).append(one)
        return groups.values()

    def segment(self, image):
        """uint8 [B,H,W,3] -> probability [B,H,W,N], mask [B,H,W] of 0..N, presence [B,N]."""
        image = self._bounded(image)
        maps, presence = self.answer([framing.photos(image, size) for size in self.sizes])
        seen = image if self.follows_edges else None
        probability = answers.restored(maps, answers.size_of(image), photo=seen)
        there = self._there(maps, presence)
        return {
            "probability": probability,
            "mask": answers.decided(probability, self.settings.threshold, there),
            "presence": presence,
        }

    def segment_encoded(self, image_bytes):
        """Strings [B] -> PNG files of the mask [B] and of probabilities [B,N], presence."""
        image_bytes, most = self._bounded(image_bytes), self.settings.max_pixels
        framed, sizes = framing.encoded_photos(image_bytes, self.sizes, most)
        maps, presence = self.answer(framed)
        seen = image_bytes if self.follows_edges else None
        masks, probabilities = encode.png_files(
            maps, sizes, self.settings.threshold, 1, seen, most, self._there(maps, presence)
        )
        return {
            "mask_png_bytes": masks,
            "probability_png_bytes": probabilities,
            "presence": presence,
        }

    @property
    def least_presence(self) -> float:
        """`deciding.least_presence` of its classes."""
        return deciding.least_presence(self.classes, self.classes[0].predictor.negatives)

    def _there(self, maps, presence):
        return answers.there(maps[0], presence, self.settings.threshold, self.least_presence)

    def _bounded(self, photos):
        return framing.bounded(photos, tf.shape(photos)[0], self.settings.max_photos, "photos")

    def fixed_signatures(self, sizes: Sizes) -> list[Signature]:
        """The graph `taught`."""
        image = tf.TensorSpec([1, sizes.photo_height, sizes.photo_width, 3], tf.uint8, "image")
        return [Signature(TAUGHT, self.segment, [image])]

    def signatures(self) -> list[Signature]:
        """All of them but `metadata`."""
        return [
            Signature("serving_default", self.segment, [photos_spec("image")]),
            Signature("segment_encoded", self.segment_encoded, [files_spec("image_bytes")]),
        ]
