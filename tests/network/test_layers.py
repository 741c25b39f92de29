"""Properties of the paper's modules."""

import keras
import numpy as np
import pytest
from keras import ops

from crnet_tf.network import cross_reference, layers, refinement, resizing


@pytest.fixture(autouse=True)
def same_weights_every_time():
    keras.utils.set_random_seed(0)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


# === Align-corners resize ===


@pytest.mark.parametrize(
    ("size", "new"), [((5, 7), (9, 13)), ((9, 13), (5, 7)), ((4, 4), (4, 9))]
)
def test_resize_is_exact_on_linear_ramps_and_keeps_corners(size, new):
    rows, columns = np.meshgrid(
        np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]), indexing="ij"
    )
    expected = np.meshgrid(np.linspace(0, 1, new[0]), np.linspace(0, 1, new[1]), indexing="ij")
    ramps = np.stack([rows, columns], -1)[None].astype("float32")
    resized = ops.convert_to_numpy(resizing.resize_align_corners(ramps, new))
    np.testing.assert_allclose(resized[0], np.stack(expected, -1), atol=1e-6)


def test_resize_keeps_every_eighth_pixel():
    """41 -> 321 is (41 - 1) * 8 + 1: the features lie on every eighth pixel."""
    features = noise(1, 5, 5, 3)
    resized = ops.convert_to_numpy(resizing.resize_align_corners(features, (33, 33)))
    np.testing.assert_allclose(resized[:, ::8, ::8], features, atol=1e-6)


def test_resize_takes_leading_axes():
    steps = noise(2, 3, 4, 4, 2)
    resized = ops.convert_to_numpy(resizing.resize_align_corners(steps, (7, 7)))
    one = ops.convert_to_numpy(resizing.resize_align_corners(steps[:, 1], (7, 7)))
    assert resized.shape == (2, 3, 7, 7, 2)
    np.testing.assert_allclose(resized[:, 1], one, atol=1e-6)


# === Masks ===


def test_mask_background_paints_everything_but_the_foreground_in_the_mean():
    image = noise(1, 2, 2, 3) * 50 + 100
    mask = np.array([1, 0, 255, 1], "uint8").reshape(1, 2, 2, 1)
    painted = ops.convert_to_numpy(layers.MaskBackground((10, 20, 30))(image, mask))
    np.testing.assert_allclose(painted[0, 0, 0], image[0, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(painted[0, 1, 1], image[0, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(painted[0, [0, 1], [1, 0]], [[10, 20, 30]] * 2, rtol=1e-5)


def test_masked_average_sees_the_foreground_only():
    features = noise(2, 4, 4, 3)
    mask = np.zeros((2, 4, 4, 1), "uint8")
    mask[:, 1:3, 1:3] = 1
    mask[:, 0] = 255
    average = ops.convert_to_numpy(layers.MaskedAverage()(features, mask))
    np.testing.assert_allclose(average[:, 0, 0], features[:, 1:3, 1:3].mean((1, 2)), rtol=1e-5)


def test_masked_average_of_what_lies_between_the_cells_goes_by_area():
    features, mask = noise(2, 4, 4, 3), np.zeros((2, 9, 9, 1), "uint8")
    mask[0, 4, 4] = 1  # the centres of the cells are at 0, 2.7, 5.3 and 8
    mask[1, 8, 8] = 1
    average = ops.convert_to_numpy(layers.MaskedAverage()(features, mask))[:, 0, 0]
    np.testing.assert_allclose(average[0], features[0, 1:3, 1:3].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(average[1], features[1, 3, 3], rtol=1e-5)


def test_masked_average_of_an_empty_mask_is_zero():
    average = layers.MaskedAverage()(noise(1, 4, 4, 3), np.zeros((1, 9, 9, 1), "uint8"))
    assert np.all(ops.convert_to_numpy(average) == 0)


# === Cross-reference and condition ===


def test_swapping_the_images_swaps_the_reinforced_maps():
    layer = cross_reference.CrossReference(8, ratio=2, rates=(1, 2))
    a, b = noise(2, 5, 5, 8, seed=1), noise(2, 5, 5, 8, seed=2)
    support, query = layer(a, b)
    swapped_support, swapped_query = layer(b, a)
    np.testing.assert_array_equal(support, swapped_query)
    np.testing.assert_array_equal(query, swapped_support)


def test_both_maps_are_weighted_by_the_same_channels_between_0_and_1():
    layer = cross_reference.CrossReference(8, ratio=2, rates=(1, 2))
    a, b = noise(1, 5, 5, 8, seed=1), noise(1, 5, 5, 8, seed=2)
    support, query = (ops.convert_to_numpy(x) for x in layer(a, b))
    weight = (support / a)[0, 0, 0]
    assert np.all((weight > 0) & (weight < 1))
    np.testing.assert_allclose(support, a * weight, rtol=1e-4)
    np.testing.assert_allclose(query, b * weight, rtol=1e-4)


def test_a_residual_gate_strengthens_and_does_not_see_how_bright_a_photo_is():
    layer = cross_reference.CrossReference(8, ratio=2, rates=(1, 2), gate="residual")
    a, b = noise(1, 5, 5, 8, seed=1), noise(1, 5, 5, 8, seed=2)
    support, query = (ops.convert_to_numpy(x) for x in layer(a, b))
    weight = (support / a)[0, 0, 0]
    assert np.all((weight > 1) & (weight < 2))
    np.testing.assert_allclose(query, b * weight, rtol=1e-4)
    bright, brighter = layer.importance(50 * a), layer.importance(150 * a + 5)
    np.testing.assert_allclose(bright, brighter, atol=1e-3)
    plain = cross_reference.CrossReference(8, ratio=2, rates=(1, 2))
    plain(a, b)
    assert np.abs(plain.importance(a) - plain.importance(3 * a + 5)).max() > 1e-2


def test_condition_depends_on_the_category():
    layer = layers.Condition(8)
    features = noise(1, 5, 5, 8)
    one = layer(features, noise(1, 1, 1, 8, seed=1))
    other = layer(features, noise(1, 1, 1, 8, seed=2))
    assert one.shape == (1, 5, 5, 8)
    assert np.abs(ops.convert_to_numpy(one) - ops.convert_to_numpy(other)).max() > 1e-3


@pytest.mark.parametrize("rate", [1, 2, 4, 6, 18])
def test_a_dilated_convolution_tap_by_tap_is_the_same(rate):
    layer, features = layers.conv(3, rate=rate), noise(2, 7, 6, 5)
    layer.build(features.shape)
    layer.bias.assign([0.1, -0.2, 0.3])
    expected = layer(features)
    found = cross_reference.by_taps(layer, features)
    np.testing.assert_allclose(*map(ops.convert_to_numpy, (found, expected)), atol=1e-5)
    assert np.ptp(ops.convert_to_numpy(expected)) > 0.1


def test_aspp_keeps_the_size_and_has_a_wide_field_of_view():
    layer = cross_reference.ASPP(4, rates=(2, 4))
    features = np.zeros((1, 11, 11, 3), "float32")
    touched = features.copy()
    touched[0, 0, 0] = 1
    before, after = (ops.convert_to_numpy(layer(x)) for x in (features, touched))
    assert before.shape == (1, 11, 11, 4)
    # Image pooling reaches the far corner.
    assert np.abs(after - before)[0, 10, 10].max() > 0


# === Refinement ===


def test_global_convolution_is_linear_with_a_dense_k_by_k_field():
    layer = refinement.GlobalConvolution(2, kernel=7)
    impulse = np.zeros((1, 15, 15, 3), "float32")
    impulse[0, 7, 7] = 1
    response = ops.convert_to_numpy(layer(impulse))
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(2 * impulse)), 2 * response, rtol=1e-4
    )
    touched = np.abs(response[0]).max(-1) > 0
    assert touched[4:11, 4:11].all() and touched.sum() == 49


def test_global_convolution_has_the_documented_number_of_weights():
    layer = refinement.GlobalConvolution(16, kernel=7)
    layer.build((None, 9, 9, 16))
    assert layer.count_params() == 4 * 16 * 16 * 7 + 4 * 16


def test_all_refinement_steps_share_their_weights():
    layer = refinement.MaskRefinement(4, kernel=3)
    one = layer(noise(2, 6, 6, 5), steps=1)
    count = layer.count_params()
    five = layer(noise(2, 6, 6, 5), steps=5)
    assert one.shape == (2, 1, 6, 6, 2) and five.shape == (2, 5, 6, 6, 2)
    assert layer.count_params() == count
    np.testing.assert_allclose(five[:, :1], one, atol=1e-6)


def test_the_cache_is_the_last_softmax():
    layer = refinement.MaskRefinement(4, kernel=3)
    features = noise(1, 6, 6, 5)
    steps = layer(features, steps=2)
    entered = layer.entry[0](features)
    again = layer.step((entered, layer.context(0, entered)), ops.softmax(steps[:, 0]))
    np.testing.assert_allclose(steps[:, 1], again, atol=1e-6)


def test_the_first_cache_is_zeros_unless_given():
    layer = refinement.MaskRefinement(4, kernel=3)
    features = noise(2, 6, 6, 5)
    plain = layer(features, steps=3)
    zeros = np.zeros((2, 6, 6, 2), "float32")
    np.testing.assert_array_equal(layer(features, steps=3, first_cache=zeros), plain)
    # Going on from the last softmax is what one more step does.
    going_on = layer(features, steps=2, first_cache=ops.softmax(plain[:, 0]))
    np.testing.assert_allclose(going_on, plain[:, 1:], atol=1e-6)
    cache = np.random.default_rng(0).uniform(size=(2, 6, 6, 2)).astype("float32")
    other = layer(features, steps=1, first_cache=cache)
    assert np.abs(ops.convert_to_numpy(other - plain[:, :1])).max() > 1e-5


def test_a_photo_that_is_still_is_refined_no_further():
    """Each by itself; no step is computed that none of a batch needs."""
    layer = refinement.MaskRefinement(4, kernel=3)
    layer(noise(2, 6, 6, 5), steps=1)
    layer.classifier.kernel.assign(30 * layer.classifier.kernel)  # else next to nothing moves
    features = noise(2, 6, 6, 5)
    features[1] *= 10
    every = ops.convert_to_numpy(layer(features, steps=4))
    caches = ops.convert_to_numpy(ops.softmax(every))
    moved = np.abs(np.diff(caches, axis=1)).mean(axis=(2, 3, 4))
    computed, step, seen = [], layer.step, set()
    layer.step = lambda *given: computed.append(1) or step(*given)
    for tolerance in (0.0, 1.0, moved[:, 0].mean()):
        still = np.concatenate([moved < tolerance, [[True]] * 2], axis=1)
        ends = np.minimum(1 + still.argmax(axis=1), 3)
        seen.add(tuple(ends))
        computed.clear()
        found = ops.convert_to_numpy(layer(features, steps=4, tolerance=tolerance))
        for photo, end in enumerate(ends):
            expected = every[photo, np.minimum(np.arange(4), end)]
            np.testing.assert_allclose(found[photo], expected, atol=1e-5)
        assert len(computed) == ends.max() + 1
    assert {(3, 3), (1, 1)} < seen  # and one in which the photos differ


def test_without_the_cache_branch_there_is_one_step():
    layer = refinement.MaskRefinement(4, kernel=3, with_cache=False)
    assert layer(noise(1, 6, 6, 5), steps=5).shape == (1, 1, 6, 6, 2)


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (layers.ResizeAlignCorners((7, 9)), [(1, 5, 5, 2)]),
        (layers.MaskBackground((1, 2, 3)), [(1, 5, 5, 3), (1, 5, 5, 1)]),
        (
            cross_reference.CrossReference(4, ratio=2, rates=(1, 2)),
            [(1, 5, 5, 4), (1, 5, 5, 4)],
        ),
        (cross_reference.CooccurrenceHead(4, rates=(1, 2)), [(1, 5, 5, 4)]),
        (layers.Condition(4), [(1, 5, 5, 4), (1, 1, 1, 4)]),
        (refinement.GlobalConvolution(4, kernel=3), [(1, 5, 5, 4)]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, keras.layers.Layer) else "",
)
def test_layers_are_restored_from_their_config(layer, shapes):
    inputs = [noise(*shape) for shape in shapes]
    expected = layer(*inputs)
    restored = type(layer).from_config(layer.get_config())
    restored(*inputs)
    restored.set_weights(layer.get_weights())
    for a, b in zip(
        keras.tree.flatten(expected), keras.tree.flatten(restored(*inputs)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
