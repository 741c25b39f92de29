"""The mask refinement module (Sec. 4.5, Fig. 5): features and cache in, logits out."""

import math
import types

import keras
import numpy as np
from keras import layers, ops

from crnet_tf.network.layers import Residual, classifier, conv, register
from crnet_tf.network.resizing import resize_align_corners
from crnet_tf.network.similarity import count_against_itself, maps_against_itself


@register
class GlobalConvolution(layers.Layer):
    """k x 1 -> 1 x k and 1 x k -> k x 1 in parallel, summed, linear (Peng et al., CVPR 2017).

    Call: [B,h,w,C] -> [B,h,w,channels]; a dense k x k field of view from 4k/k^2 of its weights.
    """

    def __init__(self, channels, kernel=7, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.kernel = channels, kernel
        # === Layers ===
        tall, wide = (kernel, 1), (1, kernel)
        self.tall_first = [linear(channels, tall, "tall_0"), linear(channels, wide, "tall_1")]
        self.wide_first = [linear(channels, wide, "wide_0"), linear(channels, tall, "wide_1")]

    def build(self, shape):
        for first, second in (self.tall_first, self.wide_first):
            first.build(shape)
            second.build((*shape[:-1], self.channels))

    def call(self, features):
        left, right = (b(a(features)) for a, b in (self.tall_first, self.wide_first))
        return left + right

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "kernel": self.kernel}


def linear(channels, kernel, name):
    """Convolution without nonlinearity."""
    return conv(channels, kernel, activation=None, name=name)


@register
class MaskRefinement(layers.Layer):
    """Where the last prediction was confident guides the next one (Sec. 4.5, Fig. 5).

    Call: features [B,h,w,C'], number of steps T -> logits float32 [B,T,h,w,2]. All steps
    share all weights. The cache [B,h,w,2], `first_cache` (default zeros) and then the last
    step's softmax, is an argument of `step` and never kept. With a `tolerance` a photo is
    refined no further once a step changes less than this share of it: its later steps are
    copies of that one, and no step is computed that no photo of the batch needs.

    Args:
        with_cache: off: no cache branch, one prediction (the baseline of Table 3).
        cache_gradient: let gradients flow from a step into the one before.
        widths: channels of the levels of `cells` [B,h,w,F], of which the cache branch sees
            `similarity.maps_against_itself` beside the cache, so that a step brings what was
            not there before; empty: none, the paper's.
    """

    def __init__(
        self, channels, kernel=7, with_cache=True, cache_gradient=False, widths=(), **kwargs
    ):
        super().__init__(**kwargs)
        self.channels, self.kernel = channels, kernel
        self.with_cache, self.cache_gradient = with_cache, cache_gradient
        self.widths = list(widths)
        # === Layers ===
        names = ("feature", "cache") if with_cache else ("feature",)
        self.entry = [conv(channels, name=f"{name}_entry") for name in names]
        # Without a second branch there is no opposite one to send a context to.
        halved = names if with_cache else ()
        self.downsample = [conv(channels, strides=2, name=f"{n}_downsample") for n in halved]
        self.wide = [
            GlobalConvolution(channels, kernel, name=f"{name}_global") for name in names
        ]
        self.combine = conv(channels, name="combine")
        self.residual = Residual(channels, name="residual")
        self.classifier = classifier()

    def build(self, shape):
        size = shape[:-1]
        seen = 2 + count_against_itself(self.widths)
        for layer, channels in zip(self.entry, (shape[-1], seen), strict=False):
            layer.build((*size, channels))
        for layer in (*self.downsample, *self.wide, self.residual, self.classifier):
            layer.build((*size, self.channels))
        self.combine.build((*size, self.channels * len(self.entry)))

    def compute_output_spec(
        self, features, steps, first_cache=None, cells=None, averages=None, tolerance=None
    ):
        batch, *size, _ = features.shape
        shape = (batch, steps if self.with_cache else 1, *size, 2)
        return keras.KerasTensor(shape, "float32")

    def call(
        self, features, steps, first_cache=None, cells=None, averages=None, tolerance=None
    ):
        entered = self.entry[0](features)
        if not self.with_cache:
            return ops.stack([self.combined([entered])], axis=1)
        # Nothing of the feature branch depends on the cache up to here: computed once.
        prepared = entered, self.context(0, entered)
        cache = first_cache
        if cache is None:
            cache = ops.zeros_like(features[..., :2], dtype="float32")

        def refined(cache):
            if not self.widths:
                return self.step(prepared, cache)
            maps = maps_against_itself(cells, cache, averages, self.widths)
            return self.step(prepared, ops.concatenate([cache, maps], axis=-1))

        if tolerance is not None and steps > 1:
            return until_still(refined, cache, steps, tolerance)
        results = []
        for _ in range(steps):
            results.append(refined(cache))
            cache = ops.softmax(results[-1])
            if not self.cache_gradient:
                cache = ops.stop_gradient(cache)
        return ops.stack(results, axis=1)

    def step(self, prepared, seen):
        """One refinement: feature branch with its context, cache and maps -> logits."""
        features, context = prepared
        entered = self.entry[1](ops.cast(seen, self.compute_dtype))
        # Downsample block: the context of each branch goes to the opposite one.
        return self.combined([features + self.context(1, entered), entered + context])

    def context(self, branch, entered):
        """Half-size convolution of a branch, resized back: [B,h,w,C] kept."""
        return resize_align_corners(self.downsample[branch](entered), entered.shape[1:3])

    def combined(self, branches):
        """Global convolution of every branch, and the combine block: -> logits [B,h,w,2]."""
        wide = [layer(x) for layer, x in zip(self.wide, branches, strict=True)]
        features = self.combine(ops.concatenate(wide, axis=-1))
        return self.classifier(ops.relu(self.residual(features)))

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "kernel": self.kernel,
            "with_cache": self.with_cache,
            "cache_gradient": self.cache_gradient,
            "widths": self.widths,
        }


def until_still(refined, cache, steps: int, tolerance):
    """Logits [B,T,h,w,2] of T refinement steps, not computed where nothing moves any more.

    Args:
        refined: a cache [B,h,w,2] -> logits [B,h,w,2]. cache: the first.
        tolerance: mean change of a photo's cache, up to 1, at which it is left as it is.
    """
    first = refined(cache)
    numbers = ops.reshape(ops.arange(steps), (1, steps, 1, 1, 1))

    def needed(number, results, last, moves):
        return ops.logical_and(number < steps, ops.any(moves))

    def one_more(number, results, last, moves):
        cache = ops.softmax(last)
        logits = ops.where(moves, refined(cache), last)
        moved = ops.mean(ops.abs(ops.softmax(logits) - cache), axis=(1, 2, 3), keepdims=True)
        results = ops.where(numbers >= number, logits[:, None], results)
        still_moves = ops.greater_equal(moved, ops.cast(tolerance, moved.dtype))
        return number + 1, results, logits, ops.logical_and(moves, still_moves)

    everywhere = ops.stack([first] * steps, axis=1)
    moves = ops.ones_like(first[:, :1, :1, :1], dtype="bool")
    return ops.while_loop(needed, one_more, (1, everywhere, first, moves))[1]


@register
class Threshold(layers.Layer):
    """Shifts logits so that what had the probability `threshold` has a half.

    Call: logits float32 [...,2] (background, foreground) -> the same. The threshold can be set
    at any time: graphs that were traced before follow. It comes from
    `Config.calibrated_threshold`; weights and checkpoints do not hold it.
    """

    def __init__(self, threshold=0.5, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        shift = keras.Variable(np.zeros(2), dtype="float32", trainable=False, name="shift")
        # Held where Keras does not look: it would be one of the network's weights.
        self.held = types.SimpleNamespace(shift=shift)
        self.threshold = threshold

    @property
    def threshold(self) -> float:
        return self.held.threshold

    @threshold.setter
    def threshold(self, value):
        self.held.threshold = value
        self.held.shift.assign([0.0, self._margin()])

    def _margin(self):
        return math.log(self.threshold / (1 - self.threshold))

    def compute_output_spec(self, logits):
        return keras.KerasTensor(logits.shape, "float32")

    def call(self, logits):
        return logits - ops.convert_to_tensor(self.held.shift)

    def constant(self, logits):
        """The call of exported graphs, which keep the threshold of now."""
        if self.threshold == 0.5:
            return logits
        # A difference: int8 files keep those in float.
        return logits - ops.convert_to_tensor([0.0, self._margin()], dtype=logits.dtype)

    def get_config(self):
        return {**super().get_config(), "threshold": self.threshold}
