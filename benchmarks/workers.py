"""A training step on one worker and on two, and what of it goes into summing gradients.

    python -m benchmarks.workers --preset=ours --backbone_weights=none

Every worker is a process on a core of its own (Linux). Steps start from stored features, as
most trainings do here. Writes nothing.
"""

import json
import os
import pathlib
import statistics
import sys
import tempfile

from absl import flags

from benchmarks import timing
from crnet_tf import presets
from crnet_tf.common import cli, tables

ROUNDS = 7
RESULT = "{"  # what the line of the chief begins with


def measure(settings, share) -> dict:
    """Medians over rounds, in this worker: {"step", "sum": seconds, "megabytes": of gradients,
    "episodes": of all workers in a step}."""
    os.sched_setaffinity(0, {share.worker})  # before TensorFlow counts the cores
    import tensorflow as tf

    from crnet_tf.network import model
    from crnet_tf.training import optimizers, worker_loop, workers

    everywhere = workers.strategy(settings, share)
    with everywhere.scope():
        network = model.build_crnet(settings)
        twin = model.on_features(network)
        twin.compile(optimizer=optimizers.optimizer(settings), jit_compile=False)
        twin.optimizer.build(twin.trainable_variables)
    batch = _batch(twin, settings.batch_size // share.workers)
    gradients = [tf.zeros(variable.shape) for variable in twin.trainable_variables]

    def of_replica(values):
        here = tf.distribute.get_replica_context()
        return here.all_reduce(tf.distribute.ReduceOp.SUM, [2 * value for value in values])

    step, summed = worker_loop.step_over(twin, everywhere), tf.function(everywhere.run)
    seconds = timing.in_turn(
        {
            "step": lambda: float(step(batch)["loss"]),
            "sum": lambda: share.workers > 1 and summed(of_replica, (gradients,)),
        },
        ROUNDS,
        statistics.median,
    )
    size = sum(variable.shape.num_elements() for variable in twin.trainable_variables)
    return seconds | {"megabytes": 4 * size / 1e6, "episodes": settings.batch_size}


def _batch(twin, count):
    """Zeros are as much work as features of photos."""
    import tensorflow as tf

    inputs = {
        name: tf.zeros((count, *tensor.shape[1:]), tensor.dtype)
        for name, tensor in twin.input.items()
    }
    masks = {name: inputs["support_mask"] for name in ("support_mask", "query_mask")}
    return inputs, masks


def told_by_chief(count: int, batch_size: int, logs: pathlib.Path) -> dict:
    """What the chief of `count` workers measured with batches of `batch_size` over all."""
    from tools import train_workers

    given = [*sys.argv[1:], "--as_worker", f"--batch_size={batch_size}"]
    command = [sys.executable, "-m", "benchmarks.workers", *given]
    if not train_workers.run(command, count, logs, restarts=0):
        sys.exit((logs / "worker_0.log").read_text())
    lines = (logs / "worker_0.log").read_text().splitlines()
    return json.loads(next(line for line in lines if line.startswith(RESULT)))


def table(rows: dict[str, dict]) -> str:
    """Markdown of what was told, by name of the row."""
    return tables.markdown(
        ("", "step, s", "of it summing gradients", "episodes/s"),
        (
            (
                name,
                f"{row['step']:.3f}",
                f"{row['sum']:.3f} ({row['sum'] / row['step']:.0%})",
                f"{row['episodes'] / row['step']:.2f}",
            )
            for name, row in rows.items()
        ),
    )


def define_flags():
    presets.define_flags()
    flags.DEFINE_bool("as_worker", False, "Measure in this process; set by the benchmark.")


def main():
    from crnet_tf.training import workers

    args = flags.FLAGS
    if args.as_worker:
        told = measure(presets.from_flags(), workers.from_environment())
        print(json.dumps(told), flush=True)
        return
    batch = presets.from_flags().batch_size
    cases = {
        f"one worker, batch of {batch}": (1, batch),
        f"two workers, {batch // 2} each": (2, batch),
        f"two workers, {batch} each": (2, 2 * batch),
    }
    with tempfile.TemporaryDirectory() as folder:
        rows = {
            name: told_by_chief(*case, pathlib.Path(folder) / str(number))
            for number, (name, case) in enumerate(cases.items())
        }
    first = next(iter(rows.values()))
    print(f"{os.cpu_count()} cores; gradients of {first['megabytes']:.1f} MB\n\n{table(rows)}")


if __name__ == "__main__":
    cli.run(main, define_flags)
