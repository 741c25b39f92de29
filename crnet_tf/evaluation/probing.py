"""Which parts of a trained network do measurable work: each is replaced, the answers compared.

One-shot episodes, at the network's input size, without prototypes. What is replaced:

    the refinement's cache     by the true mask, by its opposite; and how much each step brings
    the gate (Sec. 4.3)        by one with another photo as partner, by the mean of all gates
    the category vector        by that of an object of another class
    the similarity maps        by those to an object of another class
    the co-occurrence head     is asked with a partner of the class, and with one of another
"""

import dataclasses

import numpy as np
import tensorflow as tf

from crnet_tf.common.progress import with_progress
from crnet_tf.common.tables import markdown
from crnet_tf.evaluation.bootstrap import Difference, mean_iou_difference
from crnet_tf.evaluation.manifest import Archive, Entry
from crnet_tf.evaluation.results import THRESHOLDS
from crnet_tf.evaluation.scoring import photos_of
from crnet_tf.fewshot.answers import foreground
from crnet_tf.fewshot.learner import Learner
from crnet_tf.network import metrics
from crnet_tf.network.layers import as_foreground
from crnet_tf.network.model import CRNet
from crnet_tf.network.parts import SupportState, branch_logits
from crnet_tf.network.resizing import resize_area

STEPS = 5
HALF = THRESHOLDS.index(0.5)
ONE_STEP = "1 step"


@dataclasses.dataclass(frozen=True)
class Change:
    """One thing that is changed, and the answers it is compared with.

    Args:
        name: as the table says it. compared_with: name of another change.
    """

    name: str
    compared_with: str = ONE_STEP


SAME_CLASS = "co-occurrence head, partner of the class"
TRUE_CACHE, OPPOSITE_CACHE = "true mask as first cache", "opposite of the true mask"
OTHER_GATE, MEAN_GATE = "gate with another photo", "mean gate"
OTHER_CATEGORY = "category vector of another class"
OTHER_SIMILARITY = "similarity to an object of another class"
OTHER_CLASS = "co-occurrence head, partner of another class"
CHANGES = (
    *(Change(f"{n} step{'s' * (n > 1)}") for n in range(1, STEPS + 1)),
    Change(TRUE_CACHE),
    Change(OPPOSITE_CACHE),
    Change(OTHER_GATE),
    Change(MEAN_GATE),
    Change(OTHER_CATEGORY),
    Change(OTHER_SIMILARITY),
    Change(SAME_CLASS, SAME_CLASS),
    Change(OTHER_CLASS, SAME_CLASS),
)


@dataclasses.dataclass(frozen=True)
class Probed:
    """Areas of every change on the same episodes.

    Attributes:
        class_ids: int [E]. areas: {name of a change: int64 [E,N,2,2]} above each of
            `THRESHOLDS`.
    """

    class_ids: np.ndarray
    areas: dict[str, np.ndarray]

    def mean_iou(self, name: str, threshold: int) -> float:
        """mIoU at a threshold, by its number."""
        return metrics.mean_iou_of(self.class_ids, self.areas[name][:, threshold])

    def best(self, name: str) -> int:
        """Number of the threshold with the highest mIoU."""
        return max(range(len(THRESHOLDS)), key=lambda number: self.mean_iou(name, number))

    def difference(self, change: Change) -> Difference:
        """mIoU of a change less that of what it is compared with, at their best thresholds."""
        pair = (change.name, change.compared_with)
        areas = (self.areas[name][:, self.best(name)] for name in pair)
        return mean_iou_difference(self.class_ids, *areas)


def probe(network: CRNet, archive: Archive, entries: list[Entry], seed: int = 0) -> Probed:
    """Answers of a network to one-shot episodes, with each thing changed that it has.

    Args:
        network: without prototypes (`calibration.with_prototypes(network, 0)`), whose answer
            would be added to each.
        entries: of at least two classes; each is lent a partner of another class by chance.
    """
    prober = _Prober(network, archive, entries)
    random = np.random.default_rng(seed)
    ids = np.array([entry.class_id for entry in entries])
    others = [random.choice(np.flatnonzero(ids != class_id)) for class_id in ids]
    areas = {}
    for number in with_progress(range(len(entries)), "episodes"):
        truth, answers = prober.answers(number, others[number])
        for name, probability in answers.items():
            above = metrics.areas_above(probability, truth, np.float32(THRESHOLDS))
            areas.setdefault(name, []).append(above)
    return Probed(ids, {name: np.stack(found) for name, found in areas.items()})


class _Prober:
    """What all episodes share: encoded photos, states of the supports, graphs traced once."""

    def __init__(self, network, archive, entries):
        self.learner = Learner(network, keep_features=True)
        self.parts, self.frame = network.parts, self.learner.frame
        self.photos = [photos_of(archive, entry) for entry in entries]
        parts, size = self.parts, self.frame.size

        @tf.function
        def answer(state, photo, cache, steps):
            logits = branch_logits(parts, SupportState(**state), photo, steps, cache)
            return foreground(logits, size)[0]

        @tf.function
        def cooccurrence(own, partner, projected):
            reinforced = parts.cross_reference.reinforced(projected, own, partner)
            logits = parts.cross_reference.cooccurrence(reinforced)
            return foreground(logits, size)[0]

        self._answer, self._cooccurrence = answer, cooccurrence
        self.states = [self._support(supports[0]) for supports, _ in self.photos]
        self._mean_gate = self._mean_of_gates()

    def _support(self, photo):
        """State tensors of one support."""
        learner, category = self.learner, None
        if self.parts.masks_image:
            category = learner.project(learner.encoder.masked(photo, self.frame)[None])
        mask = self.frame.mask(photo.mask)[None]
        return learner.state(self._projected(photo), category, mask).tensors()

    def _projected(self, photo):
        """`parts.branch_input` of a photo."""
        features = self.learner.encoder.photo(photo, self.frame)[None]
        cells = {"cells": self.learner.cells(features)} if self.parts.compares_cells else {}
        return {"projected": self.learner.project(features), **cells}

    def _mean_of_gates(self):
        """The product of two importances, mean over all supports: [1,1,1,C]."""
        if self.parts.cross_reference is None:
            return None
        mean = tf.reduce_mean(tf.concat([s["importance"] for s in self.states], 0), 0)
        return (mean * mean)[None]

    def answers(self, number: int, other: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The true mask [S,S] of a query, and {name of a change: probabilities [S,S]}."""
        query, state = self.photos[number][1], self.states[number]
        mask = self.frame.mask(query.mask)
        photo = self._projected(query)
        empty = tf.zeros([*photo["projected"].shape[:3], 2])
        found = self._steps(state, photo, empty)
        if self.parts.refinement.with_cache:
            found |= self._caches(state, photo, mask)
        if self.parts.condition is not None:
            found[OTHER_CATEGORY] = self._lent(("category",), number, other, photo, empty)
        if self.parts.similarity:
            lent = ("foreground", "background")
            found[OTHER_SIMILARITY] = self._lent(lent, number, other, photo, empty)
        if self.parts.cross_reference is not None:
            found |= self._gates(state, photo, empty, self.states[other]["importance"])
        return mask.numpy()[..., 0], {name: value.numpy() for name, value in found.items()}

    def _lent(self, names, number, other, photo, empty):
        """Answer after a step where tensors of the state are those of another support."""
        lent = {name: self.states[other][name] for name in names}
        return self._answer({**self.states[number], **lent}, photo, empty, 1)[0]

    def _steps(self, state, photo, empty):
        steps = self._answer(state, photo, empty, STEPS)
        return {change.name: step for change, step in zip(CHANGES, steps, strict=False)}

    def _caches(self, state, photo, mask):
        share = resize_area(as_foreground(mask)[None], photo["projected"].shape[1:3])
        true = tf.concat([1 - share, share], axis=-1)
        return {
            TRUE_CACHE: self._answer(state, photo, true, 1)[0],
            OPPOSITE_CACHE: self._answer(state, photo, true[..., ::-1], 1)[0],
        }

    def _gates(self, state, photo, empty, other):
        own = self.parts.cross_reference.importance(photo["projected"])
        # The network multiplies by the photo's own importance: divided out, the mean is left.
        gates = {OTHER_GATE: other, MEAN_GATE: self._mean_gate / own}
        found = {
            name: self._answer({**state, "importance": gate}, photo, empty, 1)[0]
            for name, gate in gates.items()
        }
        for name, partner in ((SAME_CLASS, state["importance"]), (OTHER_CLASS, other)):
            found[name] = self._cooccurrence(own, partner, photo["projected"])
        return found


def summary(probed: dict[str, Probed]) -> dict:
    """Numbers of every kind of class, for JSON: {kind: {change: {...}}}, shares 0..1."""
    return {
        kind: {c.name: _numbers(c, one) for c in CHANGES if c.name in one.areas}
        for kind, one in probed.items()
    }


def _numbers(change, probed):
    return {
        "compared_with": change.compared_with,
        "best_threshold": THRESHOLDS[probed.best(change.name)],
        "mean_iou": probed.mean_iou(change.name, probed.best(change.name)),
        "mean_iou_at_a_half": probed.mean_iou(change.name, HALF),
        **dataclasses.asdict(probed.difference(change)),
    }


def table(numbers: dict) -> str:
    """Markdown of a `summary`: a row a change, in percent; of every kind of class mIoU at the
    best threshold, at a half, and the difference with its interval of 95 %."""
    head = ["what was changed", "compared with"]
    for kind in numbers:
        head += [f"{kind}, best threshold", f"{kind}, at a half", f"{kind}, difference"]
    kinds = list(numbers.values())
    rows = [_row(name, [changes[name] for changes in kinds]) for name in kinds[0]]
    return markdown(head, rows, left=2)


def _row(name, of_each_kind):
    compared_with = of_each_kind[0]["compared_with"]
    itself = compared_with == name
    cells = [name, "" if itself else compared_with]
    for found in of_each_kind:
        cells += [f"{100 * found[key]:.1f}" for key in ("mean_iou", "mean_iou_at_a_half")]
        difference = Difference(*(found[key] for key in ("value", "low", "high")))
        cells.append("" if itself else difference)
    return cells
