"""Goes over episodes: areas of intersection and union for every method on the same answers.

What they become (mIoU, rows, tables) is in `results`; which episodes, in `draws`.
"""

import dataclasses

import numpy as np

from crnet_tf.common.progress import with_progress
from crnet_tf.data.frames import check_visible
from crnet_tf.evaluation import baselines, boundaries, manifest, protocols
from crnet_tf.evaluation.protocols import PROTOCOLS, Protocol
from crnet_tf.evaluation.results import STEP, THRESHOLDS, above
from crnet_tf.fewshot import answers, small_objects
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images import aligned, drawing
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.images.mask_values import VOID
from crnet_tf.network import metrics


@dataclasses.dataclass
class Found:
    """Result of `evaluate`.

    Attributes:
        totals: {protocol: {method: {class id: areas int64 [2,2]}}}; methods are "crnet" (the
            last refinement step, where the answer is above 0.5), "crnet_above0.1" .. (the
            same, where it is above that), "crnet_step1" .. and the baselines. See
            `results.scores`.
        episodes: a dict each: class_id, support, query, iou, foreground, predicted, presence.
    """

    totals: dict
    episodes: list[dict]

    def add(self, protocol: str, method: str, class_id: int, areas: np.ndarray) -> None:
        """Adds the areas of one episode."""
        by_class = self.totals.setdefault(protocol, {}).setdefault(method, {})
        by_class[class_id] = by_class.get(class_id, 0) + areas


def evaluate(
    learner: Learner, archive: manifest.Archive, entries: list[manifest.Entry], **options
) -> Found:
    """`evaluate_together` of a single learner."""
    return evaluate_together([learner], archive, entries, **options)[0]


def evaluate_together(
    learners: list[Learner],
    archive: manifest.Archive,
    entries: list[manifest.Entry],
    *,
    scoring: tuple[Protocol, ...] = (PROTOCOLS["crnet"],),
    compared: tuple[str, ...] = (),
    presence: bool = True,
    with_boundaries: bool = False,
    progress: bool = False,
) -> list[Found]:
    """Scores every refinement step of a network, and baselines, on the same episodes.

    Args:
        learners: the network and ways to use its supports that fine-tune alike or not at all:
            it adapts to an episode once. The baselines stand beside the first.
        archive, entries: photos and episodes (`manifest.draw`); a query without one pixel of
            the class makes a negative episode.
        scoring: protocols that score the same answers differently.
        compared: names out of `baselines.BASELINES`.
        presence: also ask how sure it is that the object is there, where features are kept.
        with_boundaries: also score them, see `boundaries.scores`.

    Raises:
        ValueError: see `check_supports`.
    """
    found = [Found({}, []) for _ in learners]
    for entry in with_progress(entries, "episodes") if progress else entries:
        supports, query = photos_of(archive, entry)
        others = baselines.answers(learners[0], supports, query, compared)
        adapted = None
        for learner, result in zip(learners, found, strict=True):
            predictor = learner.fit(supports, adapted)
            adapted = predictor.adapted
            maps = predictor.maps(query)
            _score(learner, maps, others, entry, query, scoring, with_boundaries, result)
            others = {}  # once is enough
            # Without kept features the encoder would run again for it.
            asked = presence and learner.encoder.keep
            result.episodes[-1]["presence"] = predictor.presence(query) if asked else None
    return found


def _score(learner, maps, others, entry, query, scoring, with_boundaries, found):
    """Adds one episode, whose answers are `maps` and `others`, to `found`."""
    for protocol in scoring:
        truth = protocols.scored(protocol, query.mask)
        seen = query.image
        if seen.shape[:2] != truth.shape:
            seen = aligned.bilinear(seen[None], truth.shape)[0]
        answer = learner.restore(maps, seen)
        for method, predicted in _methods(answer, others, learner, truth.shape).items():
            area = metrics.areas(predicted, truth)
            found.add(protocol.name, method, entry.class_id, area)
        by_threshold = metrics.areas_above(answer[-1], truth, np.float32(THRESHOLDS))
        for threshold, area in zip(THRESHOLDS, by_threshold, strict=True):
            found.add(protocol.name, above(threshold), entry.class_id, area)
        if protocol is scoring[0]:
            line = _line(entry, answer[-1], truth)
            if with_boundaries:
                line |= boundaries.scores(answer[-1] > 0.5, truth)
            found.episodes.append(line)


def check_supports(
    learner: Learner,
    archive: manifest.Archive,
    entries: list[manifest.Entry] | list[manifest.WayEntry],
) -> None:
    """Raises ValueError, before anything is computed, for a support whose object is so small
    that nothing of it is left at the network's input size."""
    examples = [example for entry in entries for example in entry.examples]
    pairs = {(name, class_id) for class_id, names in examples for name in names}
    for name, class_id in sorted(pairs):
        (seen,) = small_objects.cropped([photo(archive, name, class_id)], learner.options)
        for frame in learner.frames:
            check_visible(seen.mask, frame, f"photo {name}, class {class_id}")


def photos_of(
    archive: manifest.Archive, entry: manifest.Entry
) -> tuple[list[LabelledPhoto], LabelledPhoto]:
    """Supports and query of an episode, each with its mask."""
    return [photo(archive, n, entry.class_id) for n in entry.support], photo(
        archive, entry.query, entry.class_id
    )


def photo(archive: manifest.Archive, name: str, class_id: int) -> LabelledPhoto:
    """A photo of the archive with the mask of a class."""
    return LabelledPhoto(*archive.masked(name, class_id), name)


def _methods(answer, others, learner, size):
    """{method: bool [H,W]} of the probabilities [T,H,W] and of the baselines' maps."""
    methods = {"crnet": answer[-1] > 0.5}
    if len(answer) > 1:
        methods |= {f"{STEP}{t + 1}": step > 0.5 for t, step in enumerate(answer)}
    for name, margin in others.items():
        large = answers.at_own_size(margin[..., None], size, learner.frame.letterbox)
        methods[name] = large.numpy()[0, ..., 0] > 0
    return methods


def _line(entry, probability, truth):
    """What `episodes.jsonl` says of an episode."""
    predicted, valid = probability > 0.5, truth != VOID
    areas = metrics.areas(predicted, truth)
    return {
        "class_id": entry.class_id,
        "support": list(entry.support),
        "query": entry.query,
        "iou": metrics.class_iou(areas),
        "areas": areas.tolist(),
        "foreground": float(np.mean(truth[valid] == 1)) if valid.any() else 0.0,
        "predicted": float(np.mean(predicted[valid])) if valid.any() else 0.0,
    }


def panel(learner: Learner, archive: manifest.Archive, entry: manifest.Entry) -> np.ndarray:
    """Picture uint8 [H,W,3] of an episode: support, query, truth, every refinement step."""
    supports, query = photos_of(archive, entry)
    probabilities = learner.restore(learner.fit(supports).maps(query), query.image)
    first = supports[0]
    return drawing.panel(first.image, first.mask, query.image, query.mask, list(probabilities))
