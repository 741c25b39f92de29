"""Which classes a photo shows, and where. `there` and `decided` of `answers` are the same for
graphs.

A class is there where both are so:

* Its presence is at least `LEAST`.
* What was found of it is not explained by classes that are surer to be there: of at least the
  share `OWN` of its pixels it is the surest. (A network that looks for cats finds dogs, too.)

Of those that are there, a pixel is the most probable one. Both numbers were chosen on classes
that the network was trained on (docs/calibration.md).
"""

from collections.abc import Sequence

import numpy as np

LEAST = 0.4
OWN = 0.2


def least_presence(classes: Sequence, negatives: Sequence) -> float:
    """Presence that a class needs; 0 of one class alone, without photos that do not show it:
    nobody said that it may be absent."""
    return LEAST if len(classes) > 1 or negatives else 0.0


def there(
    maps: Sequence[np.ndarray], presences: Sequence[float], threshold: float, least: float
) -> np.ndarray:
    """Which classes are there: bool [N].

    Args:
        maps: probabilities of each of N classes [S,S]; one may have 2S-1 instead of S.
        threshold: foreground is what is more probable. least: see `least_presence`.
    """
    return (margins(maps, presences, threshold, least) >= 0).all(axis=0)


def margins(maps, presences, threshold, least) -> np.ndarray:
    """By how much each of the conditions is met, negative where it is not: [2,N]."""
    size, presences = min(map(len, maps)), np.asarray(presences)
    every = [(len(one) + 1) // size for one in maps]
    found = np.stack([one[::n, ::n] for n, one in zip(every, maps, strict=True)])
    found = (found > threshold) & (presences >= least)[:, None, None]
    surest = np.argmax(found * presences[:, None, None], axis=0)
    numbers = np.arange(len(found))[:, None, None]
    area, own = found.sum(axis=(1, 2)), (found & (surest == numbers)).sum(axis=(1, 2))
    shares = np.where(area > 0, own / np.maximum(area, 1), 1)
    return np.stack([presences - least, shares - OWN])


def decided(probabilities: np.ndarray, there: Sequence[bool], threshold: float) -> np.ndarray:
    """Of N classes [N,H,W] the most probable one of those that are there: uint8 [H,W], 0
    background, n the nth class; uint16 of more than 255 classes."""
    probable = probabilities * np.float32(there)[:, None, None]
    dtype = np.uint8 if len(probable) < 256 else np.uint16
    best = probable.argmax(axis=0).astype(dtype) + dtype(1)
    return np.where(probable.max(axis=0) > threshold, best, dtype(0))
