"""Which photos of one's own are held out, and which classes a fold tests on."""

import hashlib
import math
import pathlib
from collections.abc import Collection, Sequence

from pipelines.listing import PHOTO_SUFFIXES, Photo

MIN_PHOTOS = 2  # of a class in a split, for an episode of one support


def deal_folds(class_names: Sequence[str], count: int) -> list[list[int]]:
    """Class ids of each fold: runs of consecutive ids, as even as can be."""
    if not 2 <= count <= len(class_names):
        raise ValueError(
            f"--folds: expected 2..{len(class_names)} for {len(class_names)} classes, received "
            f"{count}. A fold trains on the classes of the other folds."
        )
    bounds = [len(class_names) * i // count for i in range(count + 1)]
    return [list(range(bounds[i] + 1, bounds[i + 1] + 1)) for i in range(count)]


def named_fold(class_names: Sequence[str], test_classes: Sequence[str]) -> list[list[int]]:
    """The one fold that tests on classes by name."""
    unknown = sorted(set(test_classes) - set(class_names))
    if unknown or not test_classes or set(test_classes) == set(class_names):
        raise ValueError(
            f"--test_classes: expected some of {', '.join(class_names)}, but not all, received "
            f"{', '.join(unknown or test_classes) or 'none'}. Training needs the others."
        )
    return [sorted(class_names.index(name) + 1 for name in set(test_classes))]


def split_by_share(
    photos: Sequence[Photo], val_share: float, held_out: Collection[int]
) -> dict[str, list[Photo]]:
    """{"train", "val"}: of every class about a share is held out, by a hash of the names.

    Where a class has four photos or more, both splits get at least two. All photos with a
    class of `held_out` go to val: nothing ever trains on it. Adding photos moves few others.
    """
    if not 0 < val_share < 1:
        raise ValueError(
            f"--val_share: expected more than 0, less than 1, received {val_share}."
        )
    by_class = {}
    for photo in sorted(photos, key=_drawn):
        for class_id in photo.classes:
            by_class.setdefault(class_id, []).append(photo)
    val = {p.name for p in photos if not held_out.isdisjoint(p.classes)}
    rarest_first = sorted(by_class, key=lambda c: (len(by_class[c]), c))
    for members in (by_class[c] for c in rarest_first):
        missing = _quota(len(members), val_share) - sum(p.name in val for p in members)
        others = [p.name for p in members if p.name not in val]
        val.update(others[: max(missing, 0)])
    return {
        "train": [p for p in photos if p.name not in val],
        "val": [p for p in photos if p.name in val],
    }


def split_by_lists(
    photos: Sequence[Photo], val_list: pathlib.Path, train_list: pathlib.Path | None = None
) -> dict[str, list[Photo]]:
    """{"train", "val"}: the photos two files name, one a line; without `train_list` the rest
    trains."""
    names = {photo.name for photo in photos}
    val = _read_list(val_list, names)
    train = _read_list(train_list, names) if train_list else names - val
    if val & train:
        raise ValueError(
            f"{train_list}: expected no photo of {val_list}, received "
            f"{', '.join(sorted(val & train)[:3])} too. Remove them from one."
        )
    return {
        "train": [photo for photo in photos if photo.name in train],
        "val": [photo for photo in photos if photo.name in val],
    }


def _quota(count, share):
    if count < 2 * MIN_PHOTOS:
        return math.floor(count * share + 0.5)
    return min(max(math.floor(count * share + 0.5), MIN_PHOTOS), count - MIN_PHOTOS)


def _drawn(photo):
    """Order by a hash: the same photo under one file name in two folders gets one place."""
    stem = pathlib.PurePosixPath(photo.name).name
    digest = hashlib.sha256(stem.encode(errors="surrogateescape")).hexdigest()
    return digest, photo.name


def _read_list(path, names):
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    named = {_without_suffix(line) for line in lines if line}
    if not named or named - names:
        raise ValueError(
            f"{path}: expected names of photos, one a line, received "
            f"{', '.join(sorted(named - names)[:3]) or 'an empty list'}. They are paths below "
            f"the source, such as {min(names, default='cat/tom')!r}."
        )
    return named


def _without_suffix(name):
    path = pathlib.PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in PHOTO_SUFFIXES else name
