"""`fit` for several workers, which Keras' own does not do (keras issue 20585).

Every worker takes its share of a batch through the same training step; gradients are summed
over all, so that the weights stay equal everywhere. Callbacks and logs are those of `fit`.
"""

import keras
import tensorflow as tf

from crnet_tf.common.errors import BlockedError
from crnet_tf.training import workers

LOST = (
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.UnavailableError,
)


def fit(
    trained: keras.Model,
    everywhere: tf.distribute.Strategy,
    dataset: tf.data.Dataset,
    *,
    initial_epoch: int,
    epochs: int,
    steps_per_epoch: int,
    callbacks: list,
    verbose: int,
) -> None:
    """Trains a compiled model; see `keras.Model.fit`.

    Args:
        dataset: endless batches, one a step for each device of this worker.

    Raises:
        BlockedError: another worker is gone.
    """
    called = keras.callbacks.CallbackList(
        callbacks,
        add_progbar=verbose > 0,
        model=trained,
        verbose=verbose,
        epochs=epochs,
        steps=steps_per_epoch,
    )
    step = step_over(trained, everywhere)
    batches = iter(everywhere.distribute_datasets_from_function(lambda _: dataset))
    called.on_train_begin()
    try:
        for epoch in range(initial_epoch, epochs):
            _epoch(trained, step, batches, called, epoch, steps_per_epoch)
        # Who ends early would count as lost while the chief still validates.
        workers.meet(everywhere)
    except LOST as error:
        raise BlockedError(
            "Expected all workers until the end, received: one is gone, or cannot be reached. "
            "Start the same command on all of them again: it goes on after the last epoch."
        ) from error
    called.on_train_end()


def _epoch(trained, step, batches, called, epoch, steps_per_epoch):
    for metric in trained.metrics:
        metric.reset_state()
    called.on_epoch_begin(epoch)
    for number in range(steps_per_epoch):
        called.on_train_batch_begin(number)
        logs = {name: float(value) for name, value in step(next(batches)).items()}
        called.on_train_batch_end(number, logs)
    called.on_epoch_end(epoch, logs)


def step_over(trained: keras.Model, everywhere: tf.distribute.Strategy):
    """A function of a worker's batch: one training step of all -> its logs."""
    mean = tf.distribute.ReduceOp.MEAN

    @tf.function
    def step(batch):
        logs = everywhere.run(trained.train_step, (batch,))
        return {name: everywhere.reduce(mean, one, axis=None) for name, one in logs.items()}

    return step
