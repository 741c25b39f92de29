"""What an exported model is told once and for all; each field is a flag."""

import dataclasses

from crnet_tf.common import fields
from crnet_tf.common.errors import InputError
from crnet_tf.common.fields import field
from crnet_tf.config import LEAST_SIZE, Config

# `fields.define_flags` needs types to be classes: no `from __future__ import annotations`.


@dataclasses.dataclass(frozen=True)
class Settings:
    """Choices baked into an export.

    Raises:
        ValueError: a value outside its choices or range (expected, received).
    """

    threshold: float = field(
        0.5, "Probability above which a pixel is foreground.", minimum=0, topic="Export"
    )
    max_pixels: int = field(
        2**25,
        "Largest encoded photo a server accepts, px; its header is read before it is decoded.",
        minimum=2**16,
    )

    max_photos: int = field(
        64,
        "Most queries, times supports, of one request; memory grows with them.",
        minimum=4,  # as many photos as a batch of `batching.SIZES`
    )

    def __post_init__(self):
        fields.check(self)
        if self.threshold >= 1:
            raise InputError(f"threshold: expected less than 1, received {self.threshold}.")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What a graph fixes once and for all; each field is a flag.

    Raises:
        ValueError: a number below its minimum.
    """

    photo_height: int = field(
        0,
        "Height of the photos that enter, px; 0: the network's input size.",
        minimum=0,
        topic="Size of photos",
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

    def of(self, config: Config) -> "Sizes":
        """The same with the network's input size where none was chosen."""
        size = config.image_size
        return Sizes(self.photo_height or size, self.photo_width or size)
