"""Which photos an evaluation looks at: seeded episodes, written down by id, with a hash."""

import collections
import dataclasses
import functools
import hashlib
import itertools
import json
import pathlib
import random
from collections.abc import Mapping

import numpy as np

from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.data import records
from crnet_tf.evaluation.sampling import REPEATING, SAMPLINGS, shuffled_pairs, supports
from crnet_tf.images.mask_values import class_mask, label_value


@dataclasses.dataclass(frozen=True)
class Entry:
    """One evaluation episode: K support photos and a query photo of a class, by id."""

    class_id: int
    support: tuple[str, ...]
    query: str

    @property
    def examples(self) -> list[tuple[int, tuple[str, ...]]]:
        """As of `WayEntry`: (class id, photo ids of its supports) of its one class."""
        return [(self.class_id, self.support)]

    def to_json(self) -> str:
        """One line of a manifest."""
        return json.dumps(dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True)
class WayEntry:
    """One episode of several classes: K supports of each; the query holds the first class."""

    classes: tuple[int, ...]
    support: tuple[tuple[str, ...], ...]
    query: str

    @property
    def examples(self) -> list[tuple[int, tuple[str, ...]]]:
        """(class id, photo ids of its supports) of every class."""
        return list(zip(self.classes, self.support, strict=True))

    def to_json(self) -> str:
        """One line of a manifest of such episodes."""
        return json.dumps(dataclasses.asdict(self))


class Archive:
    """Serialized records of some classes of a split, by class and photo id."""

    def __init__(self, index: records.Index, split: str, classes):
        self.index, self.split = index, split
        self.by_class = records.streams(index, split, classes)

    def only(self, entries: list[Entry]) -> "Archive":
        """An archive of the same classes that holds some episodes' photos alone, in memory."""
        used = {name for entry in entries for name in (*entry.support, entry.query)}
        few = Archive.__new__(Archive)
        few.index, few.split = self.index, self.split
        few.by_class = {
            class_id: {name: photos[name] for name in photos if name in used}
            for class_id, photos in self.by_class.items()
        }
        return few

    @functools.cached_property
    def by_name(self) -> Mapping[str, bytes]:
        """Records by photo id; a photo of two classes has the same record in both streams."""
        return collections.ChainMap(*self.by_class.values())

    @functools.cached_property
    def names(self) -> dict[int, list[str]]:
        """{class id: ids of its photos}, both in order."""
        return {c: sorted(photos) for c, photos in sorted(self.by_class.items())}

    def photo(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Photo uint8 [H,W,3] and label map uint8 [H,W] of an id."""
        return records.photo(self.by_name[name], f"{self.index.directory}, {name}")

    def masked(self, name: str, class_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Photo uint8 [H,W,3] of an id, and the mask uint8 [H,W] in {0,1,255} of a class."""
        image, label = self.photo(name)
        return image, class_mask(label, label_value(class_id))

    def serialized(self, entry: Entry) -> list[bytes]:
        """Records of an episode, supports first, the query last."""
        of_class = self.by_class.get(entry.class_id, {})
        names = (*entry.support, entry.query)  # a negative query is of another class
        return [of_class.get(name) or self.by_name[name] for name in names]


def draw(
    archive: Archive, shot: int, count: int, seed: int, sampling: str = "pairs"
) -> list[Entry]:
    """Seeded episodes; the queries of fewer ones are the first of more.

    Args:
        archive: photos of the classes to draw from.
        shot: supports of an episode, K; never the query, and distinct but for
            `sampling.REPEATING`.
        count: number of episodes.
        sampling: a key of `sampling.SAMPLINGS`.

    Raises:
        ValueError: a class has too few photos (with the counts), or unknown sampling.
    """
    if sampling not in SAMPLINGS:
        raise InputError(
            f"sampling: expected one of {', '.join(SAMPLINGS)}, received {sampling!r}. "
            "Choose one of them."
        )
    _check_counts(archive, shot, least=2 if sampling in REPEATING else shot + 1)
    drawn = SAMPLINGS[sampling](archive.names, shot, random.Random(seed))
    return [Entry(*episode) for episode in itertools.islice(drawn, count)]


def draw_ways(archive: Archive, way: int, shot: int, count: int, seed: int) -> list[WayEntry]:
    """Episodes of `way` classes: queries as with "pairs", other classes drawn uniformly.

    Supports are distinct photos of their class and never the query.

    Raises:
        ValueError: there are fewer than `way` classes, or a class has too few photos.
    """
    if not 1 <= way <= len(archive.names):
        raise InputError(
            f"way: expected 1..{len(archive.names)}, the number of classes to draw from, "
            f"received {way}. Choose a smaller one."
        )
    _check_counts(archive, shot, least=shot + 1)
    generator = random.Random(seed)
    entries = []
    for class_id, query in itertools.islice(shuffled_pairs(archive.names, generator), count):
        # Beyond 254 classes a label map cannot tell some of them apart.
        value = label_value(class_id)
        others = [c for c in archive.names if label_value(c) != value]
        classes = (class_id, *generator.sample(others, way - 1))
        support = (supports(archive.names[c], query, shot, generator) for c in classes)
        entries.append(WayEntry(classes, tuple(support), query))
    return entries


def negatives(archive: Archive, entries: list[Entry], seed: int) -> list[Entry]:
    """The same supports, each with a query that holds not one pixel of their class.

    Raises:
        ValueError: every photo of the archive holds a class.
    """
    generator = random.Random(seed)
    held = functools.cache(lambda name: frozenset(np.unique(archive.photo(name)[1]).tolist()))
    candidates = {
        c: sorted(archive.by_name.keys() - archive.by_class.get(c, {}).keys())
        for c in {entry.class_id for entry in entries}
    }

    def query(class_id):
        others = candidates[class_id]
        while others:
            name = generator.choice(others)
            if label_value(class_id) not in held(name):
                return name
            others.remove(name)  # it shows the class, too small to be listed with it
        raise InputError(
            f"negative episodes: expected photos without class {class_id} among those of "
            f"classes {', '.join(map(str, archive.names))}, received none. Draw from more "
            "classes."
        )

    return [dataclasses.replace(entry, query=query(entry.class_id)) for entry in entries]


def _check_counts(archive, shot, least):
    if shot < 1:
        raise InputError(f"shot: expected 1 or more, received {shot}. Give a support photo.")
    counts = {c: len(names) for c, names in archive.names.items() if len(names) < least}
    if counts or not archive.names:
        class_names = archive.index.class_names
        received = ", ".join(f"{class_names[c - 1]} ({c}): {n}" for c, n in counts.items())
        raise InputError(
            f"{shot}-shot episodes need at least {least} photos of every class in the "
            f"{archive.split} split of {archive.index.directory}; received "
            f"{received or 'no class'}. Add photos, lower the shot, or build the records with "
            "a milder --filter."
        )


def sha256(entries: list[Entry]) -> str:
    """Hash of a manifest: equal hashes, equal episodes."""
    return hashlib.sha256("\n".join(entry.to_json() for entry in entries).encode()).hexdigest()


def write(path, entries: list[Entry]) -> None:
    """One JSON object a line."""
    files.write_text(path, "".join(entry.to_json() + "\n" for entry in entries))


def read(path, *, repeated_supports: bool = False) -> list[Entry]:
    """Inverse of `write`; with `repeated_supports` a photo may be several supports of one.

    Raises:
        ValueError: a line is no episode, or has another number of supports than the first.
    """
    entries = []
    for number, line in enumerate(pathlib.Path(path).read_bytes().splitlines(), 1):
        try:
            entry = _parse(line, repeated_supports)
            if entries and len(entry.support) != len(entries[0].support):
                raise InputError(
                    f"{len(entry.support)} supports after {len(entries[0].support)}"
                )
        except (ValueError, RecursionError) as error:
            raise InputError(
                f'{path}, line {number}: expected {{"class_id": 7, "support": ["id", ...], '
                f'"query": "id"}}, received {error}. Mend the line, or draw the episodes again.'
            ) from error
        entries.append(entry)
    if not entries:
        raise InputError(f"{path}: expected an episode a line, received an empty file.")
    return entries


def check(entries: list[Entry], archive: Archive, source) -> None:
    """Raises ValueError when the archive lacks a photo of a manifest (`source` names it)."""
    for entry in entries:
        of_class = archive.by_class.get(entry.class_id, {})
        missing = [name for name in entry.support if name not in of_class]
        if entry.query not in archive.by_name:  # a negative query is of another class
            missing.append(entry.query)
        if missing:
            raise InputError(
                f"{source}: a manifest of other records: expected photos of class "
                f"{entry.class_id} in the {archive.split} split of {archive.index.directory} "
                f"(here of classes {', '.join(map(str, archive.names))}), received "
                f"{', '.join(missing[:3])}. Give the records it was drawn from, or draw anew."
            )


def _parse(line, repeated_supports):
    fields = json.loads(line)
    if (
        not isinstance(fields, dict)
        or fields.keys() != {"class_id", "support", "query"}
        or type(fields["class_id"]) is not int
        or not isinstance(fields["support"], list)
        or not all(isinstance(name, str) for name in [*fields["support"], fields["query"]])
    ):
        raise InputError(line.decode())
    entry = Entry(fields["class_id"], tuple(fields["support"]), fields["query"])
    if not entry.support or entry.query in entry.support:
        raise InputError(f"{line.decode()}, where the query must have supports beside it")
    if len(set(entry.support)) < len(entry.support) and not repeated_supports:
        raise InputError(f"{line.decode()}, which has a support twice")
    return entry
