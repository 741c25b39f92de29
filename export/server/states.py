"""What was encoded of supports lately: whoever sends the same ones again pays for the query."""

import collections
import threading

import numpy as np

from export.server.tensors import Signature

# A signature of supports and queries -> that of supports alone, that of queries with its state.
PARTS = {
    "serving_default": ("encode_support", "segment_with_support"),
    "segment_encoded": ("encode_support_encoded", "segment_encoded_with_support"),
}
MAX_BYTES = 64 << 20  # of states kept of a version; one of a ResNet-50 takes some 20 kB a photo


class States:
    """States of supports for one version of an export of this project; for any thread.

    Args:
        signatures: of that version, by name.
        max_bytes: the states not used for longest are forgotten beyond it.
    """

    def __init__(self, signatures: dict[str, Signature], max_bytes: int = MAX_BYTES):
        self._signatures, self._max_bytes = signatures, max_bytes
        self._kept: collections.OrderedDict[tuple, dict] = collections.OrderedDict()
        self._lock, self._bytes = threading.Lock(), 0

    def answer(self, signature: Signature, inputs: dict[str, np.ndarray], supports: tuple):
        """Outputs of a signature of `PARTS`, or of any other as it is.

        Args:
            supports: equal for equal supports.

        Raises:
            tf.errors.OpError: the graph refuses the values.
        """
        parts = [self._signatures.get(name) for name in PARTS.get(signature.name, (None,))]
        if None in parts:
            return signature.call(inputs)
        encode, segment = parts
        state = self._found((encode.name, supports))
        if state is None:
            state = encode.call({name: inputs[name] for name in encode.inputs})
            self._keep((encode.name, supports), state)
        return segment.call({**inputs, **state})

    def _found(self, key):
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key, state):
        with self._lock:
            if key not in self._kept:  # or another thread was faster
                self._kept[key] = state
                self._bytes += _size(state)
            while self._bytes > self._max_bytes:
                self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(state):
    return sum(array.nbytes for array in state.values())
