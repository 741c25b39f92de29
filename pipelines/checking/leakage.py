"""What is trained on must not be tested on: no photo in two splits, no class held out."""

import itertools
from collections.abc import Mapping

from crnet_tf.data import folds, records
from crnet_tf.images.mask_values import VOID, label_value
from pipelines.checking.findings import Report
from pipelines.checking.inspect_record import Fingerprint
from pipelines.checking.perceptual_hash import near_pairs

MOST_PAIRS = 1000  # of a kind, in a report

Photos = Mapping[str, Fingerprint]  # by id


def check_splits(splits: Mapping[str, Photos], distance: int, report: Report) -> None:
    """Reports photos that stand in two splits, or in one under two ids.

    Args:
        splits: the photos of each split.
        distance: bits of the perceptual hash up to which photos look alike; -1: not compared.
        report: gets the findings. The same id or the same bytes in two splits are faults, the
            same bytes in one split and photos that look alike are warnings.
    """
    for split, photos in splits.items():
        for ids in _by_bytes(photos).values():
            if len(ids) > 1:
                message = f"one photo under several ids: {_consequence(photos, ids)}"
                report.warn("same photo", split, ", ".join(ids), message)
    for (first, a), (second, b) in itertools.combinations(splits.items(), 2):
        where = f"{first} and {second}"
        same = set()
        for photo_id in sorted(a.keys() & b.keys()):
            report.fault("leakage", where, photo_id, "this photo id stands in both splits")
            same.add((photo_id, photo_id))
        same |= _check_bytes(a, b, where, report)
        if distance >= 0:
            _check_likeness(a, b, same, where, distance, report)


def check_classes(index: records.Index, training: Photos, report: Report) -> None:
    """Reports classes of a fold that its training photos hold and must not, or may.

    A data set with one fold of its own (FSS-1000, --test_classes) keeps all photos of its test
    and validation classes out of the train split: any there is a fault. Of several folds, each
    trains on photos that also hold another one's test classes, as background: counted.

    Args:
        index: of the data set.
        training: the photos of the train split.
    """
    if not index.classes_by_fold and index.dataset not in folds.CLASS_NAMES:
        return
    for fold in range(index.num_folds):
        trained, tested = index.train_classes(fold), index.test_classes(fold)
        if len(index.classes_by_fold) == 1:
            _check_held_out(index, set(trained), training, report)
            continue
        values = set(map(label_value, trained)), set(map(label_value, tested))
        used = [p.values for p in training.values() if not p.values.isdisjoint(values[0])]
        both = sum(not held.isdisjoint(values[1]) for held in used)
        report.folds[str(fold)] = {"training photos": len(used), "with test classes": both}


def _check_held_out(index, trained, training, report):
    others = [c for c in range(1, len(index.class_names) + 1) if c not in trained]
    for class_id in others:
        if count := index.count("train", class_id):
            name = index.class_names[class_id - 1]
            message = f"expected no photo of class {class_id} ({name}), received {count:,}"
            report.fault("class leakage", "train", "", message)
    if len(index.class_names) >= VOID:
        return  # a value of a label map stands for several classes
    for photo_id, photo in training.items():
        if held := sorted(photo.values.intersection(others)):
            message = f"holds class {held[0]}, which nothing may train on"
            report.fault("class leakage", "train", photo_id, message)


def _by_bytes(photos):
    ids = {}
    for photo_id, photo in photos.items():
        ids.setdefault(photo.image_sha256, []).append(photo_id)
    return ids


def _consequence(photos, ids):
    """What it means that one photo stands under several ids of a split."""
    objects = [photos[i].values - {0, VOID} for i in ids]
    # A record of every class, as of a folder of each, knows only its own.
    if len(frozenset.union(*objects)) == sum(map(len, objects)):
        return "each calls the other's object background; label maps can hold both"
    return "a support could be its own query"


def _check_bytes(a, b, where, report):
    others = _by_bytes(b)
    same = [
        (photo_id, other)
        for photo_id, photo in a.items()
        for other in others.get(photo.image_sha256, ())
        if other != photo_id
    ]
    for pair in same[:MOST_PAIRS]:
        report.fault("leakage", where, ", ".join(pair), "the same photo, to the byte")
    if len(same) > MOST_PAIRS:
        message = f"{len(same) - MOST_PAIRS:,} more pairs of the same photo, to the byte"
        report.fault("leakage", where, "", message)
    return set(same)


def _check_likeness(a, b, same, where, distance, report):
    ids, others = list(a), list(b)
    hashes = ([photo.perceptual for photo in photos.values()] for photos in (a, b))
    found = 0
    for i, j, bits in near_pairs(*hashes, distance):
        if (ids[i], others[j]) in same:
            continue
        found += 1
        if found <= MOST_PAIRS:
            message = f"perceptual hashes {bits} of 64 bits apart: a copy? Look at the two"
            report.warn("looks alike", where, f"{ids[i]}, {others[j]}", message)
    if found > MOST_PAIRS:
        message = f"{found - MOST_PAIRS:,} more pairs; a smaller --distance shows fewer"
        report.warn("looks alike", where, "", message)
