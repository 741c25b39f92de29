"""Training and validation as compiled JAX programs: photos on the device, many steps a call.

A step draws nothing by itself: which photos, and the random numbers of their augmentation,
come from `draw` on the host, so that step n depends on the seed and n alone. On the device:
views of the photos (`augmentation_on_device`), one pass of the encoder for all of them, the
same `CRNet.compute_loss` as under TensorFlow, and Keras' optimiser.
"""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import ops

from crnet_tf.data import augmentation_on_device
from crnet_tf.images.mask_values import VOID, label_value
from crnet_tf.network.model import CRNet


class State(NamedTuple):
    """Values of a network's variables, in the order that Keras lists them."""

    trainable: list
    fixed: list  # the frozen encoder, and the seeds of dropout
    optimizer: list
    metrics: list  # sums and counts of the named losses


def variables(network: CRNet) -> State:
    """The Keras variables that a `State` holds the values of."""
    return State(
        network.trainable_variables,
        network.non_trainable_variables,
        network.optimizer.variables,
        [v for metric in network.loss_means.values() for v in metric.variables],
    )


def read_state(network: CRNet) -> State:
    """Values of all variables, as copies that a compiled program may overwrite."""
    return State(*([jnp.array(v.value) for v in part] for part in variables(network)))


def write_state(network: CRNet, state: State) -> None:
    """Puts the values back into the variables."""
    for part, values in zip(variables(network), state, strict=True):
        for variable, value in zip(part, values, strict=True):
            # A copy: the next call gives the memory of its arguments to its results.
            variable.assign(jnp.array(value))


def draw(by_class: dict, batch_size: int, seed: int, first: int, count: int) -> dict:
    """Episodes of steps `first` .. `first + count - 1`: classes uniformly, photos distinct.

    Returns:
        dict: `photo` int32 [N,2,B] (support, query), `class_id` int32 [N,B], `uniform` float32
        [N,2,B,4] for `augmentation_on_device.views`.
    """
    classes = sorted(by_class)
    drawn = {"photo": [], "class_id": [], "uniform": []}
    for step in range(first, first + count):
        random = np.random.default_rng([seed, step])
        ids = random.choice(classes, batch_size)
        pairs = [random.choice(by_class[c], 2, replace=False) for c in ids]
        drawn["photo"].append(np.transpose(pairs))
        drawn["class_id"].append(ids)
        drawn["uniform"].append(random.random((2, batch_size, 4)))
    kinds = {"photo": np.int32, "class_id": np.int32, "uniform": np.float32}
    return {name: np.array(values, kinds[name]) for name, values in drawn.items()}


def episode(photos: dict, drawn: dict, size: int, augment: str) -> tuple:
    """A batch of 1-shot episodes: inputs and targets of `CRNet`.

    Args:
        photos: `photo_pack.canvases` of all photos, on the device.
        drawn: one step of `draw`.
        augment: see `Config.augment`.
    """
    inputs = {}
    for branch, name in enumerate(("support", "query")):
        rows = drawn["photo"][branch]
        chosen = {key: ops.take(value, rows, axis=0) for key, value in photos.items()}
        augmented = augment == "symmetric" or (augment == "canet" and name == "support")
        inputs[f"{name}_image"], inputs[f"{name}_mask"] = augmentation_on_device.views(
            chosen, label_value(drawn["class_id"]), drawn["uniform"][branch], size, augmented
        )
    targets = {"support_mask": inputs["support_mask"], "query_mask": inputs.pop("query_mask")}
    return inputs, targets


def train_step(network: CRNet):
    """(state, photos, one step of `draw`) -> (state, loss); to be compiled."""
    config, held = network.config, variables(network)

    def loss_of(trainable, state, photos, drawn):
        mapping = [*zip(held.trainable, trainable, strict=True)]
        mapping += zip(held.fixed, state.fixed, strict=True)
        mapping += zip(held.metrics, state.metrics, strict=True)
        with keras.StatelessScope(state_mapping=mapping) as scope:
            inputs, targets = episode(photos, drawn, config.image_size, config.augment)
            outputs = network.train_outputs(inputs, together=True)
            loss = network.compute_loss(inputs, targets, outputs)
        changed = (held.fixed, held.metrics)
        after = [[scope.get_current_value(v) for v in part] for part in changed]
        return loss, after

    def step(state, photos, drawn):
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (fixed, metrics)), grads = gradient(state.trainable, state, photos, drawn)
        trainable, optimizer = network.optimizer.stateless_apply(
            state.optimizer, grads, state.trainable
        )
        return State(trainable, fixed, optimizer, metrics), loss

    return step


def many_steps(network: CRNet):
    """Compiled (state, photos, `draw` of N steps) -> (state, N losses)."""
    step = train_step(network)

    def run(state, photos, drawn):
        return jax.lax.scan(lambda carry, one: step(carry, photos, one), state, drawn)

    return jax.jit(run, donate_argnums=0)


def flops_of_step(network: CRNet, state: State, photos: dict, drawn: dict) -> float:
    """Floating-point operations of one step, as XLA counts them before it optimises."""
    one = jax.tree.map(lambda values: values[0], drawn)
    return float(
        jax.jit(train_step(network)).lower(state, photos, one).cost_analysis()["flops"]
    )


def areas_of(network: CRNet):
    """Compiled (trainable, fixed, photos, drawn [2,B], [B]) -> int [B,2,2] as `metrics.areas`.

    At the size of the network's input, of the query head after `config.refine_steps` steps.
    """
    held = variables(network)

    def run(trainable, fixed, photos, drawn):
        mapping = [*zip(held.trainable, trainable, strict=True)]
        mapping += zip(held.fixed, fixed, strict=True)
        with keras.StatelessScope(state_mapping=mapping):
            inputs, targets = episode(photos, drawn, network.config.image_size, "none")
            logits = network(inputs, training=False)["query"]
        predicted, mask = logits[..., 1] > logits[..., 0], targets["query_mask"][..., 0]
        valid = mask != VOID

        def areas(said, true):
            both = jnp.sum(said & true & valid, axis=(1, 2))
            either = jnp.sum((said | true) & valid, axis=(1, 2))
            return jnp.stack([both, either], axis=-1)

        true = mask == 1
        return jnp.stack([areas(~predicted, ~true), areas(predicted, true)], axis=1)

    return jax.jit(run)


def matmul_rate(side: int, repeats: int = 10) -> float:
    """Floating-point operations a second of bfloat16 matrix products on this device."""
    random = np.random.default_rng(0)
    left, right = (
        jnp.asarray(random.normal(size=(side, side)) / side**0.5, jnp.bfloat16)
        for _ in range(2)
    )

    @jax.jit
    def chain(product):
        for _ in range(repeats):
            product = product @ right
        return product

    chain(left).block_until_ready()
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        chain(left).block_until_ready()
        seconds.append(time.perf_counter() - started)
    return repeats * 2 * side**3 / min(seconds)
