"""What presence is measured on: how similar held-out photos are to things they show, and to
things they do not show, and the probability that follows.
"""

import dataclasses
import itertools

import numpy as np
import scipy.optimize
import scipy.special

from crnet_tf.common.tables import markdown
from crnet_tf.evaluation import manifest, scoring
from crnet_tf.fewshot import answers
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.mask_values import FOREGROUND, label_value
from crnet_tf.network.prototypes import object_average

PHOTOS = 200  # pairs of a photo and a class that it shows
SHOTS = 1, 5  # supports that a thing is known by
DRAWS = 10  # of supports, for each photo
LEAST_SPREAD = 1e-3
BINS = np.linspace(0, 1, 11)


@dataclasses.dataclass(frozen=True)
class Seen:
    """M photos and things: how similar they are, by how many supports, is the thing there."""

    similarity: np.ndarray
    shots: np.ndarray
    shown: np.ndarray


def measure(learner: Learner, archive: manifest.Archive, entries: list[manifest.Entry]) -> Seen:
    """Sets the network's `presence.Likelihood` by the photos of some episodes; as it was, where
    these have no photo with and without a thing.

    Its `presence.Centre` is to be measured already.
    """
    seen = drawn(*similarities(learner, archive, entries))
    if 0 < seen.shown.sum() < len(seen.shown):
        learner.network.parts.likelihood.measured.assign(fitted(seen))
    return seen


def similarities(
    learner: Learner, archive: manifest.Archive, entries: list[manifest.Entry]
) -> tuple[list[tuple[str, int]], dict[str, set[int]], dict[str, np.ndarray]]:
    """Of the photos of episodes: P pairs of a photo and a class that it shows; by photo, all
    values of its label map; by photo, how similar it is to the object of each pair, [P]."""
    named = dict.fromkeys((n, e.class_id) for e in entries for n in (e.query, *e.support))
    parts, frame, encoder = learner.network.parts, learner.frame, learner.encoder
    pairs, averages = [], []
    for pair in itertools.islice(named, PHOTOS):
        photo = scoring.photo(archive, *pair)
        mask = frame.mask(photo.mask)
        if np.any(mask == FOREGROUND):
            average = object_average(encoder.last_level(photo, frame), mask)
            pairs.append(pair)
            averages.append(parts.centre(average))
    labels, similar = {}, {}
    for name, class_id in pairs:
        if name not in labels:
            labels[name] = set(np.unique(archive.photo(name)[1]).tolist())
            photo = scoring.photo(archive, name, class_id)
            last_level = encoder.last_level(photo, frame)[None]
            similar[name] = answers.resemblances(parts, np.stack(averages), last_level)[0]
    return pairs, labels, {name: np.asarray(one) for name, one in similar.items()}


def drawn(pairs: list, labels: dict, similar: dict) -> Seen:
    """Each photo with, and another one without, a thing that is known by other photos."""
    random, names, rows = np.random.default_rng(0), sorted(labels), []
    for (name, class_id), shots in itertools.product(pairs, SHOTS):
        value = label_value(class_id)
        others = [n for n, pair in enumerate(pairs) if pair[1] == class_id and pair[0] != name]
        without = [one for one in names if value not in labels[one]]
        if len(others) < shots or not without:
            continue
        for _ in range(DRAWS):
            few = random.choice(others, shots, replace=False)
            for photo, shown in ((name, True), (random.choice(without), False)):
                rows.append((similar[photo][few].mean(), shots, shown))
    columns = np.array(rows, float).reshape(-1, 3).T
    return Seen(columns[0], columns[1], columns[2].astype(bool))


def fitted(seen: Seen) -> np.ndarray:
    """`Likelihood.measured` under which what was seen is most likely."""

    def loss(measured):
        logits = _logits(measured, seen)
        return np.mean(np.logaddexp(0, logits) - seen.shown * logits)

    start = (float(np.median(seen.similarity)), 0.1, 0.1)
    bounds = (0, 1), (LEAST_SPREAD, None), (0, None)
    return np.float32(scipy.optimize.minimize(loss, start, bounds=bounds).x)


def reliability(measured: np.ndarray, seen: Seen) -> list[tuple[float, float, int]]:
    """Of each tenth of presence: its mean, the share that shows the thing, how many photos."""
    likely = scipy.special.expit(_logits(measured, seen))
    tenth = np.digitize(likely, BINS[1:-1])
    chosen = (tenth == n for n in range(len(BINS) - 1))
    return [
        (float(likely[some].mean()), float(seen.shown[some].mean()), int(some.sum()))
        for some in chosen
        if some.any()
    ]


def table(rows: list[tuple[float, float, int]]) -> str:
    """Markdown of `reliability`."""
    cells = [[f"{said:.2f}", f"{shown:.2f}", count] for said, shown, count in rows]
    return markdown(["presence", "share that shows it", "photos"], cells, left=0)


def _logits(measured, seen):
    middle, spread, of_one = measured
    return (seen.similarity - middle) / (spread + of_one / seen.shots)
