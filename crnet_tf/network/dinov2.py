"""DINOv2's ViT-S/14 as a backbone (Oquab et al., TMLR 2024), at 1/14 resolution.

    photo [B,S,S,3] -> tokens [B,1+g*g,C], one a patch of 14 x 14 px, after a class token
    block1 ... block12, each of attention and a small MLP -> level1 ... level12 [B,g,g,C]

Cells lie corners on corners, as in all features of this project: the photo is resized to
14 (g-1) + 1 px and padded by its mirror image, so that the centre of the first patch is the
first pixel. What scales a branch's output (LayerScale) is part of its last weights.
"""

import keras
import numpy as np
from keras import layers, ops

from crnet_tf.network.layers import register
from crnet_tf.network.resizing import resize_align_corners, resize_bicubic

PATCH, CHANNELS, HEADS, DEPTH = 14, 384, 6, 12
TRAINED_GRID = 37  # patches a side of the photos it was trained on


def cells_of(size: int | None) -> int | None:
    """Patches a side of a photo of `size` px."""
    return None if size is None else max(2, round((size - 1) / PATCH) + 1)


@register
class PatchTokens(layers.Layer):
    """Normalized photos [B,S,S,3] -> tokens [B,1+g*g,C] that know their place."""

    def build(self, shape):
        self.patches = layers.Conv2D(CHANNELS, PATCH, PATCH, name="patches", dtype=self.dtype)
        self.patches.build((None, None, None, 3))
        self.class_token = self.add_weight((1, 1, CHANNELS), name="class_token")
        self.class_place = self.add_weight((1, 1, CHANNELS), name="class_place")
        places = (TRAINED_GRID, TRAINED_GRID, CHANNELS)
        self.places = self.add_weight(places, name="places")

    def compute_output_spec(self, photos):
        cells = cells_of(photos.shape[1])
        count = None if cells is None else 1 + cells**2
        return keras.KerasTensor((photos.shape[0], count, CHANNELS), self.compute_dtype)

    def call(self, photos):
        cells = cells_of(photos.shape[1])
        side = PATCH * (cells - 1) + 1
        before = [PATCH // 2, PATCH - 1 - PATCH // 2]
        photos = resize_align_corners(photos, (side, side))
        photos = ops.pad(photos, [[0, 0], before, before, [0, 0]], mode="reflect")
        tokens = self.patches(photos) + resize_bicubic(self.places, (cells, cells))
        tokens = ops.reshape(tokens, (-1, cells**2, CHANNELS))
        first = ops.zeros_like(tokens[:, :1]) + self.class_token + self.class_place
        return ops.concatenate([first, tokens], axis=1)


@register
class FrozenDense(layers.Dense):
    """A dense layer that can be saved in a quarter of the bytes: whole numbers of -127 to 127
    and a scale for each unit. `compact` asks for it."""

    saved_as_int8 = False

    def save_own_variables(self, store):
        if not self.saved_as_int8:
            return super().save_own_variables(store)
        kernel = ops.convert_to_numpy(self.kernel)
        scale = np.maximum(np.abs(kernel).max(axis=0), 1e-12) / 127
        store["0"], store["1"] = np.rint(kernel / scale).astype(np.int8), self.bias
        store["scale"] = scale

    def load_own_variables(self, store):
        if "scale" not in store.keys():
            return super().load_own_variables(store)
        self.kernel.assign(np.float32(store["0"]) * np.float32(store["scale"]))
        self.bias.assign(store["1"])


@register
class Block(layers.Layer):
    """Tokens [B,n,C] -> [B,n,C]: attention of all to all, then an MLP on each."""

    def build(self, shape):
        def norm(name):
            layer = layers.LayerNormalization(epsilon=1e-6, name=name, dtype=self.dtype_policy)
            layer.build((None, None, CHANNELS))
            return layer

        def dense(inputs, units, name):
            layer = FrozenDense(units, name=name, dtype=self.dtype_policy)
            layer.build((None, None, inputs))
            return layer

        self.before_attention = norm("before_attention")
        self.queries_keys_values = dense(CHANNELS, 3 * CHANNELS, "queries_keys_values")
        self.attended = dense(CHANNELS, CHANNELS, "attended")
        self.before_mlp = norm("before_mlp")
        self.wide = dense(CHANNELS, 4 * CHANNELS, "wide")
        self.narrow = dense(4 * CHANNELS, CHANNELS, "narrow")

    def compute_output_spec(self, tokens):
        return keras.KerasTensor(tokens.shape, self.compute_dtype)

    def call(self, tokens):
        tokens = tokens + self.attended(self._attention(self.before_attention(tokens)))
        wide = ops.gelu(self.wide(self.before_mlp(tokens)), approximate=False)
        return tokens + self.narrow(wide)

    def _attention(self, tokens):
        count, width = tokens.shape[1], CHANNELS // HEADS
        parts = ops.reshape(self.queries_keys_values(tokens), (-1, count, 3, HEADS, width))
        queries, keys, values = ops.unstack(ops.transpose(parts, (2, 0, 3, 1, 4)), 3)
        likeness = ops.matmul(queries * width**-0.5, ops.swapaxes(keys, -1, -2))
        found = ops.matmul(ops.softmax(likeness), values)
        return ops.reshape(ops.swapaxes(found, 1, 2), (-1, count, CHANNELS))


def save_as_int8(network: keras.Model) -> None:
    """Has the blocks in a network saved as whole numbers, see `FrozenDense`."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            save_as_int8(layer)
        elif isinstance(layer, Block):
            for dense in (layer.queries_keys_values, layer.attended, layer.wide, layer.narrow):
                dense.saved_as_int8 = True


@register
class TokenMap(layers.Layer):
    """Tokens [B,1+g*g,C] -> what they say of their places [B,g,g,C]."""

    def compute_output_spec(self, tokens):
        cells = tokens.shape[1] and round((tokens.shape[1] - 1) ** 0.5)
        return keras.KerasTensor((tokens.shape[0], cells, cells, CHANNELS), self.compute_dtype)

    def call(self, tokens):
        cells = round((tokens.shape[1] - 1) ** 0.5)
        return ops.reshape(tokens[:, 1:], (-1, cells, cells, CHANNELS))


def build_dinov2(input_shape: tuple[int | None, int | None, int]) -> keras.Model:
    """Normalized photos -> `level1` ... `level12`, of random weights: the cells after each
    block, the last after the final norm too."""
    photo = keras.Input(input_shape)
    tokens, levels = PatchTokens(name="tokens")(photo), []
    for number in range(1, DEPTH + 1):
        tokens = Block(name=f"block{number}")(tokens)
        if number == DEPTH:
            tokens = layers.LayerNormalization(epsilon=1e-6, name="norm")(tokens)
        levels.append(TokenMap(name=f"level{number}")(tokens))
    return keras.Model(photo, levels, name="dinov2_small")
