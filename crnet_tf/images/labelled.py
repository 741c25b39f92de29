"""A photo with its mask, and how one is read from a user's two files."""

import dataclasses
import functools
import hashlib

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledPhoto:
    """A photo and, of a support, its mask; equal to another with the same pixels, whatever the
    two are called.

    Attributes:
        image: uint8 [H,W,3] RGB.
        mask: uint8 [H,W] in {0,1,255}, or None.
        name: what errors call it.
    """

    image: np.ndarray
    mask: np.ndarray | None = None
    name: str = "photo"

    @functools.cached_property
    def key(self) -> str:
        """Hash of the photo."""
        return array_sha256(self.image)

    @functools.cached_property
    def masked_key(self) -> str:
        """Hash of the photo and its mask."""
        return self.key + array_sha256(self.mask)

    def _identity(self):
        return self.key if self.mask is None else self.masked_key

    def __eq__(self, other):
        if not isinstance(other, LabelledPhoto):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self):
        return hash(self._identity())


def array_sha256(array: np.ndarray) -> str:
    """Hexadecimal SHA-256 of an array's shape and values."""
    shape = str(array.shape).encode()
    return hashlib.sha256(shape + np.ascontiguousarray(array).tobytes()).hexdigest()
