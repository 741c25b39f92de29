"""Prototypes: what the frozen features say by themselves, beside what the network learnt.

    cells                   [B,h,w,F]  features of the last levels, each level's of length 1
    foreground, background  [B,1,1,F]  a support's average cells; of several, their mean
    similarity              [B,h,w]    sum over the levels: cosine to the one less to the other

PANet's answer (Wang et al., ICCV 2019), from features that no episode has seen: it knows no
class better than another, where the network knows those it was trained on. The photo that is
asked about counts as one more support once there is a first answer to it (self-support, Fan
et al., ECCV 2022): it resembles itself more than it does another photo.
"""

import keras
from keras import layers, ops

from crnet_tf.network.layers import as_foreground, masked_average, register
from crnet_tf.network.resizing import resize_align_corners, resize_area

# Power of a first answer's probability in the averages of its own photo: sure cells count.
CONFIDENCE = 8


@register
class Prototypes(layers.Layer):
    """Adds the similarity to the logits of both branches, in float32.

    Call: logits [2B,T,h,w,2] and encoder features [2B,h,w,F] of B supports and then their B
    queries, support masks [B,S,S,1] in {0,1,255} -> logits.

    Args:
        weight: of the similarity in the logit of the foreground, with one support; 0: not to
            be called.
        channels: of the encoder's last level, the last ones of its features.
        last_stage: features -> [B,h',w',F'] of the stage after it, or None.
    """

    def __init__(self, weight, channels, last_stage=None, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.weight, self.channels, self.last_stage = weight, channels, last_stage

    def call(self, logits, features, support_mask):
        return self.compared(logits, self.cells(features), support_mask)

    def compared(self, logits, cells, support_mask):
        """The call, of photos whose cells [2B,h,w,F'] are known."""
        averages = self.averages(ops.split(cells, 2, axis=0)[0], support_mask)
        both = {name: ops.concatenate([value] * 2, axis=0) for name, value in averages.items()}
        return self.added(logits, cells, both)

    def compute_output_spec(self, logits, features, support_mask):
        # JAX cannot halve a batch of unknown size to find this out.
        return keras.KerasTensor(logits.shape, "float32")

    @property
    def widths(self) -> list[int]:
        """Channels of each level in a cell."""
        deeper = [] if self.last_stage is None else [self.last_stage.output_shape[-1]]
        return [self.channels, *deeper]

    def last_level(self, features):
        """The deepest level of encoder features [B,h,w,F]: float32 [B,h',w',F']."""
        if self.last_stage is not None:
            return ops.cast(self.last_stage(features, training=False), "float32")
        return ops.cast(features[..., -self.channels :], "float32")

    def levels(self, features):
        """`last_level` and `cells` of encoder features, by one pass through `last_stage`."""
        last_level = self.last_level(features)
        return last_level, self.cells(features, last_level)

    def cells(self, features, last_level=None):
        """Encoder features [B,h,w,F] -> float32 [B,h,w,F'], by their `last_level` where it is
        known."""
        levels = [features[..., -self.channels :]]
        if self.last_stage is not None:
            last_level = self.last_level(features) if last_level is None else last_level
            levels.append(_between(last_level, features.shape[1:3]))
        return ops.concatenate([unit(level) for level in levels], axis=-1)

    def averages(self, cells, mask):
        """Cells [B,h,w,F] of supports, masks [B,S,S,1] in {0,1,255} -> dict of `foreground` and
        `background` float32 [B,1,1,F], 0 where there is none."""
        # By area: a thin object may lie between the centres of the cells.
        background, size = ops.cast(ops.equal(mask, 0), "float32"), cells.shape[1:3]
        return {
            "foreground": masked_average(cells, resize_area(as_foreground(mask), size)),
            "background": masked_average(cells, resize_area(background, size)),
        }

    def added(self, logits, cells, averages, shots=1):
        """Logits [B,T,h,w,2] with the similarity in those of the foreground.

        The photo counts as one more support, its averages weighted by how sure the first of
        the T answers is of each cell. The mean of k supports weighs sqrt(k) times as much as
        one of them: it strays from the class that much less. Either of cells and averages may
        be one beside several of the other.

        Args:
            shots: number of supports that the averages are the mean of; may be a tensor.
        """
        supports = {name: self._unit_levels(value) for name, value in averages.items()}
        weight = self.weight * shots**0.5
        first = ops.softmax((logits[:, :1] + _evidence(cells, supports, weight))[:, 0])
        shares = ops.split(first**CONFIDENCE, 2, axis=-1)  # background, foreground
        blended = {
            name: (shots * supports[name] + self._unit_levels(masked_average(cells, share)))
            / (shots + 1)
            for name, share in zip(("background", "foreground"), shares, strict=True)
        }
        return logits + _evidence(cells, blended, weight)

    def _unit_levels(self, cell):
        levels = [cell[..., : self.channels], cell[..., self.channels :]]
        return ops.concatenate([unit(level) for level in levels[: len(self.widths)]], axis=-1)


@register
class Centre(layers.Layer):
    """Takes from cells [...,F] what all photos have in common: their average cell.

    Middle levels, of which no value is negative, have much in common; what is left tells an
    object from another. The average is 0 until `calibrate` or a training's end has measured it.
    """

    def __init__(self, channels, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.mean = self.add_weight(
            shape=(channels,), initializer="zeros", trainable=False, name="mean"
        )
        self.built = True

    def call(self, cells):
        return ops.cast(cells, "float32") - self.mean

    def load_own_variables(self, store):
        """Checkpoints of before there was a centre have none."""
        if len(store.keys()):
            super().load_own_variables(store)


def _between(cells, size):
    """Every other cell [B,h',w',F] -> all [B,h,w,F]; the last of an even number repeats the
    one before."""
    odd = tuple(2 * side - 1 for side in cells.shape[1:3])
    missing = [[0, whole - side] for whole, side in zip(size, odd, strict=True)]
    resized = resize_align_corners(cells, odd)
    return ops.pad(resized, [[0, 0], *missing, [0, 0]], mode="symmetric")


def _evidence(cells, prototypes, weight):
    """What a cell's similarity adds to both logits: [B,1,h,w,2]."""
    contrast = prototypes["foreground"] - prototypes["background"]
    similarity = ops.sum(cells * contrast, axis=-1)[:, None]
    return ops.stack([ops.zeros_like(similarity), weight * similarity], axis=-1)


def object_average(cells, mask):
    """Mean of cells [...,h,w,F] over the object of a mask [...,S,S,1]: float32 [...,F]."""
    share = resize_area(as_foreground(mask), cells.shape[-3:-1])
    return masked_average(cells, share)[..., 0, 0, :]


def unit(features):
    """The same, float32, of length 1 along the channels."""
    features = ops.cast(features, "float32")
    squared = ops.sum(ops.square(features), axis=-1, keepdims=True)
    return features * ops.rsqrt(ops.maximum(squared, 1e-12))
