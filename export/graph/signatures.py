"""The signatures of an exported network: each takes photos as they are, and owns all the rest.

    serving_default              supports, queries of one size -> probability, mask, presence
    segment_encoded              the same with JPEG and PNG files of any sizes
    encode_support               supports -> state: importance, category [K,1,1,C],
                                 prototype [K,F] and rival [1,F], foreground and background
                                 [K,1,1,F'] where prototypes count
    encode_support_encoded       the same with files
    with_negatives_encoded       files of photos without the object, state -> the state with
                                 their rival [R,F]: what is falsely found lowers presence
    segment_with_support         state, queries -> probability, mask, presence
    segment_encoded_with_support the same with files
    metadata                     -> JSON

K supports and B queries of any number. By default the mean of K supports answers; with
`--kshot=fusion` each does, and their answers are averaged (Sec. 6). A
state (`parts.SupportState`) costs its supports' passes through the backbone once; each query
is one more pass. In TFLite and ONNX files all sizes are known, and a query comes alone:

    whole           support_image [K,H,W,3], support_mask [K,H,W], query_image [1,H,W,3]
                    -> probability, mask [1,H,W], presence [1]
    encode_support  support_image, support_mask -> state
    query           query_image, state -> probability, mask, presence
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from crnet_tf.fewshot import answers, saved_graphs
from crnet_tf.network.model import CRNet
from crnet_tf.network.parts import SupportState, branch_input
from crnet_tf.options import Options
from export.graph import decode, encode, framing
from export.graph.settings import Settings, Sizes

WHOLE, ENCODE, QUERY = "whole", "encode_support", "query"  # graphs of fixed sizes
MASK_WHITE = 255  # foreground in mask files; in arrays it is 1


class Signature(NamedTuple):
    """A function of tensors and what it takes; its name is what clients ask for."""

    name: str
    function: Callable
    inputs: Sequence[tf.TensorSpec]


class FewShot:
    """A network as graph functions: k labelled photos and queries in, answers out.

    Args:
        options: `kshot`, mean or fusion, and those of the refinement are looked at.
    """

    def __init__(self, network: CRNet, settings: Settings, options: Options | None = None):
        self.network, self.settings, self.options = network, settings, options or Options()
        self.parts = network.parts.exported()
        self.steps = self.options.refine_steps or network.config.refine_steps
        self.size = network.config.image_size
        self.follows_edges = network.config.edges and self.options.edges

    def answer(self, state: tuple, query):
        """State and framed queries [B,S,S,3] -> probabilities [B,S,S], presence [B]."""
        parts = self.parts
        state = SupportState(**dict(zip(self.state_names, state, strict=True)))
        found, last_level = self._found(state, query)
        return found, answers.presence(parts, state.prototype, last_level, state.rival)

    def _found(self, state, photos):
        """Probabilities [B,S,S] in framed photos [B,S,S,3], and their last level [B,h,w,F]."""
        parts, shots = self.parts, 1
        features = parts.encoder(photos, training=False)
        last_level, cells = parts.prototypes.levels(features)
        photos = branch_input(parts, features, cells)
        if self.options.averages:
            state, shots = answers.mean_of(state), tf.shape(state.prototype)[0]
        tolerance = self.options.refine_tolerance or None
        found = answers.answered(parts, state, photos, self.steps, self.size, shots, tolerance)
        return answers.fused(found), last_level

    @property
    def state_names(self) -> tuple[str, ...]:
        """Which tensors of a `SupportState` the network has."""
        return tuple(spec.name for spec in self.state_specs())

    # === Photos as arrays ===

    def encode_support(self, support_image, support_mask):
        """uint8 [K,H,W,3], [K,H,W] in {0,1,255} -> state."""
        support_image = self._bounded(support_image, "supports")
        framed = framing.supports(support_image, support_mask, self.size)
        return self.network.encode_support(*framed).tensors()

    def segment_with_support(self, query_image, *state):
        """uint8 [B,H,W,3], state -> probability, mask [B,H,W], presence [B]."""
        query_image = self._bounded(query_image, "queries times supports", state)
        maps, presence = self.answer(state, framing.photos(query_image, self.size))
        size = answers.size_of(query_image)
        seen = query_image if self.follows_edges else None
        probability = answers.restored([maps[..., None]], size, photo=seen)
        return {
            "probability": probability[..., 0],
            "mask": answers.decided(probability, self.settings.threshold),
            "presence": presence,
        }

    def segment(self, support_image, support_mask, query_image):
        """`encode_support` and `segment_with_support` in one."""
        state = self.encode_support(support_image, support_mask)
        return self.segment_with_support(query_image, *self._ordered(state))

    # === Photos as files ===

    def encode_support_encoded(self, support_image_bytes, support_mask_bytes):
        """Strings [K], [K] -> state."""
        support_image_bytes = self._bounded(support_image_bytes, "supports")
        framed = framing.encoded_supports(
            support_image_bytes, support_mask_bytes, self.size, self.settings.max_pixels
        )
        return self.network.encode_support(*framed).tensors()

    def segment_encoded_with_support(self, query_image_bytes, *state):
        """Strings [B], state -> PNG files of mask and probability [B], presence [B]."""
        query_image_bytes = self._bounded(query_image_bytes, "queries times supports", state)
        framed, sizes = framing.encoded_photos(
            query_image_bytes, (self.size,), self.settings.max_pixels
        )
        maps, presence = self.answer(state, framed[0])
        masks, probabilities = encode.png_files(
            [maps[..., None]],
            sizes,
            self.settings.threshold,
            MASK_WHITE,
            query_image_bytes if self.follows_edges else None,
            self.settings.max_pixels,
        )
        return {
            "mask_png_bytes": masks,
            "probability_png_bytes": probabilities[:, 0],
            "presence": presence,
        }

    def with_negatives_encoded(self, negative_image_bytes, *state):
        """Strings [R], state -> the state with `answers.rivals` of these photos."""
        negative_image_bytes = self._bounded(
            negative_image_bytes, "negatives times supports", state
        )
        (framed,), _ = framing.encoded_photos(
            negative_image_bytes, (self.size,), self.settings.max_pixels
        )
        state = SupportState(**dict(zip(self.state_names, state, strict=True)))
        rivals = answers.rivals(self.parts, *self._found(state, framed))
        return dataclasses.replace(state, rival=rivals).tensors()

    def segment_encoded(self, support_image_bytes, support_mask_bytes, query_image_bytes):
        """`encode_support_encoded` and `segment_encoded_with_support` in one."""
        state = self.encode_support_encoded(support_image_bytes, support_mask_bytes)
        return self.segment_encoded_with_support(query_image_bytes, *self._ordered(state))

    def _ordered(self, state):
        return [state[name] for name in self.state_names]

    def _bounded(self, photos, name, state=None):
        count = tf.shape(photos)[0]
        if state is not None:
            named = zip(self.state_names, state, strict=True)
            shots = [tf.shape(value)[0] for name, value in named if name != "rival"]
            same = tf.reduce_all(tf.stack(shots) == shots[0]) & (shots[0] > 0)
            check = tf.debugging.Assert(
                same, ["state: expected one entry a support, received", *shots]
            )
            count = decode.after(count * shots[0], check)
        return framing.bounded(photos, count, self.settings.max_photos, name)

    def state_specs(self, shot: int | None = None) -> list[tf.TensorSpec]:
        """Shapes of the `SupportState.tensors` of K supports."""
        config, parts = self.network.config, self.network.parts
        widths = parts.prototypes.widths
        vector, cell = [shot, 1, 1, config.channels], [shot, 1, 1, sum(widths)]
        shapes = SupportState(
            importance=vector if config.cross_reference else None,
            category=vector if config.condition else None,
            foreground=cell if parts.compares_cells else None,
            background=cell if parts.compares_cells else None,
            prototype=[shot, widths[-1]],
            rival=[shot and 1, widths[-1]],
        )
        return [tf.TensorSpec(shape, name=name) for name, shape in shapes.tensors().items()]

    def fixed_signatures(self, sizes: Sizes, shot: int) -> list[Signature]:
        """The graphs `whole`, `encode_support` and `query` of K = shot supports."""
        height, width = dataclasses.astuple(sizes)
        supports = [
            tf.TensorSpec([shot, height, width, 3], tf.uint8, "support_image"),
            tf.TensorSpec([shot, height, width], tf.uint8, "support_mask"),
        ]
        query = tf.TensorSpec([1, height, width, 3], tf.uint8, "query_image")
        state = self.state_specs(shot)
        return [
            Signature(WHOLE, self.segment, [*supports, query]),
            Signature(ENCODE, self.encode_support, supports),
            Signature(QUERY, self.segment_with_support, [query, *state]),
        ]

    def signatures(self) -> list[Signature]:
        """All of them but `metadata`."""
        state = self.state_specs()
        supports = [photos_spec("support_image"), masks_spec("support_mask")]
        files = [files_spec("support_image_bytes"), files_spec("support_mask_bytes")]
        query, query_file = photos_spec("query_image"), files_spec("query_image_bytes")
        return [
            Signature("serving_default", self.segment, [*supports, query]),
            Signature("segment_encoded", self.segment_encoded, [*files, query_file]),
            Signature("encode_support", self.encode_support, supports),
            Signature("encode_support_encoded", self.encode_support_encoded, files),
            Signature(
                "with_negatives_encoded",
                self.with_negatives_encoded,
                [files_spec("negative_image_bytes"), *state],
            ),
            Signature("segment_with_support", self.segment_with_support, [query, *state]),
            Signature(
                "segment_encoded_with_support",
                self.segment_encoded_with_support,
                [query_file, *state],
            ),
        ]


def photos_spec(name: str) -> tf.TensorSpec:
    """uint8 [N,H,W,3]."""
    return tf.TensorSpec([None, None, None, 3], tf.uint8, name)


def masks_spec(name: str) -> tf.TensorSpec:
    """uint8 [N,H,W]."""
    return tf.TensorSpec([None, None, None], tf.uint8, name)


def files_spec(name: str) -> tf.TensorSpec:
    """Strings [N]. A name that ends in _bytes travels as base64 in TF Serving's JSON."""
    return tf.TensorSpec([None], tf.string, name)


def save(signatures: list[Signature], metadata: str, folder: str | os.PathLike) -> None:
    """Writes a SavedModel, with the signature `metadata` besides."""
    said = Signature("metadata", lambda: {"metadata": tf.constant(metadata)}, [])
    functions = {name: (function, inputs) for name, function, inputs in (*signatures, said)}
    saved_graphs.save(functions, folder)
