"""How a photo of any size becomes the network's square."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from crnet_tf.common.errors import InputError
from crnet_tf.config import LEAST_SIZE
from crnet_tf.data.resizing import resize_image, resize_mask
from crnet_tf.images import labelled
from crnet_tf.images.mask_values import VOID


@dataclasses.dataclass(frozen=True)
class Frame:
    """A square that photos are squashed into, or scaled into with their aspect kept.

    Args:
        size: side of the square, px.
        letterbox: keep the aspect, as PFENet's test transform does: the longer side becomes
            8*(size//8), the other one in proportion, rounded down to a multiple of 8; the
            rest of the square, at the bottom and at the right, is padding.
        fill: RGB of the padding; the mean colour is what the network normalises to 0.
    """

    size: int
    letterbox: bool = False
    fill: tuple[float, float, float] = (0, 0, 0)

    def __post_init__(self):
        if self.size < 8:
            raise InputError(
                f"size of a frame: expected at least 8 px, received {self.size}. "
                "Choose a larger image size."
            )

    def image(self, pixels):
        """[H,W,3] RGB 0..255 -> float32 [S,S,3], bilinear with aligned corners."""
        if not self.letterbox:
            return resize_image(pixels, self.size)
        small = resize_image(tf.cast(pixels, tf.float32), self._inner(pixels.shape))
        fill = tf.constant(self.fill, tf.float32)
        return tf.pad(small - fill, [*self._padding(small.shape), [0, 0]]) + fill

    def mask(self, mask):
        """[H,W] or [H,W,1] -> uint8 [S,S,1], nearest with aligned corners; padding is 255."""
        mask = tf.cast(mask, tf.uint8)
        if len(mask.shape) == 2:
            mask = mask[..., None]
        if not self.letterbox:
            return resize_mask(mask, self.size)
        small = resize_mask(mask, self._inner(mask.shape))
        padding = [*self._padding(small.shape), [0, 0]]
        return tf.pad(small, padding, constant_values=VOID)

    def scaled(self, scale: float) -> "Frame":
        """The frame at another scale: sides of 8n+1 px, but for scale 1, which is this one.

        Raises:
            ValueError: no feature map would be left.
        """
        if scale == 1:
            return self
        steps = (self.size * scale - 1) / 8
        size = 8 * math.floor(steps + 0.5) + 1 if math.isfinite(steps) else 0
        if size < LEAST_SIZE:
            raise InputError(
                f"scales: expected all to give at least {LEAST_SIZE} px, received {scale:g}, "
                f"which makes {size} px of {self.size} px and leaves no feature map. Use "
                "larger scales, or a larger image size."
            )
        return dataclasses.replace(self, size=size)

    def _inner(self, shape):
        """Height and width of a photo within the letterbox."""
        longer = max(shape[0], shape[1])
        return [max(self.size * side // longer // 8, 1) * 8 for side in (shape[0], shape[1])]

    def _padding(self, shape):
        return [[0, self.size - shape[0]], [0, self.size - shape[1]]]


def check_visible(mask: np.ndarray, frame: Frame, name: str) -> None:
    """Raises ValueError when nothing of the foreground is left at the network's input size."""
    labelled.check_visible(mask, frame.mask(mask).numpy(), name)
