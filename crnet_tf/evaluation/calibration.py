"""Makes a network fit for unseen classes: where to cut, the average cell, prototypes."""

import dataclasses
import itertools
import os

import numpy as np

from crnet_tf.common.errors import InputError
from crnet_tf.common.tables import markdown
from crnet_tf.config import Config
from crnet_tf.data import records
from crnet_tf.evaluation import manifest, presence_fit, results, scoring
from crnet_tf.evaluation.draws import chosen_classes
from crnet_tf.evaluation.results import THRESHOLDS, above
from crnet_tf.fewshot.learner import Learner
from crnet_tf.network import model, pretrained
from crnet_tf.options import Options

CENTRE_PHOTOS = 50


def best_threshold(scores: dict) -> float:
    """That of `results.THRESHOLDS` with the highest mIoU in `results.scores`; of equal ones the
    nearest to a half."""
    return max(THRESHOLDS, key=lambda t: (scores[above(t)]["mean_iou"], -abs(t - 0.5)))


def unseen_threshold(scores: dict, archive: manifest.Archive, config: Config) -> float:
    """Threshold for unseen classes, from `results.scores` on held-out photos.

    Where the network answers alone and the photos show classes that it was trained on, a tenth
    below the best: classes that were left out of a training wanted that
    (docs/calibration.md).

    Args:
        archive: the photos. config: of the network.
    """
    best = THRESHOLDS.index(best_threshold(scores))
    trained_on = archive.by_class.keys() <= set(
        archive.index.train_classes(*config.unseen_folds)
    )
    alone = not config.prototype_weight
    return THRESHOLDS[max(0, best - 1) if trained_on and alone else best]


def measure_centre(
    learner: Learner, archive: manifest.Archive, entries: list[manifest.Entry]
) -> None:
    """Sets the network's `prototypes.Centre` to the average cell of some episodes' photos."""
    shown = {entry.query: entry.class_id for entry in entries}
    some = itertools.islice(shown.items(), CENTRE_PHOTOS)
    photos = (scoring.photo(archive, *pair) for pair in some)
    cells = [learner.encoder.last_level(one, learner.frame).mean((0, 1)) for one in photos]
    learner.network.parts.centre.mean.assign(np.mean(cells, axis=0))


def measure_presence(
    learner: Learner, archive: manifest.Archive, entries: list[manifest.Entry]
) -> presence_fit.Seen:
    """Sets the network's `Centre` and `Likelihood` by some episodes' photos."""
    measure_centre(learner, archive, entries)
    return presence_fit.measure(learner, archive, entries)


def measure(
    network: model.CRNet,
    records_dir: str | os.PathLike,
    episodes: int = 300,
    seed: int = 0,
    shot: int = 1,
    test_scales: str = "1",
) -> tuple[float, dict, presence_fit.Seen]:
    """Threshold for unseen classes, `results.scores` at each of `results.THRESHOLDS`, and what
    presence was measured on.

    Sets the network's `presence.Centre` and `presence.Likelihood` as well.

    Args:
        shot: supports of an episode; several answer by their mean (`Options.kshot`).
        test_scales: one of `Options.test_scales`.

    Raises:
        FileNotFoundError, ValueError: see `records.load_index`, `draws.chosen_classes`;
            several scales, whose answers are shifted before they are averaged.
    """
    options = Options(kshot="mean" if shot > 1 else "fusion", test_scales=test_scales)
    if len(options.scales) > 1:
        raise InputError(
            "test_scales: expected one scale, because what a threshold does to each of several "
            f"answers is not what it does to their mean, received {test_scales}. Give the "
            "largest."
        )
    index = records.load_index(records_dir)
    archive = manifest.Archive(index, "val", chosen_classes(network, index, "base"))
    entries = manifest.draw(archive, shot, episodes, seed)
    shift = network.parts.threshold
    own, shift.threshold = shift.threshold, 0.5  # what is measured is not shifted already
    try:
        learner = Learner(network, options)
        seen = measure_presence(learner, archive, entries)
        found = scoring.evaluate(learner, archive, entries, progress=True)
    finally:
        shift.threshold = own
    scores = results.scores(found.totals["crnet"])
    return unseen_threshold(scores, archive, network.config), scores, seen


def with_prototypes(
    network: model.CRNet, weight: float, levels: str = "own", backbone_weights: str = ""
) -> model.CRNet:
    """The same network with `Config.prototype_weight` and `prototype_levels`.

    Args:
        backbone_weights: for the last stage of "deep" levels; default: as in training.

    Raises:
        FileNotFoundError, ConnectionError: the backbone's weights are not reachable.
        ValueError: they are not those of the network's encoder.
    """
    source = backbone_weights or network.config.backbone_weights
    config = dataclasses.replace(
        network.config,
        prototype_weight=weight,
        prototype_levels=levels,
        backbone_weights=source,
    )
    own = {variable.path: variable for variable in network.variables}
    twin = model.build_crnet(config, load_backbone=False)
    if not own.keys() >= {variable.path for variable in twin.variables}:
        twin = model.build_crnet(config)
        found, wanted = (pretrained.sums(one.parts.encoder) for one in (twin, network))
        if not pretrained.same_weights(found, wanted):
            raise InputError(
                "backbone_weights: expected those that the network was trained on, received "
                f"others in {source!r}. Give the file that its run.json names."
            )
    for variable in twin.variables:
        if variable.path in own and own[variable.path].shape == variable.shape:
            variable.assign(own[variable.path])  # the centre of another level is to be measured
    return twin


def table(scores: dict, threshold: float) -> str:
    """Markdown of `measure`'s scores, in percent."""
    said = {best_threshold(scores): "best", threshold: "for unseen classes"}
    rows = []
    for t in THRESHOLDS:
        found = (f"{100 * scores[above(t)][key]:.1f}" for key in ("mean_iou", "fb_iou"))
        rows.append([t, *found, said.get(t, "")])
    return markdown(["threshold", "mIoU", "FB-IoU", ""], rows, left=0)
