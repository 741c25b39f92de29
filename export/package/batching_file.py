"""Which models TF Serving may batch: the taught ones, told by a file beside the SavedModel.

A batching TF Serving joins requests of one signature along the first dimension of every
input. A taught model's signatures take one photo a row. A few-shot model's take K supports and
B queries: joined, requests with K = B would be answered from each other's supports. Batching is
for all signatures of a model or for none, so only taught models get this file. It counts where
the server runs with --enable_per_model_batching_parameters (`export/serving/README.md`).
"""

import pathlib

from crnet_tf.common import files

FILE = "batching_params.pbtxt"
# Few sizes, because cuDNN looks for its fastest kernels anew for each; the warm-up has all.
SIZES = (1, 2, 4)
WAIT = 5_000  # microseconds for others to join; a photo takes more than that


def write(folder: pathlib.Path) -> None:
    """Lets TF Serving batch the SavedModel in `folder`."""
    lines = [
        f"max_batch_size {{ value: {SIZES[-1]} }}",
        f"batch_timeout_micros {{ value: {WAIT} }}",
        # What waits longer than these is better refused (UNAVAILABLE) and asked again.
        "max_enqueued_batches { value: 16 }",
        *(f"allowed_batch_sizes: {size}" for size in SIZES),
    ]
    files.write_text(folder / FILE, "\n".join(lines) + "\n")
