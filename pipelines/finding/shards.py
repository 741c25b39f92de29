"""A piece of the photos -> one file of answers, a JSON line a photo:

    {"photo", "height", "width", "presence": {class: score}, "objects": [...]}
    {"photo", "error"}                                  where it cannot be read

Objects are in COCO's format: `category_id`, `segmentation` in run lengths, `area`, `bbox`,
`score`. The same photos give the same bytes, whoever answers them.
"""

import dataclasses
import functools
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from crnet_tf.annotations.coco_json import annotation
from crnet_tf.fewshot.found import Found
from crnet_tf.fewshot.segmenter import Segmenter
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.images.photos import read_photo
from pipelines.finding.photos import Photo
from pipelines.workers import pool


class Shard(NamedTuple):
    """A piece of the photos, and the file of its answers."""

    path: pathlib.Path
    photos: list[Photo]


@dataclasses.dataclass(frozen=True)
class Search:
    """What every photo is searched for.

    Attributes:
        model: a file that `Segmenter.save` wrote. sha256: of it.
        engine: of `engines.ENGINES`; "auto" may be another one on another machine.
        instances: each connected piece of a class is an object.
    """

    model: str
    sha256: str
    engine: str
    instances: bool


def places(folder: pathlib.Path, count: int) -> list[pathlib.Path]:
    """The files of so many pieces."""
    return [folder / f"answers-{number:05d}-of-{count:05d}.jsonl" for number in range(count)]


def cut(photos: Iterable[Photo], size: int, places: Iterable[pathlib.Path]) -> Iterator[Shard]:
    """Photos in pieces of `size`, the last one of what is left."""
    photos = iter(photos)
    return (Shard(place, list(itertools.islice(photos, size))) for place in places)


def answer(shard: Shard, search: Search) -> int:
    """Writes the answers of a piece, whole or not at all; returns how many there are."""
    answers = segmenter(search).each(shard.photos, _read)
    with pool.whole(shard.path) as attempt, open(attempt, "w") as file:
        for photo, found in zip(shard.photos, answers, strict=True):
            file.write(json.dumps(_line(photo, found, search.instances)) + "\n")
    return len(shard.photos)


@functools.lru_cache(1)
def segmenter(search: Search) -> Segmenter:
    """Loaded once a process."""
    return Segmenter.load(search.model, engine=search.engine)


def _read(photo):
    return LabelledPhoto(read_photo(photo.place), name=photo.name)


def _line(photo, found, instances):
    if not isinstance(found, Found):
        return {"photo": photo.name, "error": str(found)}
    told = found.answer(pathlib.Path(photo.name), "")
    objects = dataclasses.replace(told, connected=instances).objects
    scores = (round(float(score), 4) for score in found.presences)
    return {
        "photo": photo.name,
        "height": found.mask.shape[0],
        "width": found.mask.shape[1],
        "presence": dict(zip(found.class_names, scores, strict=True)),
        "objects": [annotation(one, as_mask=True) for one in objects],
    }
