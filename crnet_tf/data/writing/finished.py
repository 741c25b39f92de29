"""What is to be built, and whether the records that are there already are just that."""

import hashlib
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from crnet_tf.common import folders
from crnet_tf.common.disk import sha256_of
from crnet_tf.common.errors import InputError
from crnet_tf.data import records


def holds_records(out: pathlib.Path) -> bool:
    """Whether `out` is a folder of records.

    Raises:
        FileExistsError: it is there and something else.
    """
    return folders.holds(out, records.INDEX_NAME, _is_ours)


def check_complete(out: pathlib.Path, settings: Mapping[str, Any]) -> None:
    """Raises FileExistsError unless the records in `out` are whole and of these settings.

    Args:
        settings: keys of index.json; None stands for a key that is not there.
    """
    remedy = "--overwrite rebuilds them; another --out keeps both."
    index = records.load_index(out)
    there = json.loads((out / records.INDEX_NAME).read_text())
    for key, wanted in settings.items():
        if there.get(key) != wanted:
            raise FileExistsError(
                f"{out} holds records of other settings: expected {key} {wanted!r}, received "
                f"{there.get(key)!r}. {remedy}"
            )
    for split, content in index.splits.items():
        for stream in content["classes"].values():
            for file in stream["files"]:
                path = out / split / file["name"]
                if not path.exists() or sha256_of(path) != file["sha256"]:
                    raise FileExistsError(
                        f"{path}: expected the file that index.json names, received "
                        f"{'another one' if path.exists() else 'none'}. {remedy}"
                    )


def check_names(splits: Mapping[str, Sequence[Any]]) -> None:
    """Raises ValueError where an id stands twice: an episode names its photos by id, and a
    photo of two splits would be in both."""
    seen = set()
    for source in itertools.chain.from_iterable(splits.values()):
        name = _name(source)
        if name in seen:
            raise InputError(
                f"{name!r}: expected every photo once, under a name of its own, received "
                "two of this name. Rename or remove one of them."
            )
        seen.add(name)


def input_sha256(splits: Mapping[str, Sequence[Any]]) -> str:
    """Of the photos' ids, so that records of a shorter list are not taken for complete."""
    digest = hashlib.sha256()
    for split, sources in splits.items():
        for source in sources:
            digest.update(f"{split}/{_name(source)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _name(source):
    """The id of what `writer.write_records` is given: a path has its stem for one."""
    photo = source[0] if isinstance(source, tuple) else source
    return photo if isinstance(photo, str) else pathlib.Path(photo).stem


def _is_ours(path):
    in_split = len(path.parts) == 2 and path.match("class_*.tfrecord")
    return in_split or path == pathlib.Path(records.INDEX_NAME)
