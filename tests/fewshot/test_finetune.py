"""Fine-tuning learns from pairs of supports and gives the network back as it was."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from helpers.networks import eager, lively, photo  # noqa: F401

from crnet_tf.data import frames
from crnet_tf.fewshot import finetune
from crnet_tf.fewshot.finetune import Finetuner, adapted_variables, holding
from crnet_tf.network import parts
from crnet_tf.options import Options

QUICK = Options(kshot="finetune", finetune_steps=3, finetune_rate=1e-3)


def arrays(*seeds, size=33):
    """Photos [K,S,S,3] and masks [K,S,S,1]."""
    supports, frame = [photo(seed) for seed in seeds], frames.Frame(size)
    images = np.stack([frame.image(one.image) for one in supports])
    return images, np.stack([frame.mask(one.mask) for one in supports])


def encoded(network, *seeds):
    images, masks = arrays(*seeds)
    features = finetune.encode(network.parts, {"support_image": images, "support_mask": masks})
    features = {name: value.numpy() for name, value in features.items()}
    return features["support"], features.get("category"), masks


def values(network):
    return [np.array(variable) for variable in network.variables]


def equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def network():
    return lively()


# === What is changed, and what is given back ===


def test_all_but_the_encoder_and_the_cooccurrence_is_adapted(network):
    adapted = {id(variable) for variable in adapted_variables(network)}
    parts = network.parts
    fixed = parts.encoder.weights + parts.cross_reference.cooccurrence.weights
    fixed += parts.centre.weights + parts.likelihood.weights
    assert adapted == {id(v) for v in network.weights} - {id(v) for v in fixed}


def test_every_adapted_variable_moves_and_is_put_back(network):
    before = values(network)
    result = finetune.finetune(network, *arrays(1, 2, 3), QUICK)
    assert equal(before, values(network))
    own = [variable.numpy() for variable in adapted_variables(network)]
    for variable, old, new in zip(adapted_variables(network), own, result.weights, strict=True):
        assert np.any(old != new), variable.path
    assert result.losses.shape == (3,)


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.5},
        {"precision": "mixed_float16"},
        {"mask_refinement": False},
        *(
            pytest.param(changes, marks=pytest.mark.slow)
            for changes in (
                {"train_backbone": True},
                {"precision": "mixed_bfloat16"},
                {"condition": False},
                {"cross_reference": False},
            )
        ),
    ],
    ids=str,
)
def test_any_network_adapts_alike_twice_and_is_left_as_it_was(changes):
    network = lively(**changes)
    before = values(network)
    tuner = Finetuner(network, dataclasses.replace(QUICK, finetune_steps=1))
    first = tuner(*encoded(network, 1, 2))
    assert equal(before, values(network))
    tuner(*encoded(network, 3, 4, 5))
    again = tuner(*encoded(network, 1, 2))
    assert equal(first.weights, again.weights) and np.isfinite(first.losses).all()
    np.testing.assert_array_equal(first.losses, again.losses)
    assert equal(before, values(network))


def test_the_network_is_given_back_however_it_ends(network):
    tuner, before = Finetuner(network, QUICK), values(network)
    update, calls = tuner.update, []

    def breaks(batch):
        calls.append(update(batch))
        if len(calls) == 2:
            raise KeyboardInterrupt("in the middle")
        return calls[-1]

    tuner.update = breaks
    supports = encoded(network, 1, 2)
    with pytest.raises(KeyboardInterrupt, match="in the middle"):
        tuner(*supports)
    assert len(calls) == 2 and equal(before, values(network))
    tuner.update = update
    assert equal(tuner(*supports).weights, Finetuner(network, QUICK)(*supports).weights)


def test_holding_puts_back_what_was_there(network):
    variables = adapted_variables(network)
    before = values(network)
    with (
        pytest.raises(KeyboardInterrupt),
        holding(variables, [0 * v.numpy() for v in variables]),
    ):
        assert not any(np.any(v.numpy()) for v in variables)
        raise KeyboardInterrupt
    assert equal(before, values(network))
    with pytest.raises(ValueError), holding(variables, [variables[0].numpy() + 1]):
        pytest.fail("too few values were taken")
    assert equal(before, values(network))


# === Learning ===


def test_the_loss_falls_on_an_easy_example():
    network = lively()
    options = dataclasses.replace(QUICK, finetune_steps=40, finetune_rate=3e-3)
    tf.config.run_functions_eagerly(False)
    result = finetune.finetune(network, *arrays(1, 2), options)
    assert result.losses[-5:].mean() < 0.7 * result.losses[:5].mean()


def test_the_first_loss_is_that_of_the_network_itself(network):
    """An update's loss is of the weights before it, over both heads and all steps."""
    tuner = Finetuner(network, dataclasses.replace(QUICK, finetune_steps=1))
    support, category, masks = encoded(network, 1, 2)
    result = tuner(support, category, masks)
    i, j = np.random.default_rng(0).integers(0, 2, (2, 2))
    images, _ = arrays(1, 2)
    inputs = {
        "support_image": images[i],
        "query_image": images[j],
        "support_mask": masks[i],
    }
    outputs = network(inputs, training=True)
    outputs = {name: v for name, v in outputs.items() if name.endswith("_steps")}
    named = finetune.losses.crnet_losses(outputs, masks[i], masks[j])
    np.testing.assert_allclose(result.losses[0], named["query"] + named["support"], rtol=1e-4)


def answers(network, images, masks, i, j):
    """Logits [2B,T,S,S,2] of both heads for pairs (i, j), as they are answered."""
    inputs = {"support_image": images[i], "query_image": images[j], "support_mask": masks[i]}
    features = parts.encode(network.parts, inputs)
    steps = network.config.train_refine_steps
    return network.parts.to_image(
        parts.logits_of_both(network.parts, features, masks[i], steps)
    ).numpy()


@pytest.mark.parametrize("levels", ["own", "deep"])
def test_losses_see_prototypes_but_no_threshold(levels):
    network = lively(calibrated_threshold=0.2, prototype_weight=2.0, prototype_levels=levels)
    tuner = Finetuner(network, dataclasses.replace(QUICK, finetune_steps=1))
    support, category, masks = encoded(network, 1, 2)
    result = tuner(support, category, masks)
    i, j = np.random.default_rng(0).integers(0, 2, (2, 2))
    network.parts.threshold.threshold = 0.5
    both = np.split(answers(network, arrays(1, 2)[0], masks, i, j), 2)
    outputs = dict(zip(("support_steps", "query_steps"), both, strict=True))
    named = finetune.losses.crnet_losses(outputs, masks[i], masks[j])
    np.testing.assert_allclose(result.losses[0], named["query"] + named["support"], rtol=1e-4)


def test_pairs_are_drawn_out_of_all_k_squared(network):
    tuner = Finetuner(network, dataclasses.replace(QUICK, finetune_steps=60))
    support, category, masks = encoded(network, 1, 2, 3)
    drawn = set()

    def see(batch):
        for i, a in enumerate(support):
            for j, b in enumerate(support):
                for row in range(2):
                    if np.array_equal(batch["support"][row], a) and np.array_equal(
                        batch["query"][row], b
                    ):
                        drawn.add((i, j))
                        for name, x, k in (
                            ("category", category, i),
                            ("support_mask", masks, i),
                            ("query_mask", masks, j),
                        ):
                            np.testing.assert_array_equal(batch[name][row], x[k])
        return 0.0

    tuner.update = see
    tuner(support, category, masks)
    assert drawn == {(i, j) for i in range(3) for j in range(3)}


def test_the_seed_chooses_the_pairs(network):
    supports = encoded(network, 1, 2, 3)
    first = Finetuner(network, QUICK)(*supports)
    same = Finetuner(network, QUICK)(*supports)
    other = Finetuner(network, dataclasses.replace(QUICK, finetune_seed=1))(*supports)
    assert equal(first.weights, same.weights)
    assert not equal(first.weights, other.weights)


def test_the_options_count_updates_pairs_and_step_size(network):
    supports, sizes = encoded(network, 1, 2), []
    options = dataclasses.replace(QUICK, finetune_steps=5, finetune_batch=3, finetune_rate=0.0)
    tuner = Finetuner(network, options)
    update = tuner.update
    tuner.update = lambda batch: sizes.append(len(batch["query"])) or update(batch)
    result = tuner(*supports)
    assert sizes == [3] * 5
    assert equal(result.weights, [v.numpy() for v in adapted_variables(network)])


# === Errors ===


def test_one_photo_names_fusion_and_views(network):
    with pytest.raises(ValueError, match="at least 2 labelled photos, received 1") as error:
        finetune.finetune(network, *arrays(1), QUICK)
    assert "--kshot=fusion" in str(error.value) and "--finetune_views=4" in str(error.value)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ((2, 33, 33, 3), (3, 33, 33, 1)),
        ((2, 33, 33, 3), (2, 33, 33)),
        ((2, 41, 41, 3), (2, 41, 41, 1)),
        ((2, 33, 33, 1), (2, 33, 33, 1)),
        ((33, 33, 3), (33, 33, 1)),
    ],
    ids=str,
)
def test_arrays_that_do_not_fit_are_refused(network, images, masks):
    with pytest.raises(ValueError, match=r"photos \[K,33,33,3\] and masks.*received") as error:
        finetune.finetune(network, np.zeros(images), np.zeros(masks))
    assert str(list(images)) in str(error.value) and str(list(masks)) in str(error.value)
