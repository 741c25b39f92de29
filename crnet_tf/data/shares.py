"""Which episodes of a batch one of several workers reads."""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Share:
    """A worker's episodes: of each batch, its own run of neighbours; all of them, if alone.

    Together the workers see the batches that one process would see.
    """

    worker: int = 0
    workers: int = 1

    def of(self, batch_size: int) -> slice:
        """Places in a batch, whose size is a multiple of `workers`."""
        own = batch_size // self.workers
        return slice(self.worker * own, (self.worker + 1) * own)

    def numbers(self, batch_size: int, skip: int = 0) -> tf.data.Dataset:
        """Endless numbers of its episodes, int64, from batch `skip` on."""
        own = batch_size // self.workers

        def number(place):
            return place // own * batch_size + self.worker * own + place % own

        return tf.data.Dataset.counter(skip * own).map(number)


WHOLE = Share()
