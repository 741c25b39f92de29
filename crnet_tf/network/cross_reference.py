"""The cross-reference module (Sec. 4.3, Fig. 3): what two photos have in common."""

import itertools

import keras
from keras import layers, ops

from crnet_tf.network.layers import classifier, conv, register


@register
class ASPP(layers.Layer):
    """Atrous spatial pyramid pooling: 1x1, 3x3 at each rate, image pooling, fused by 1x1.

    Call: [B,h,w,C] -> [B,h,w,channels]. Branches as in CANet.
    """

    def __init__(self, channels, rates=(6, 12, 18), **kwargs):
        super().__init__(**kwargs)
        self.channels, self.rates = channels, tuple(rates)
        # === Layers ===
        self.point = conv(channels, kernel=1, name="point")
        self.atrous = [conv(channels, rate=rate, name=f"rate{rate}") for rate in self.rates]
        self.pooled = conv(channels, kernel=1, name="pooled")
        self.fuse = conv(channels, kernel=1, name="fuse")

    def build(self, shape):
        for layer in (self.point, *self.atrous):
            layer.build(shape)
        self.pooled.build((shape[0], 1, 1, shape[-1]))
        self.fuse.build((*shape[:-1], self.channels * (len(self.rates) + 2)))

    def call(self, features):
        whole = self.pooled(ops.mean(features, axis=(1, 2), keepdims=True))
        branches = [self.point(features), *(by_taps(layer, features) for layer in self.atrous)]
        branches.append(ops.broadcast_to(whole, ops.shape(branches[0])))
        return self.fuse(ops.concatenate(branches, axis=-1))

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "rates": self.rates}


def by_taps(layer: layers.Conv2D, features):
    """What a dilated convolution makes of features [B,h,w,C], tap by tap of its kernel.

    At wide rates most taps lie outside the photo, for most cells: only the cells that a tap has
    are multiplied. TensorFlow's own way on a CPU takes up to nine times as long.
    """
    (height, width), (rows, columns) = features.shape[1:3], layer.kernel_size
    rate, result = layer.dilation_rate[0], layer.bias
    for row, column in itertools.product(range(rows), range(columns)):
        down, right = (row - rows // 2) * rate, (column - columns // 2) * rate
        if abs(down) >= height or abs(right) >= width:
            continue
        seen = features[
            :,
            max(0, down) : height + min(0, down),
            max(0, right) : width + min(0, right),
        ]
        around = [(0, 0), *((max(0, -n), max(0, n)) for n in (down, right)), (0, 0)]
        result = result + ops.pad(ops.matmul(seen, layer.kernel[row, column]), around)
    return layer.activation(result)


@register
class CooccurrenceHead(layers.Layer):
    """Predicts what two images have in common (Sec. 4.3): [B,h,w,C] -> logits [B,h,w,2].

    convolution -> ASPP -> convolution to two channels; used in training only.
    """

    def __init__(self, channels, rates=(6, 12, 18), **kwargs):
        super().__init__(**kwargs)
        self.channels, self.rates = channels, tuple(rates)
        # === Layers ===
        self.entry = conv(channels, name="entry")
        self.aspp = ASPP(channels, rates, name="aspp")
        self.classifier = classifier()

    def build(self, shape):
        inner = (*shape[:-1], self.channels)
        self.entry.build(shape)
        self.aspp.build(inner)
        self.classifier.build(inner)

    def call(self, features):
        return self.classifier(self.aspp(self.entry(features)))

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "rates": self.rates}


@register
class CrossReference(layers.Layer):
    """Weights both feature maps by the channels they share (Sec. 4.3, Fig. 3).

    Call: support, query [B,h,w,C] -> reinforced support, reinforced query [B,h,w,C].
    Both images go through one FC pair, so that swapping them swaps the results. The
    `cooccurrence` head on top, [B,h,w,C] -> logits [B,h,w,2], is called in training only.

    Args:
        gate: "product": features times both importances, the paper's; "residual": averages
            normalised before the FC pair, and features times one plus that product (ours).
    """

    def __init__(self, channels, ratio=4, rates=(6, 12, 18), gate="product", **kwargs):
        super().__init__(**kwargs)
        self.channels, self.ratio, self.rates = channels, ratio, tuple(rates)
        self.gate = gate
        # === Layers ===
        self.normalize = (
            layers.LayerNormalization(name="normalize") if gate != "product" else None
        )
        squeezed = max(1, channels // ratio)
        self.squeeze = layers.Dense(squeezed, activation="relu", name="squeeze")
        self.excite = layers.Dense(channels, activation="sigmoid", name="excite")
        self.cooccurrence = CooccurrenceHead(channels, rates, name="cooccurrence")

    def build(self, support_shape, query_shape):
        if self.normalize is not None:
            self.normalize.build((None, 1, 1, self.channels))
        self.squeeze.build((None, 1, 1, self.channels))
        self.excite.build((None, 1, 1, self.squeeze.units))
        self.cooccurrence.build(support_shape)

    def importance(self, features):
        """Importance of each channel in [0, 1]: [B,h,w,C] -> [B,1,1,C]."""
        average = ops.mean(features, axis=(1, 2), keepdims=True)
        if self.normalize is not None:
            # Else it is dominated by what all photos have, and the importance a constant.
            average = self.normalize(average)
        return self.excite(self.squeeze(average))

    def reinforced(self, features, importance, partner):
        """Features [B,h,w,C] of a photo, by its own importance and its partner's [B,1,1,C]."""
        common = importance * partner
        return features * (common if self.normalize is None else 1 + common)

    def compute_output_spec(self, support, query):
        both = (keras.KerasTensor(x.shape, self.compute_dtype) for x in (support, query))
        return tuple(both)

    def call(self, support, query):
        of_support, of_query = self.importance(support), self.importance(query)
        return (
            self.reinforced(support, of_support, of_query),
            self.reinforced(query, of_query, of_support),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "ratio": self.ratio,
            "rates": self.rates,
            "gate": self.gate,
        }
