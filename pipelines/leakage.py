"""Photos that a data set has more than once: what is trained on must not be tested on."""

import itertools
from collections.abc import Mapping

from pipelines.findings import Report
from pipelines.inspect_record import Photo
from pipelines.perceptual_hash import near_pairs

MOST_PAIRS = 1000  # that look alike, in a report

Photos = Mapping[str, Photo]  # by id


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
                message = "one photo under several ids: a support could be its own query"
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


def _by_bytes(photos):
    ids = {}
    for photo_id, photo in photos.items():
        ids.setdefault(photo.image_sha256, []).append(photo_id)
    return ids


def _check_bytes(a, b, where, report):
    others, same = _by_bytes(b), set()
    for photo_id, photo in a.items():
        for other in others.get(photo.image_sha256, ()):
            if other != photo_id:
                report.fault(
                    "leakage", where, f"{photo_id}, {other}", "the same photo, to the byte"
                )
                same.add((photo_id, other))
    return same


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
