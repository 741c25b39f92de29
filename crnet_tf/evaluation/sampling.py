"""How the field's code bases walk over photos: endless episodes from {class id: photo ids}.

An episode is a tuple (class id, ids of K supports, id of the query). Classes and ids must be
in order, or the same generator would not give the same episodes.
"""

import collections
import itertools
import random
from collections.abc import Iterator

Names = dict[int, list[str]]
Drawn = tuple[int, tuple[str, ...], str]


def pairs(names: Names, shot: int, generator: random.Random) -> Iterator[Drawn]:
    """The (photo, class) pairs in shuffled order, shuffled anew each time (CANet)."""
    for class_id, query in shuffled_pairs(names, generator):
        yield class_id, supports(names[class_id], query, shot, generator), query


def pairs_in_order(names: Names, shot: int, generator: random.Random) -> Iterator[Drawn]:
    """The pairs in order, again and again; a photo may be several supports (HSNet)."""
    for class_id, query in itertools.cycle(_pairs(names)):
        yield class_id, tuple(generator.choices(_others(names[class_id], query), k=shot)), query


def photos(names: Names, shot: int, generator: random.Random) -> Iterator[Drawn]:
    """Every photo once in shuffled order, with one of its classes; then again (PFENet)."""
    classes_of = collections.defaultdict(list)
    for class_id, name in _pairs(names):
        classes_of[name].append(class_id)
    queries = sorted(classes_of)
    while True:
        generator.shuffle(queries)
        for query in queries:
            class_id = generator.choice(classes_of[query])
            yield class_id, supports(names[class_id], query, shot, generator), query


def classes(names: Names, shot: int, generator: random.Random) -> Iterator[Drawn]:
    """Any class, then any distinct photos of it (PANet)."""
    while True:
        class_id = generator.choice(list(names))
        *support, query = generator.sample(names[class_id], shot + 1)
        yield class_id, tuple(support), query


def classes_repeating(names: Names, shot: int, generator: random.Random) -> Iterator[Drawn]:
    """Any class, then a query of it; a photo may be several supports (HSNet on COCO)."""
    while True:
        class_id = generator.choice(list(names))
        query = generator.choice(names[class_id])
        yield class_id, tuple(generator.choices(_others(names[class_id], query), k=shot)), query


SAMPLINGS = {
    "pairs": pairs,
    "pairs_in_order": pairs_in_order,
    "photos": photos,
    "classes": classes,
    "classes_repeating": classes_repeating,
}
REPEATING = ("pairs_in_order", "classes_repeating")  # a photo may be several supports


def shuffled_pairs(names: Names, generator: random.Random) -> Iterator[tuple[int, str]]:
    """Endless (class id, photo id): every pair once before any comes again."""
    shuffled = _pairs(names)
    while True:
        generator.shuffle(shuffled)
        yield from shuffled


def supports(
    of_class: list[str], query: str, shot: int, generator: random.Random
) -> tuple[str, ...]:
    """Distinct photos of a class, none of which is the query."""
    return tuple(generator.sample(_others(of_class, query), shot))


def _pairs(names):
    return [(class_id, name) for class_id, of_class in names.items() for name in of_class]


def _others(of_class, query):
    return [name for name in of_class if name != query]
