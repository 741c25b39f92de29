"""The network a training starts from: new, of another run (`--init`), or of its last epoch."""

import dataclasses
import os
import pathlib

import keras

from crnet_tf.common.errors import InputError
from crnet_tf.config import Config
from crnet_tf.network import model
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.training import checkpoints, optimizers, runs

OF_WEIGHTS = ("backbone_preprocessing", "backbone_stride")  # no shape shows them


def begin(
    settings: Config, out: pathlib.Path, init: str | os.PathLike | None = None
) -> tuple[model.CRNet, int]:
    """The compiled network of `settings`, and how many epochs it has behind it.

    Args:
        out: run directory; its `last.keras`, where there is one, wins over `init`.
        init: checkpoint whose weights a new run starts from.

    Raises:
        FileNotFoundError, ValueError: see `network_from`, `checkpoints.finished_epochs`.
    """
    last = out / runs.LAST
    done = checkpoints.finished_epochs(last) if last.exists() else 0
    network = network_from(settings, init) if init and not done else model.build_crnet(settings)
    network.compile(optimizer=optimizers.optimizer(network.config), jit_compile=False)
    network.optimizer.build(network.trainable_variables)
    if done:
        network.load_weights(last)
        print(f"Resuming {out} after epoch {done}.", flush=True)
    return network, done


def network_from(settings: Config, checkpoint: str | os.PathLike) -> model.CRNet:
    """The network of `settings` with all weights of a checkpoint of the same architecture:
    those of its encoder and the average cell of its photos as well.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: it is damaged, or a weight of it does not fit.
    """
    source = load_checkpoint(checkpoint)
    remedy = "Give the flags that it was trained with (its run.json), or leave --init out."
    for name in OF_WEIGHTS:
        wanted, found = getattr(settings, name), getattr(source.config, name)
        if wanted not in ("auto", found):
            raise InputError(
                f"init: {checkpoint} does not fit --{name}: expected {wanted}, received "
                f"{found}. {remedy}"
            )
    kept = {name: getattr(source.config, name) for name in OF_WEIGHTS}
    network = model.build_crnet(dataclasses.replace(settings, **kept), load_backbone=False)
    shapes = [{v.path: tuple(v.shape) for v in one.weights} for one in (network, source)]
    for path in shapes[0] | shapes[1]:
        wanted, found = (some.get(path, "no such weight") for some in shapes)
        if wanted != found:
            raise InputError(
                f"init: {checkpoint} does not fit: expected {path} {wanted}, received {found}. "
                f"{remedy}"
            )
    values = {variable.path: variable for variable in source.weights}
    for variable in network.weights:
        variable.assign(keras.ops.convert_to_numpy(values[variable.path]))
    return network
