"""Where a training runs: on one device, on the GPUs of a machine, on several machines.

Several machines ("workers") run the same command, each with `TF_CONFIG` in its environment, as
TensorFlow's clusters have it: the addresses of all, and which one this is. The first is the
chief: it validates and writes. All see `--out` and `--records` under the same paths.
"""

import contextlib
import json
import os
from collections.abc import Iterator

import tensorflow as tf

from crnet_tf.common.errors import InputError
from crnet_tf.config import Config
from crnet_tf.data.shares import Share
from crnet_tf.network.model import CRNet

EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:7000", "10.0.0.2:7000"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


def from_environment() -> Share:
    """Which of how many workers this process is, as `TF_CONFIG` says; without it, the only one.

    Raises:
        InputError: it cannot be read, or names other tasks than a chief and workers.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return Share()
    try:
        given = json.loads(text)
        cluster, task = given["cluster"], given["task"]
        jobs = {name: len(cluster.get(name, ())) for name in ("chief", "worker")}
        index = int(task["index"]) + (jobs["chief"] if task["type"] == "worker" else 0)
        known = {*cluster} <= {*jobs} and 0 <= int(task["index"]) < jobs[task["type"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise InputError(
            f"TF_CONFIG: expected a cluster of workers and which of them this is, such as "
            f"{EXAMPLE}, received {text!r}. Correct it, or unset it to train on this machine "
            "alone."
        )
    return Share(index, sum(jobs.values()))


def strategy(settings: Config, share: Share) -> tf.distribute.Strategy:
    """Over all workers, or mirrored over the visible GPUs where there are several.

    Of several workers this waits for the others, and is to be called before TensorFlow is used.

    Raises:
        InputError: `settings` do not go with several devices.
    """
    if share.workers == 1:
        devices = len(tf.config.list_logical_devices("GPU"))
        if devices < 2:
            return tf.distribute.get_strategy()
        _check_several(settings, devices, "visible GPUs")
        return tf.distribute.MirroredStrategy()
    # Logical ones would start TensorFlow, which must not have happened before.
    devices = max(1, len(tf.config.list_physical_devices("GPU"))) * share.workers
    _check_several(settings, devices, f"devices of {share.workers} workers")
    print(f"Worker {share.worker} of {share.workers}: waiting for the others.", flush=True)
    return tf.distribute.MultiWorkerMirroredStrategy()


def _check_several(settings, devices, kind):
    if settings.batch_size % devices:
        raise InputError(
            f"batch_size: expected a multiple of the {devices} {kind}, received "
            f"{settings.batch_size}. Change it, or use fewer."
        )
    if settings.precision == "mixed_float16":
        raise InputError(
            f"precision: expected float32 or mixed_bfloat16 on {devices} {kind}, received "
            "mixed_float16: Keras looks for overflow on the first of them alone. "
            "Choose one of those, or use one device."
        )


def meet(everywhere: tf.distribute.Strategy) -> None:
    """Waits until all workers are here."""

    def one():
        here = tf.distribute.get_replica_context()
        return here.all_reduce(tf.distribute.ReduceOp.SUM, tf.constant(1.0))

    tf.function(everywhere.run)(one)


@contextlib.contextmanager
def chief_first(share: Share) -> Iterator[None]:
    """Within the scope of a strategy: the chief does first what is within, the others then."""
    everywhere = tf.distribute.get_strategy()
    if share.worker:
        meet(everywhere)
    yield
    if share.workers > 1 and not share.worker:
        meet(everywhere)


def take_chiefs(everywhere: tf.distribute.Strategy, network: CRNet, done: int) -> None:
    """Gives a network and its optimiser the values that the chief's have.

    Args:
        done: epochs behind the network.

    Raises:
        InputError: the workers do not go on from the same checkpoint.
    """
    variables = [
        variable
        for variable in (*network.variables, *network.optimizer.variables)
        if variable.dtype != "uint32"  # the state of a seed, set before every epoch
    ]
    values = [tf.constant(done), *(tf.constant(variable.numpy()) for variable in variables)]
    epochs, *values = _of_chief(everywhere, values)
    if epochs != done:
        raise InputError(
            f"out: expected the chief's last.keras, of epoch {epochs}, received one of epoch "
            f"{done}. Give all workers the same --out, in a folder that they share."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _of_chief(everywhere, values):
    def one(values):
        here = tf.distribute.get_replica_context()
        chief = here.replica_id_in_sync_group == 0
        kept = [tf.where(chief, value, tf.zeros_like(value)) for value in values]
        return [here.all_reduce(tf.distribute.ReduceOp.SUM, value) for value in kept]

    found = tf.function(everywhere.run)(one, (values,))
    return [everywhere.experimental_local_results(value)[0].numpy() for value in found]
