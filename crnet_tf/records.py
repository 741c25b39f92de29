"""The on-disk contract: one (photo, label map) <-> one tf.train.Example, and the index.

    records/index.json                                   counts, sha256, source, filter, names
    records/<split>/class_07-00000-of-00001.tfrecord     every photo that holds class 7

The keys are those of the TensorFlow Model Garden, whose segmentation decoder can read
these files. A photo that holds two classes stands in two streams.
"""

import dataclasses
import hashlib
import json
import pathlib

import tensorflow as tf

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
        label: single-channel PNG of class ids, 255 void, of the photo's size.
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
            )
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}). Build the records again."
        ) from error
    raise ValueError(
        f"{path}: expected records of format {FORMAT_VERSION}, received format {version!r}. "
        "Build them again with this version's pipelines, or use the version that wrote them."
    )
