"""What `records/index.json` says: data set, classes, folds, counts and files of the records.

Needs no TensorFlow, as nothing that reads a pack of photos does.
"""

import dataclasses
import hashlib
import json
import pathlib

from crnet_tf.common.errors import InputError
from crnet_tf.data import folds
from crnet_tf.images.mask_values import VOID

FORMAT_VERSION = 1
INDEX_NAME = "index.json"
SPLITS = ("train", "val")
# What reading another JSON raises.
_OTHERWISE = ValueError, KeyError, TypeError, AttributeError, RecursionError


@dataclasses.dataclass(frozen=True)
class Index:
    """What `records/index.json` says, checked. Made by `load_index`."""

    directory: pathlib.Path
    dataset: str
    filter: str
    class_names: tuple[str, ...]
    splits: dict  # {split: {"photos": n, "classes": {"7": {"records": n, "files": [...]}}}}
    sha256: str
    source: str = ""  # what the records were made from
    # Class ids a fold ("folds", "validation_folds"); empty where folds.py knows the data set.
    classes_by_fold: tuple[tuple[int, ...], ...] = ()
    validation: tuple[tuple[int, ...], ...] = ()

    @property
    def photo_list(self) -> str:
        """Which of PASCAL's lists of training photos: "pairs" (CANet, HSNet) or "pfenet"."""
        return "pfenet" if self.source.endswith("list pfenet") else "pairs"

    @property
    def num_folds(self) -> int:
        """How many folds there are, counted from 0."""
        return len(self.classes_by_fold) or folds.num_folds(self.dataset)

    def dropped_classes(self, *folds: int) -> tuple[int, ...]:
        """`test_classes` whose photos `--drop_novel_images` leaves out of training.

        Raises:
            ValueError: label maps of 8 bits do not tell which photos show them.
        """
        if len(self.class_names) >= VOID:
            raise InputError(
                f"drop_novel_images: expected at most {VOID - 1} classes, because label "
                "maps of 8 bits call more of them alike, received "
                f"{len(self.class_names)}. Leave it off."
            )
        return self.test_classes(*folds)

    def test_classes(self, fold: int, calibration_fold: int | None = None) -> tuple[int, ...]:
        """Class ids that act as unseen: those that training of `fold` must never look at.

        Args:
            calibration_fold: fold whose classes act as unseen instead, as far as `fold` would
                train on them (`Config.calibration_fold`).

        Raises:
            ValueError: there is no such fold, or no folds at all.
        """
        if calibration_fold is not None:
            unseen = self.test_classes(calibration_fold)
            return tuple(c for c in self.train_classes(fold) if c in unseen)
        if not self.classes_by_fold:
            return folds.test_classes(self.dataset, fold)
        if fold not in range(self.num_folds):
            raise InputError(
                f"fold: expected one of 0..{self.num_folds - 1} (counted from 0), as "
                f"{self.directory / INDEX_NAME} says, received {fold!r}."
            )
        return self.classes_by_fold[fold]

    def train_classes(self, fold: int, calibration_fold: int | None = None) -> tuple[int, ...]:
        """Class ids that `fold` trains on: those neither of its test nor of its validation.

        Those of a `calibration_fold` are left out as well.
        """
        if calibration_fold is not None:
            unseen = self.test_classes(calibration_fold)
            return tuple(c for c in self.train_classes(fold) if c not in unseen)
        if not self.classes_by_fold:
            return folds.train_classes(self.dataset, fold)
        others = self.test_classes(fold) + (self.validation[fold] if self.validation else ())
        return tuple(c for c in range(1, len(self.class_names) + 1) if c not in others)

    def validation_classes(
        self, fold: int, calibration_fold: int | None = None
    ) -> tuple[int, ...]:
        """Class ids that a checkpoint may be selected on (photos of the val split).

        Classes of their own where the data set has such (FSS-1000), else the training ones.
        """
        if calibration_fold is not None:
            unseen = self.test_classes(calibration_fold)
            return tuple(c for c in self.validation_classes(fold) if c not in unseen)
        if not self.classes_by_fold:
            return folds.validation_classes(self.dataset, fold)
        if self.validation:
            self.test_classes(fold)  # checks the number
            return self.validation[fold]
        return self.train_classes(fold)

    def count(self, split: str, class_id: int) -> int:
        """Records of a class in a split."""
        return self._stream(split, class_id)["records"]

    def files(self, split: str, class_id: int) -> list[str]:
        """Paths of the stream of a class; checked to be there."""
        paths = [
            self.directory / split / file["name"]
            for file in self._stream(split, class_id)["files"]
        ]
        for path in paths:
            if not path.exists():
                raise FileNotFoundError(
                    f"{path} is listed in {self.directory / INDEX_NAME} but missing. "
                    "Build the records again (docs/guides/data.md)."
                )
        return [str(path) for path in paths]

    def _stream(self, split, class_id):
        if split not in SPLITS:
            raise InputError(
                f"split: expected one of {SPLITS} in {self.directory}, received {split!r}."
            )
        classes = self.splits[split]["classes"] if split in self.splits else {}
        return classes.get(str(class_id), {"records": 0, "files": []})


def load_index(directory) -> Index:
    """Reads `index.json` of a records folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or of another format version.
    """
    directory = pathlib.Path(directory)
    path = directory / INDEX_NAME
    if not path.exists():
        place = "records/NAME" if directory.exists() else directory  # never among photos
        raise FileNotFoundError(
            f"No {INDEX_NAME} in {str(directory)!r}: expected a folder of records, received "
            f"{'another folder' if directory.exists() else 'nothing: it is not there'}. Build "
            "records first: crnet build voc --voc_dir=VOCdevkit/VOC2012 "
            f"--out={place} (of your own photos: pipelines.build_folder)."
        )
    text = path.read_bytes()
    try:
        content = json.loads(text)
        version = content["format"]
        if version == FORMAT_VERSION:
            return Index(
                directory=directory,
                dataset=content["dataset"],
                filter=content["filter"],
                class_names=tuple(content["class_names"]),
                splits=_splits(content),
                sha256=hashlib.sha256(text).hexdigest(),
                source=content.get("source", ""),
                classes_by_fold=_class_lists(content, "folds"),
                validation=_class_lists(content, "validation_folds"),
            )
    except _OTHERWISE as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}: {error}). Build the records again."
        ) from error
    raise InputError(
        f"{path}: expected records of format {FORMAT_VERSION}, received format {version!r}. "
        "Build them again with this version's pipelines, or use the version that wrote them."
    )


def _splits(content):
    """`splits` of index.json, as `Index` has them."""
    for split in content["splits"].values():
        _ = f"{split.get('photos', 0):d}"  # raises where it is another type
        for stream in split["classes"].values():
            _ = f"{stream['records']:d}"
            _ = [f"{file['name']:s}" for file in stream["files"]]
    return content["splits"]


def _class_lists(content, key):
    """[[class ids] a fold] of index.json as tuples; () where the key is not there."""
    lists = tuple(tuple(classes) for classes in content.get(key, []))
    ids = range(1, len(content["class_names"]) + 1)
    known = all(c in ids for classes in lists for c in classes)
    if not known or not all(lists) or len(lists) not in (0, len(content.get("folds", []))):
        raise ValueError(f"{key} {lists} of classes 1..{len(ids)}")
    return lists
