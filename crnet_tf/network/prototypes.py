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

from crnet_tf.network.layers import as_foreground, masked_average, register, unit
from crnet_tf.network.resizing import between, resize_area

# Power of a first answer's probability in the averages of its own photo: sure cells count.
CONFIDENCE = 8


@register
class Prototypes(layers.Layer):
    """What is similar to a support gets higher logits (`added`), in float32.

    Call: encoder features [B,h,w,F] -> their `cells`.

    Args:
        weight: of the similarity in the logit of the foreground, with one support; 0: not to
            be called.
        own: channels of each of the encoder's levels that count, the last of its features.
        last_stage: features -> [B,h',w',F'] of the stage after it, or None.
    """

    def __init__(self, weight, own, last_stage=None, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.weight, self.own, self.last_stage = weight, list(own), last_stage
        self.average = CellAverages(name="average")
        self.average.built = True  # it has no weights

    @property
    def widths(self) -> list[int]:
        """Channels of each level in a cell."""
        deeper = [] if self.last_stage is None else [self.last_stage.output_shape[-1]]
        return [*self.own, *deeper]

    def last_level(self, features):
        """The deepest level of encoder features [B,h,w,F]: float32 [B,h',w',F']."""
        if self.last_stage is not None:
            return ops.cast(self.last_stage(features, training=False), "float32")
        return ops.cast(features[..., -self.own[-1] :], "float32")

    def levels(self, features):
        """`last_level` and `cells` of encoder features, by one pass through `last_stage`."""
        last_level = self.last_level(features)
        return last_level, self.cells(features, last_level)

    def cells(self, features, last_level=None):
        """Encoder features [B,h,w,F] -> float32 [B,h,w,F'], by their `last_level` where it is
        known."""
        levels = apart(features[..., -sum(self.own) :], self.own)
        if self.last_stage is not None:
            last_level = self.last_level(features) if last_level is None else last_level
            levels.append(between(last_level, features.shape[1:3]))
        return ops.concatenate([unit(level) for level in levels], axis=-1)

    def call(self, features):
        return self.cells(features)

    def compute_output_spec(self, features):
        return keras.KerasTensor((*features.shape[:-1], sum(self.widths)), "float32")

    def averages(self, cells, mask):
        """Cells [B,h,w,F] of supports, masks [B,S,S,1] in {0,1,255} -> dict of `foreground` and
        `background` float32 [B,1,1,F], 0 where there is none."""
        foreground, background = self.average(cells, mask)
        return {"foreground": foreground, "background": background}

    def added(self, logits, cells, averages, shots=1):
        """Logits [B,T,h,w,2] with the similarity in those of the foreground.

        The photo counts as one more support, its averages weighted by how sure the first of
        the T answers is of each cell. The mean of k supports weighs sqrt(k) times as much as
        one of them: it strays from the class that much less. Either of cells and averages may
        be one beside several of the other.

        Args:
            shots: number of supports that the averages are the mean of; may be a tensor, of one
                number or of one an answer [B,1,1,1].
        """
        supports = {name: unit_levels(value, self.widths) for name, value in averages.items()}
        weight = self.weight * shots**0.5
        first = ops.softmax((logits[:, :1] + _evidence(cells, supports, weight))[:, 0])
        shares = ops.split(first**CONFIDENCE, 2, axis=-1)  # background, foreground
        blended = {
            name: (
                shots * supports[name] + unit_levels(masked_average(cells, share), self.widths)
            )
            / (shots + 1)
            for name, share in zip(("background", "foreground"), shares, strict=True)
        }
        return logits + _evidence(cells, blended, weight)


@register
class CellAverages(layers.Layer):
    """Cells [B,h,w,F] and masks [B,S,S,1] in {0,1,255} -> the average cells of the object and
    of the background, float32 [B,1,1,F] each."""

    def compute_output_spec(self, cells, mask):
        shape = (cells.shape[0], 1, 1, cells.shape[-1])
        return tuple(keras.KerasTensor(shape, "float32") for _ in range(2))

    def call(self, cells, mask):
        # By area: a thin object may lie between the centres of the cells.
        background, size = ops.cast(ops.equal(mask, 0), "float32"), cells.shape[1:3]
        return tuple(
            masked_average(cells, resize_area(share, size))
            for share in (as_foreground(mask), background)
        )


def apart(cells, widths):
    """Cells [...,F] -> their levels, [...,F_l] each of the `widths`."""
    ends = [sum(widths[: number + 1]) for number in range(len(widths) - 1)]
    return list(ops.split(cells, ends, axis=-1)) if ends else [cells]


def unit_levels(cells, widths):
    """Cells [...,F] with each level of length 1."""
    return ops.concatenate([unit(level) for level in apart(cells, widths)], axis=-1)


def _evidence(cells, prototypes, weight):
    """What a cell's similarity adds to both logits: [B,1,h,w,2]."""
    contrast = prototypes["foreground"] - prototypes["background"]
    similarity = ops.sum(cells * contrast, axis=-1)[:, None]
    return ops.stack([ops.zeros_like(similarity), weight * similarity], axis=-1)


def object_average(cells, mask):
    """Mean of cells [...,h,w,F] over the object of a mask [...,S,S,1]: float32 [...,F]."""
    share = resize_area(as_foreground(mask), cells.shape[-3:-1])
    return masked_average(cells, share)[..., 0, 0, :]
