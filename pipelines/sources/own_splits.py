"""Which photos of one's own are held out, and which classes a fold tests on."""

import collections
import hashlib
import math
import pathlib
from collections.abc import Collection, Mapping, Sequence

from crnet_tf.annotations.listing import PHOTO_SUFFIXES, PhotoFile, read_lines
from crnet_tf.common.disk import sha256_of
from crnet_tf.common.errors import InputError
from crnet_tf.images.opening import Embedded

MIN_PHOTOS = 2  # of a class in a split, for an episode of one support


def held_out_classes(
    class_names: Sequence[str], folds: int | None, test_classes: Sequence[str] | None
) -> list[list[int]]:
    """Class ids that each fold tests on: dealt to so many folds, or the named ones of one.

    Raises:
        ValueError: both are given, or they do not go with the classes.
    """
    if folds and test_classes:
        raise InputError("--folds, --test_classes: expected one of them, received both.")
    if test_classes:
        return named_fold(class_names, test_classes)
    return deal_folds(class_names, min(4, len(class_names)) if folds is None else folds)


def split(
    photos: Sequence[PhotoFile],
    val_share: float,
    val_list: pathlib.Path | None,
    train_list: pathlib.Path | None,
    held_out: Sequence[Collection[int]],
) -> dict[str, list[PhotoFile]]:
    """{"train", "val"}: by lists where they are given, else by a share of every class.

    Args:
        held_out: classes that each fold tests on.

    Raises:
        ValueError: see `split_by_lists`, `split_by_share`.
    """
    if train_list and not val_list:
        raise InputError(
            "--train_list: expected --val_list with it, received it alone. Name the test "
            "photos too, or leave it out."
        )
    # Of several folds, each trains on what another one tests on.
    never_trained_on = set(held_out[0]) if len(held_out) == 1 else set()
    if val_list:
        return split_by_lists(photos, val_list, train_list, never_trained_on)
    same = copies(photos)
    return split_by_share(photos, val_share, never_trained_on, same)


def deal_folds(class_names: Sequence[str], count: int) -> list[list[int]]:
    """Class ids of each fold: runs of consecutive ids, as even as can be."""
    if not 2 <= count <= len(class_names):
        raise InputError(
            f"--folds: expected 2..{len(class_names)} for {len(class_names)} classes, received "
            f"{count}. A fold trains on the classes of the other folds."
        )
    bounds = [len(class_names) * i // count for i in range(count + 1)]
    return [list(range(bounds[i] + 1, bounds[i + 1] + 1)) for i in range(count)]


def named_fold(class_names: Sequence[str], test_classes: Sequence[str]) -> list[list[int]]:
    """The one fold that tests on classes by name."""
    unknown = sorted(set(test_classes) - set(class_names))
    if unknown or not test_classes or set(test_classes) == set(class_names):
        raise InputError(
            f"--test_classes: expected some of {', '.join(class_names)}, but not all, received "
            f"{', '.join(unknown or test_classes) or 'none'}. Training needs the others."
        )
    return [sorted(class_names.index(name) + 1 for name in set(test_classes))]


def split_by_share(
    photos: Sequence[PhotoFile],
    val_share: float,
    held_out: Collection[int],
    same: Mapping[str, str] | None = None,
) -> dict[str, list[PhotoFile]]:
    """{"train", "val"}: of every class about a share is held out, by a hash of the names.

    Both splits get at least two photos of a class if possible, train before val. Adding
    photos moves few others.

    Args:
        photos: to split.
        val_share: more than 0 and less than 1.
        held_out: classes nothing ever trains on; all photos that hold one go to val.
        same: of photos that stay together, by name, what they have in common; see `copies`.

    Raises:
        ValueError: the share is none, or a split would be empty.
    """
    if not 0 < val_share < 1:
        raise InputError(
            f"--val_share: expected more than 0 and less than 1, received {val_share}."
        )
    together, by_class = {}, {}
    for photo in sorted(photos, key=_drawn):
        together.setdefault((same or {}).get(photo.name, photo.name), []).append(photo)
        for class_id in photo.classes:
            by_class.setdefault(class_id, []).append(photo)
    group_of = {photo.name: group for group in together.values() for photo in group}
    val = {
        member.name
        for photo in photos
        if not held_out.isdisjoint(photo.classes)
        for member in group_of[photo.name]
    }
    left = {c: sum(p.name not in val for p in members) for c, members in by_class.items()}
    for class_id in sorted(by_class, key=lambda c: (len(by_class[c]), c)):  # rarest first
        count = len(by_class[class_id])
        wanted = count - max(math.floor(count * val_share + 0.5), MIN_PHOTOS)
        for photo in by_class[class_id]:
            if left[class_id] <= wanted:
                break
            added = [member for member in group_of[photo.name] if member.name not in val]
            taken = collections.Counter(c for member in added for c in member.classes)
            if all(left[c] - n >= MIN_PHOTOS or c in held_out for c, n in taken.items()):
                val.update(member.name for member in added)
                left = {c: n - taken[c] for c, n in left.items()}
    return _checked(
        [photo for photo in photos if photo.name not in val],
        [photo for photo in photos if photo.name in val],
        no_train="Each holds a class of --test_classes. Add photos that hold none of them, or "
        "test on fewer classes.",
        no_val=f"Of every class {MIN_PHOTOS} stay to train on. Add photos, so that a class has "
        f"at least {MIN_PHOTOS + 1} (copies count once).",
    )


def copies(photos: Sequence[PhotoFile]) -> dict[str, str]:
    """{photo id: hash of its file} of photos that are there more than once, to the byte."""
    by_size = {}
    for photo in photos:
        if isinstance(photo.path, Embedded) or not photo.path.is_file():
            continue  # a link that leads nowhere: told when it is read
        by_size.setdefault(photo.path.stat().st_size, []).append(photo)
    return {
        photo.name: sha256_of(photo.path)
        for alike in by_size.values()
        if len(alike) > 1
        for photo in alike
    }


def split_by_lists(
    photos: Sequence[PhotoFile],
    val_list: pathlib.Path,
    train_list: pathlib.Path | None = None,
    held_out: Collection[int] = (),
) -> dict[str, list[PhotoFile]]:
    """{"train", "val"}: the photos two files name, one a line.

    Args:
        photos: to split.
        val_list, train_list: the files; without the second one the rest trains.
        held_out: classes nothing ever trains on; a photo to train on that holds one is an
            error.

    Raises:
        ValueError: a list names other photos, both name one, or nothing is left to train on.
    """
    names = {photo.name for photo in photos}
    val = _read_list(val_list, names)
    train = _read_list(train_list, names) if train_list else names - val
    if val & train:
        raise InputError(
            f"{train_list}: expected no photo of {val_list}, received "
            f"{', '.join(sorted(val & train)[:3])} too. Remove them from one."
        )
    novel = [p for p in photos if p.name in train and not set(held_out).isdisjoint(p.classes)]
    if novel:
        raise InputError(
            f"{train_list or val_list}: expected no training photo that holds a class of "
            f"--test_classes, received {len(novel)} ({', '.join(p.name for p in novel[:3])}). "
            "Put them into --val_list, or leave them out with --train_list; with --folds "
            "instead of --test_classes such photos may train, their objects as background."
        )
    return _checked(
        [photo for photo in photos if photo.name in train],
        [photo for photo in photos if photo.name in val],
        no_train=f"{val_list} names them all. Take those to train on out of it.",
    )


def _checked(train, val, no_train, no_val=""):
    """The splits by name, or why one of them is empty and what to do."""
    for split, members, reason in (("train", train, no_train), ("val", val, no_val)):
        if not members:
            raise InputError(
                f"split {split!r}: expected photos, received none of {len(train + val)}. "
                f"{reason}"
            )
    return {"train": train, "val": val}


def _drawn(photo):
    """Order by a hash of the name."""
    name = photo.name.encode(errors="surrogateescape")
    return hashlib.sha256(name).hexdigest(), photo.name


def _read_list(path, names):
    named = {_without_suffix(line) for line in read_lines(path)}
    if not named or named - names:
        raise InputError(
            f"{path}: expected names of photos that have a label, one a line, received "
            f"{', '.join(sorted(named - names)[:3]) or 'an empty list'}. They are CLASS/NAME "
            "of --format=folders, else paths below the source, such as "
            f"{min(names, default='cat/tom')!r}."
        )
    return named


def _without_suffix(name):
    path = pathlib.PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in PHOTO_SUFFIXES else name
