"""The network: symmetric, 1-shot, trained through both heads, saved as one file."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.networks import SIZE, TINY, build, eager, episode, targets  # noqa: F401

from crnet_tf.network import losses, model, parts
from crnet_tf.network.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def network():
    return build()


# === The graph ===


def test_outputs_are_float32_logits_at_the_size_of_the_photo(network):
    outputs = network(episode())
    assert sorted(outputs) == ["query", "support"]
    for logits in outputs.values():
        assert logits.shape == (2, SIZE, SIZE, 2)
        assert keras.backend.standardize_dtype(logits.dtype) == "float32"


def test_training_adds_every_step_and_the_cooccurrence(network):
    outputs = network(episode(), training=True)
    assert outputs["query_steps"].shape == (2, TINY.train_refine_steps, SIZE, SIZE, 2)
    assert outputs["support_cooccurrent"].shape == (2, SIZE, SIZE, 2)


def test_both_branches_in_one_batch_are_each_alone(network):
    inputs = episode()
    outputs = network(inputs, training=True)
    own = network.parts
    features = parts.encode(own, inputs)
    projected = {name: own.projection(value) for name, value in features.items()}
    category = own.category(projected["category"], inputs["support_mask"])
    reinforced = own.cross_reference(projected["support"], projected["query"])
    for name, branch in zip(("support", "query"), reinforced, strict=True):
        compared = parts.condition(own, branch, category)
        steps = own.to_image(own.refinement(compared, steps=TINY.train_refine_steps))
        common = own.to_image(own.cross_reference.cooccurrence(branch))
        np.testing.assert_allclose(outputs[f"{name}_steps"], steps, atol=1e-6)
        np.testing.assert_allclose(outputs[f"{name}_cooccurrent"], common, atol=1e-6)


def test_the_summary_reads_like_figure_2(network):
    names = [layer.name for layer in network.layers]
    order = ["encoder", "projection", "cross_reference", "condition", "refinement", "to_image"]
    assert [names.index(name) for name in order] == sorted(names.index(name) for name in order)
    assert "category_vector" in names and "mask_background" in names


def test_swapping_support_and_query_swaps_the_heads():
    """Exactly, where no category vector breaks the symmetry."""
    network = build(condition=False)
    inputs = episode()
    swapped = inputs | {
        "support_image": inputs["query_image"],
        "query_image": inputs["support_image"],
    }
    first, second = network(inputs), network(swapped)
    np.testing.assert_allclose(first["query"], second["support"], atol=1e-5)
    np.testing.assert_allclose(first["support"], second["query"], atol=1e-5)
    assert np.abs(np.array(first["query"]) - np.array(first["support"])).max() > 1e-4


def test_the_same_photo_twice_gives_equal_heads(network):
    inputs = episode()
    outputs = network(inputs | {"query_image": inputs["support_image"]})
    np.testing.assert_allclose(outputs["query"], outputs["support"], atol=1e-6)


def test_the_category_comes_from_the_mask(network):
    inputs = episode()
    other = inputs["support_mask"].copy()
    other[:, :8] = 1
    changed = network(inputs | {"support_mask": other})["query"]
    assert np.abs(np.array(changed) - np.array(network(inputs)["query"])).max() > 1e-6


def test_the_support_head_does_not_see_the_mask_but_through_the_category():
    """A real prediction: without the condition module the mask changes nothing."""
    network = build(condition=False)
    inputs = episode()
    changed = inputs | {"support_mask": np.ones_like(inputs["support_mask"])}
    np.testing.assert_array_equal(network(inputs)["support"], network(changed)["support"])


def test_query_logits_are_of_the_query_branch_of_the_graph(network):
    inputs = episode()
    state = network.encode_support(inputs["support_image"], inputs["support_mask"])
    steps = network.query_logits(state, inputs["query_image"])
    assert steps.shape == (2, TINY.refine_steps, SIZE, SIZE, 2)
    np.testing.assert_allclose(steps[:, -1], network(inputs)["query"], atol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 8.0])
def test_either_head_is_one_branch_with_the_state_of_its_partner(weight):
    network, inputs = build(prototype_weight=weight), episode()
    features = parts.encode(network.parts, inputs)
    photos = {n: parts.branch_input(network.parts, features[n]) for n in parts.BRANCHES}
    state = parts.state_of_features(network.parts, features, inputs["support_mask"])
    assert (state.background is not None) == (weight > 0)
    importance = network.parts.cross_reference.importance
    own, other = (importance(photos[name]["projected"]) for name in parts.BRANCHES)
    np.testing.assert_allclose(state.importance, own)
    partners = {"query": state, "support": dataclasses.replace(state, importance=other)}
    for name, partner in partners.items():
        logits = parts.branch_logits(network.parts, partner, photos[name], TINY.refine_steps)
        assert logits.shape == (2, TINY.refine_steps, 5, 5, 2)
        answer = network.parts.to_image(logits[:, -1])
        np.testing.assert_allclose(answer, network(inputs)[name], atol=1e-5)


def test_a_photo_of_another_size_is_encoded_alike(network):
    """Where the borders are far, each cell sees the same pixels whatever the size."""
    encoder = network.parts.encoder
    assert encoder.output_shape == (None, None, None, 128)
    assert encoder.compute_output_shape((None, SIZE, SIZE, 3)) == (None, 5, 5, 128)
    image = np.random.default_rng(0).uniform(0, 255, (1, 129, 97, 3)).astype("float32")
    whole, part = encoder(image), encoder(image[:, :97])
    assert whole.shape == (1, 17, 13, 128) and part.shape == (1, 13, 13, 128)
    np.testing.assert_allclose(whole[:, :7], part[:, :7], atol=1e-4)


def test_on_features_shares_every_layer(network):
    inputs = episode()
    features = parts.encode(network.parts, inputs)
    start = {f"{name}_features": value for name, value in features.items()}
    start["support_mask"] = keras.ops.convert_to_tensor(inputs["support_mask"])
    other = model.on_features(network)
    np.testing.assert_allclose(other(start)["query"], network(inputs)["query"], atol=1e-5)
    known = {id(variable) for variable in network.trainable_variables}
    assert {id(variable) for variable in other.trainable_variables} == known


@pytest.mark.parametrize(
    "changes",
    [
        {"condition": False},
        {"cross_reference": False},
        {"mask_refinement": False},
        {"multi_level": False},
        {"cache_gradient": True, "dropout": 0.5},
        {"precision": "mixed_bfloat16"},
        {"precision": "mixed_float16"},
        {"train_backbone": True, "feature_levels": "canet"},
        {"similarity": True, "gate": "residual", "mask_image": False, "support_weight": 0.0},
    ],
    ids=str,
)
def test_every_ablation_builds_trains_and_saves(changes, tmp_path):
    network = build(**changes)
    inputs = episode()
    network.compile("sgd", jit_compile=False)
    network.train_on_batch(inputs, targets(inputs))
    network.save(tmp_path / "a.keras")
    loaded = load_checkpoint(tmp_path / "a.keras")
    assert loaded.config == network.config
    np.testing.assert_allclose(loaded(inputs)["query"], network(inputs)["query"], atol=1e-5)
    for variable, other in zip(network.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), other.numpy())


# === Training ===


@pytest.mark.slow
def test_the_loss_falls_when_one_episode_is_seen_again_and_again():
    tf.config.run_functions_eagerly(False)  # one trace for many steps
    network = build(train_backbone=True, train_refine_steps=1)
    network.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    inputs = episode(1)
    inputs["query_image"] = inputs["support_image"]
    aim = targets(inputs)
    first = network.train_on_batch(inputs, aim, return_dict=True)["loss"]
    for _ in range(20):
        last = network.train_on_batch(inputs, aim, return_dict=True)
    assert last["query_loss"] < 0.5 * np.log(2)
    assert last["loss"] < first


def test_every_head_and_step_is_logged(network):
    network.compile("sgd", jit_compile=False)
    inputs = episode()
    logs = network.train_on_batch(inputs, targets(inputs), return_dict=True)
    expected = {f"{name}_loss" for name in losses.names(TINY)} | {"loss"}
    assert set(logs) == expected
    assert all(value > 0 for value in logs.values())


def test_the_loss_is_the_weighted_sum_of_the_logged_ones():
    network = build(query_weight=2.0, support_weight=0.5, cooccurrent_weight=0.25)
    network.compile("sgd", jit_compile=False)
    inputs = episode()
    logs = network.train_on_batch(inputs, targets(inputs), return_dict=True)
    parts_sum = 2 * logs["query_loss"] + 0.5 * logs["support_loss"]
    both = logs["query_cooccurrent_loss"] + logs["support_cooccurrent_loss"]
    assert logs["loss"] == pytest.approx(parts_sum + 0.25 * both, rel=1e-5)


def test_training_moves_everything_but_a_frozen_encoder():
    network = build()
    network.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    before = {v.path: v.numpy() for v in network.weights}
    encoder = [v.numpy() for v in network.parts.encoder.weights]
    inputs = episode()
    network.train_on_batch(inputs, targets(inputs))
    for was, now in zip(encoder, network.parts.encoder.weights, strict=True):
        np.testing.assert_array_equal(was, now.numpy())
    trained = {v.path: v for v in network.trainable_variables}
    assert not any(path.startswith("stage") for path in trained)
    moved = [path for path, v in trained.items() if np.any(before[path] != v.numpy())]
    assert len(moved) == len(trained)


def test_a_frozen_backbone_costs_no_backward_pass():
    import tensorflow as tf

    network = build()
    inputs = {key: tf.constant(value) for key, value in episode().items()}
    with tf.GradientTape() as tape:
        tape.watch(inputs["query_image"])
        loss = tf.reduce_sum(network(inputs, training=True)["query_steps"])
    assert tape.gradient(loss, inputs["query_image"]) is None


def test_gradients_through_the_cache_are_a_choice():
    import tensorflow as tf

    def gradient(cache_gradient):
        network = build(cache_gradient=cache_gradient)
        inputs = episode()
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(network(inputs, training=True)["query_steps"][:, -1] ** 2)
        return tape.gradient(loss, network.parts.refinement.classifier.kernel).numpy()

    assert np.abs(gradient(True) - gradient(False)).max() > 0


@pytest.mark.slow
def test_two_devices_train_like_one():
    """On two logical CPUs: same weights after a step as on one device, clipped and not. That
    a run on two ends well is tested beside the command."""
    code = f"""
import numpy as np, tensorflow as tf, keras, sys
sys.path.insert(0, {str(pathlib.Path(__file__).parents[1])!r})
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from helpers import networks as t
inputs = t.episode(4)
data = tf.data.Dataset.from_tensor_slices((inputs, t.targets(inputs))).batch(4)
def weights(strategy, clip):
    with strategy.scope():
        network = t.build(clip_norm=clip)
        optimizer = keras.optimizers.SGD(0.1, global_clipnorm=clip or None)
        network.compile(optimizer, jit_compile=False)
    network.fit(data, verbose=0, shuffle=False)
    return [variable.numpy() for variable in network.trainable_variables]
for clip in (0.0, 0.01):
    two = weights(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), clip)
    one = weights(tf.distribute.get_strategy(), clip)
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(one, two)), clip
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]


def test_jax_gives_equal_answers_and_losses(tmp_path):
    pytest.importorskip("jax", reason="jax is not installed")
    network = build(prototype_weight=7.0)
    network.save(tmp_path / "a.keras")
    network.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    inputs = episode()
    expected = [np.std(network(inputs)["query"])]
    expected += [
        network.train_on_batch(inputs, targets(inputs), return_dict=True)["loss"]
        for _ in range(2)
    ]
    code = f"""
import sys, keras
sys.path.insert(0, {str(pathlib.Path(__file__).parents[1])!r})
from crnet_tf.network.checkpoint import load_checkpoint
from helpers import networks as t
assert keras.backend.backend() == "jax"
network = load_checkpoint({str(tmp_path / "a.keras")!r})
network.compile(keras.optimizers.SGD(0.1))
inputs = t.episode()
print(keras.ops.std(network(inputs)["query"]))
for _ in range(2):
    print(network.train_on_batch(inputs, t.targets(inputs), return_dict=True)["loss"])
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    np.testing.assert_allclose([float(x) for x in run.stdout.split()], expected, rtol=1e-4)


# === Checkpoints ===


def test_a_threshold_set_after_the_first_call_counts(tmp_path):
    """In graphs that were traced before, too; and it is none of the weights."""
    tf.config.run_functions_eagerly(False)
    network, inputs = build(), episode()
    answer = tf.function(lambda given: network(given)["query"])
    before = answer(inputs)
    network.parts.threshold.threshold = 0.2
    moved = before - np.float32([0, np.log(0.25)])
    np.testing.assert_allclose(answer(inputs), moved, atol=1e-6)
    assert answer.experimental_get_tracing_count() == 1
    assert not network.parts.threshold.weights
    network.save(tmp_path / "a.keras")
    loaded = load_checkpoint(tmp_path / "a.keras")  # as its Config says
    np.testing.assert_allclose(loaded(inputs)["query"], before, atol=1e-6)
