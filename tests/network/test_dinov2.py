"""DINOv2's backbone against a plain NumPy one, and where its cells lie."""

import keras
import numpy as np
import pytest

from crnet_tf.network import backbones, dinov2, pretrained
from crnet_tf.network.resizing import bicubic_matrix
from tools.dinov2_weights import for_backbone

SIDE = 29  # px: 3 x 3 cells


@pytest.fixture(scope="module")
def published():
    """Random weights under the names that keras-hub gives them."""
    rng = np.random.default_rng(0)

    def some(*shape):
        return rng.normal(0, 0.04, shape).astype("float32")

    weights = {
        "embeddings/cls_token": some(1, 1, 384),
        "embeddings/position_embeddings": some(1, 1 + 37 * 37, 384),
        "embeddings/patch_embeddings/projection/kernel": some(14, 14, 3, 384),
        "embeddings/patch_embeddings/projection/bias": some(384),
        "layernorm/gamma": 1 + some(384),
        "layernorm/beta": some(384),
    }
    for number in range(12):
        block = f"encoder/layers_{number}"
        for name in ("query", "key", "value"):
            weights[f"{block}/attention/attention/{name}/kernel"] = some(384, 6, 64)
            weights[f"{block}/attention/attention/{name}/bias"] = some(6, 64)
        weights[f"{block}/attention/attention/attention_output/kernel"] = some(6, 64, 384)
        weights[f"{block}/attention/attention/attention_output/bias"] = some(384)
        weights[f"{block}/mlp/fc1/kernel"] = some(384, 1536)
        weights[f"{block}/mlp/fc1/bias"] = some(1536)
        weights[f"{block}/mlp/fc2/kernel"] = some(1536, 384)
        weights[f"{block}/mlp/fc2/bias"] = some(384)
        for which in (1, 2):
            weights[f"{block}/layer_scale{which}/lambda1"] = 0.5 + some(384)
            weights[f"{block}/norm{which}/gamma"] = 1 + some(384)
            weights[f"{block}/norm{which}/beta"] = some(384)
    return weights


@pytest.fixture(scope="module")
def network(published, tmp_path_factory):
    path = tmp_path_factory.mktemp("dinov2") / "weights.npz"
    np.savez(path, **for_backbone(published))
    network = dinov2.build_dinov2((None, None, 3))
    pretrained.load_weights(network, "dinov2_small", str(path))
    return network


def plain_levels(weights, tokens):
    """Tokens [n,C] after each block, as the paper's formulas say it."""

    def norm(x, gamma, beta):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * gamma + beta

    def gelu(x):
        return x * keras.ops.convert_to_numpy(keras.ops.erf(x / 2**0.5) + 1) / 2

    found = []
    for number in range(12):
        w = {
            name.removeprefix(f"encoder/layers_{number}/"): value
            for name, value in weights.items()
            if name.startswith(f"encoder/layers_{number}/")
        }
        x, heads = norm(tokens, w["norm1/gamma"], w["norm1/beta"]), []
        for head in range(6):
            q, k, v = (
                x @ w[f"attention/attention/{name}/kernel"][:, head]
                + w[f"attention/attention/{name}/bias"][head]
                for name in ("query", "key", "value")
            )
            likeness = np.exp(q @ k.T / 8)
            heads.append(likeness / likeness.sum(-1, keepdims=True) @ v)
        out = w["attention/attention/attention_output/kernel"].reshape(384, 384)
        attended = np.concatenate(heads, -1) @ out
        attended += w["attention/attention/attention_output/bias"]
        tokens = tokens + attended * w["layer_scale1/lambda1"]
        x = norm(tokens, w["norm2/gamma"], w["norm2/beta"])
        x = gelu(x @ w["mlp/fc1/kernel"] + w["mlp/fc1/bias"])
        x = x @ w["mlp/fc2/kernel"] + w["mlp/fc2/bias"]
        tokens = tokens + x * w["layer_scale2/lambda1"]
        found.append(tokens)
    found[-1] = norm(found[-1], weights["layernorm/gamma"], weights["layernorm/beta"])
    return found


def test_the_levels_are_those_of_the_published_formulas(published, network):
    photo = np.random.default_rng(1).normal(size=(1, SIDE, SIDE, 3)).astype("float32")
    padded = np.pad(photo, [(0, 0), (7, 6), (7, 6), (0, 0)], mode="reflect")[0]
    kernel = published["embeddings/patch_embeddings/projection/kernel"]
    patches = padded.reshape(3, 14, 3, 14, 3).transpose(0, 2, 1, 3, 4).reshape(9, -1)
    patches = patches @ kernel.reshape(-1, 384)
    patches += published["embeddings/patch_embeddings/projection/bias"]
    places = published["embeddings/position_embeddings"][0]
    resized = bicubic_matrix(37, 3)
    placed = np.einsum("ai,bj,ijc->abc", resized, resized, places[1:].reshape(37, 37, 384))
    first = published["embeddings/cls_token"][0] + places[:1]
    tokens = np.concatenate([first, patches + placed.reshape(9, 384)])
    for level, wanted in zip(network(photo), plain_levels(published, tokens), strict=True):
        np.testing.assert_allclose(level[0], wanted[1:].reshape(3, 3, 384), atol=2e-4)


def test_the_bicubic_weights_are_pytorchs():
    # A quarter of a pixel past the nearest, with a = -0.75.
    np.testing.assert_allclose(
        bicubic_matrix(8, 16)[7, 2:6], [-0.10546875, 0.87890625, 0.26171875, -0.03515625]
    )
    np.testing.assert_allclose(bicubic_matrix(37, 21).sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("size", "cells"), [(15, 2), (29, 3), (281, 21), (225, 17)])
def test_a_photo_of_any_size_has_a_cell_every_fourteen_pixels(network, size, cells):
    assert network.compute_output_shape((1, size, size, 3))[0] == (1, cells, cells, 384)


def test_cells_lie_corners_on_corners(network):
    # The pixel in the middle is in the middle cell alone, the corner's in the corner's.
    tokens = network.get_layer("tokens")
    for pixel, cell in ((14, 1), (0, 0), (28, 2)):
        dot = np.zeros((1, SIDE, SIDE, 3), "float32")
        dot[0, pixel, pixel] = 50
        changed = np.abs(tokens(dot) - tokens(np.zeros_like(dot))).sum(-1)
        assert [*np.flatnonzero(changed[0, 1:])] == [3 * cell + cell]


def test_an_encoder_has_its_levels_and_no_weight_to_train():
    levels = backbones.FEATURE_LEVELS["dinov2_small"]["paper"]
    encoder = backbones.build_backbone("dinov2_small", (None, None, 3), levels).encoder
    assert encoder.compute_output_shape((None, 57, 57, 3)) == (None, 5, 5, 768)
    assert not encoder.trainable_variables


def test_weights_of_another_network_are_refused(tmp_path, published):
    wrong = for_backbone(published) | {"block3/wide/kernel": np.zeros((2, 2), "float32")}
    np.savez(tmp_path / "wrong.npz", **wrong)
    with pytest.raises(ValueError, match=r"block3/wide/kernel expected shape .*384, 1536"):
        pretrained.load_weights(
            dinov2.build_dinov2((None, None, 3)), "dinov2_small", str(tmp_path / "wrong.npz")
        )


def test_blocks_saved_as_whole_numbers_are_a_quarter_of_the_size(network, tmp_path):
    path, whole = tmp_path / "small.weights.h5", network.get_weights()
    dinov2.save_as_int8(network)
    network.save_weights(path)
    small = dinov2.build_dinov2((None, None, 3))
    small.load_weights(path)
    assert path.stat().st_size < 0.32 * sum(value.nbytes for value in whole)
    for was, now in zip(whole, small.get_weights(), strict=True):
        largest = np.abs(was).max(axis=0) if was.ndim == 2 else 0
        assert np.all(np.abs(now - was) <= largest / 253)
