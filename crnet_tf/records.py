"""The on-disk contract: one (photo, label map) <-> one tf.train.Example, and the index.

    records/index.json                                   counts, sha256, source, filter, names
    records/<split>/class_07-00000-of-00001.tfrecord     every photo that holds class 7

The keys are those of the TensorFlow Model Garden, whose segmentation decoder can read
these files. A photo that holds two classes stands in two streams.

Label maps have 8 bits: class c is drawn as `label_value(c)`, which is c itself up to 254
classes. Beyond (FSS-1000) values repeat, and no photo may hold two classes of one value.
"""

import dataclasses
import hashlib
import json
import pathlib

import tensorflow as tf

from crnet_tf import folds

FORMAT_VERSION = 1
INDEX_NAME = "index.json"

IMAGE = "image/encoded"
IMAGE_FORMAT = "image/format"
HEIGHT = "image/height"
WIDTH = "image/width"
FILENAME = "image/filename"
LABEL = "image/segmentation/class/encoded"
LABEL_FORMAT = "image/segmentation/class/format"


def serialize(
    image: bytes, image_format: str, label: bytes, filename: str, height: int, width: int
) -> bytes:
    """One photo with its label map as a serialized Example; same input, same bytes.

    Args:
        image: encoded RGB (or grey) photo.
        image_format: "jpeg" or "png".
        label: single-channel PNG of class ids (`label_value`), 255 void, of the photo's size.
        filename: source id of the photo, without folder or extension.
        height, width: size of the photo in pixels.
    """
    example = tf.train.Example()
    feature = example.features.feature
    feature[IMAGE].bytes_list.value.append(image)
    feature[IMAGE_FORMAT].bytes_list.value.append(image_format.encode())
    feature[HEIGHT].int64_list.value.append(height)
    feature[WIDTH].int64_list.value.append(width)
    feature[FILENAME].bytes_list.value.append(filename.encode())
    feature[LABEL].bytes_list.value.append(label)
    feature[LABEL_FORMAT].bytes_list.value.append(b"png")
    return example.SerializeToString(deterministic=True)


def parse(serialized) -> dict:
    """Inverse of `serialize`, as TensorFlow ops (eager and inside tf.data).

    Returns:
        dict: `image` uint8 [H,W,3] RGB, `label` uint8 [H,W,1], `filename` string scalar.
    """
    features = tf.io.parse_single_example(
        serialized,
        {key: tf.io.FixedLenFeature([], tf.string) for key in (IMAGE, LABEL, FILENAME)},
    )
    return {
        # decode_jpeg reads PNG as well; the default DCT is fast and inexact.
        "image": tf.io.decode_jpeg(features[IMAGE], channels=3, dct_method="INTEGER_ACCURATE"),
        "label": tf.io.decode_png(features[LABEL], channels=1),
        "filename": features[FILENAME],
    }


def label_value(class_id):
    """What label maps say for a class id (int or tensor): 1..254, the id itself up to there."""
    return (class_id - 1) % (folds.VOID - 1) + 1


def filename(serialized: bytes) -> str:
    """Source id of a serialized record, without decoding its pictures."""
    example = tf.train.Example.FromString(serialized)
    return example.features.feature[FILENAME].bytes_list.value[0].decode()


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
    held_out: tuple[tuple[int, ...], ...] = ()
    validation: tuple[tuple[int, ...], ...] = ()

    @property
    def photo_list(self) -> str:
        """Which of PASCAL's lists of training photos: "pairs" (CANet, HSNet) or "pfenet"."""
        return "pfenet" if self.source.endswith("list pfenet") else "pairs"

    @property
    def num_folds(self) -> int:
        """How many folds there are, counted from 0."""
        return len(self.held_out) or folds.num_folds(self.dataset)

    def test_classes(self, fold: int) -> tuple[int, ...]:
        """Class ids that training of `fold` must never look at.

        Raises:
            ValueError: there is no such fold, or no folds at all.
        """
        if not self.held_out:
            return folds.test_classes(self.dataset, fold)
        if fold not in range(self.num_folds):
            raise ValueError(
                f"fold: expected one of 0..{self.num_folds - 1} (counted from 0), as "
                f"{self.directory / INDEX_NAME} says, received {fold!r}."
            )
        return self.held_out[fold]

    def train_classes(self, fold: int) -> tuple[int, ...]:
        """Class ids that `fold` trains on: those neither of its test nor of its validation."""
        if not self.held_out:
            return folds.train_classes(self.dataset, fold)
        others = self.test_classes(fold) + (self.validation[fold] if self.validation else ())
        return tuple(c for c in range(1, len(self.class_names) + 1) if c not in others)

    def validation_classes(self, fold: int) -> tuple[int, ...]:
        """Class ids that a checkpoint may be selected on (photos of the val split).

        Classes of their own where the data set has such (FSS-1000), else the training ones.
        """
        if not self.held_out:
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
                    "Build the records again (BUILD.md, Data)."
                )
        return [str(path) for path in paths]

    def _stream(self, split, class_id):
        if split not in self.splits:
            raise ValueError(
                f"split: expected one of {sorted(self.splits)} in {self.directory}, "
                f"received {split!r}."
            )
        return self.splits[split]["classes"].get(str(class_id), {"records": 0, "files": []})


def load_index(directory) -> Index:
    """Reads `index.json` of a records folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or of another format version.
    """
    directory = pathlib.Path(directory)
    path = directory / INDEX_NAME
    if not path.exists():
        raise FileNotFoundError(
            f"No {INDEX_NAME} in {str(directory)!r}: expected a folder of records. Build "
            "it first: python -m pipelines.build_voc --voc_dir=VOCdevkit/VOC2012 "
            f"--out={directory}"
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
                splits=content["splits"],
                sha256=hashlib.sha256(text).hexdigest(),
                source=content.get("source", ""),
                held_out=_class_lists(content, "folds"),
                validation=_class_lists(content, "validation_folds"),
            )
    except (UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}). Build the records again."
        ) from error
    raise ValueError(
        f"{path}: expected records of format {FORMAT_VERSION}, received format {version!r}. "
        "Build them again with this version's pipelines, or use the version that wrote them."
    )


def _class_lists(content, key):
    """[[class ids] a fold] of index.json as tuples; () where the key is not there."""
    lists = tuple(tuple(classes) for classes in content.get(key, []))
    ids = range(1, len(content["class_names"]) + 1)
    known = all(c in ids for classes in lists for c in classes)
    if not known or not all(lists) or len(lists) not in (0, len(content.get("folds", []))):
        raise ValueError(f"{key} {lists} of classes 1..{len(ids)}")
    return lists
