"""Networks as graphs of fixed sizes and one query: what TFLite and ONNX files hold.

    whole           support_image [K,H,W,3], support_mask [K,H,W], query_image [1,H,W,3]
                    -> probability, mask [1,H,W], presence [1]
    encode_support  support_image, support_mask -> state, as in `signatures.py`
    query           query_image, state -> probability, mask, presence
    taught          image [1,H,W,3] -> probability [1,H,W,N], mask [1,H,W], presence [1,N]

They are the SavedModel's signatures (`signatures.py`, `taught.py`) with all sizes known.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from crnet_tf.common import fields
from crnet_tf.common.errors import InputError
from crnet_tf.common.fields import field
from crnet_tf.data.frames import LEAST_SIZE
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network.model import CRNet
from export.graph import framing
from export.graph.signatures import FewShot, Signature
from export.graph.taught import Taught

WHOLE, ENCODE, QUERY, TAUGHT = "whole", "encode_support", "query", "taught"

# `fields.define_flags` needs types to be classes: no `from __future__ import annotations`.


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What a graph fixes once and for all; each field is a flag.

    Raises:
        ValueError: a number below its minimum.
    """

    photo_height: int = field(
        0, "Height of the photos that enter, px; 0: the network's input size.", minimum=0
    )
    photo_width: int = field(
        0, "Width of the photos that enter, px; 0: the network's input size.", minimum=0
    )

    def __post_init__(self):
        fields.check(self)
        for side in (self.photo_height, self.photo_width):
            if 0 < side < LEAST_SIZE:
                raise InputError(
                    f"photo size: expected at least {LEAST_SIZE} px a side, received {side}."
                )

    def of(self, network: CRNet) -> "Sizes":
        """The same with the network's input size where none was chosen."""
        size = network.config.image_size
        return Sizes(self.photo_height or size, self.photo_width or size)


def few_shot(exported: FewShot, sizes: Sizes, shot: int) -> list[Signature]:
    """The graphs `whole`, `encode_support` and `query` of K = shot supports."""
    height, width = dataclasses.astuple(sizes)
    supports = [
        tf.TensorSpec([shot, height, width, 3], tf.uint8, "support_image"),
        tf.TensorSpec([shot, height, width], tf.uint8, "support_mask"),
    ]
    query = tf.TensorSpec([1, height, width, 3], tf.uint8, "query_image")
    state = exported.state_specs(shot)
    return [
        Signature(WHOLE, exported.segment, [*supports, query]),
        Signature(ENCODE, exported.encode_support, supports),
        Signature(QUERY, exported.segment_with_support, [query, *state]),
    ]


def taught(exported: Taught, sizes: Sizes) -> list[Signature]:
    """The graph `taught`."""
    image = tf.TensorSpec([1, sizes.photo_height, sizes.photo_width, 3], tf.uint8, "image")
    return [Signature(TAUGHT, exported.segment, [image])]


def frame(photo: LabelledPhoto, sizes: Sizes) -> LabelledPhoto:
    """A photo of any size as clients bring it: squashed to the fixed size, uint8."""
    size = sizes.photo_height, sizes.photo_width
    pixels = framing.bilinear(np.float32(photo.image[None]), size)[0]
    mask = photo.mask
    if mask is not None:
        mask = np.asarray(framing.nearest(mask[None, ..., None], size))[0, ..., 0]
    return LabelledPhoto(np.uint8(np.round(pixels)), mask, photo.name)
