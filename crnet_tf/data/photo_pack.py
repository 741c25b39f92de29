"""Photos and label maps of a data set in a few files that are read without TensorFlow.

    pack/index.json       of the records, byte for byte
    pack/photos.json      id, split and listed classes of every photo; sha256 of the parts
    pack/part-00000.npz   photos and label maps as they are in the records, encoded

Every photo is there once. Written by `pipelines.pack_photos`; a part can be kept small enough
to be carried to another machine.
"""

import dataclasses
import hashlib
import io
import itertools
import json
import pathlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.data.index import INDEX_NAME, Index, load_index
from crnet_tf.images.mask_values import label_value

LIST_NAME, PARTS = "photos.json", "part-*.npz"


@dataclasses.dataclass(frozen=True)
class PackedPhoto:
    """One photo: its encoded bytes, and the classes under which it is listed."""

    name: str
    split: str
    classes: tuple[int, ...]
    image: bytes  # JPEG or PNG
    label: bytes  # PNG of class ids, 255 void


@dataclasses.dataclass(frozen=True)
class Pack:
    """A folder of photos, whole and in memory. Made by `read`."""

    index: Index
    photos: tuple[PackedPhoto, ...]

    def by_class(self, split: str, classes, unseen=()) -> dict[int, list[int]]:
        """{class id: numbers of its photos}, without those that show a class of `unseen`.

        Raises:
            ValueError: fewer than two photos of a class are left.
        """
        values = [label_value(c) for c in unseen]
        rows = {c: [] for c in classes}
        for number, photo in enumerate(self.photos):
            wanted = rows.keys() & set(photo.classes) if photo.split == split else ()
            if wanted and not (values and np.isin(decode_label(photo.label), values).any()):
                for class_id in wanted:
                    rows[class_id].append(number)
        for class_id, found in rows.items():
            if len(found) < 2:
                raise InputError(
                    f"Expected at least 2 photos of {self.index.class_names[class_id - 1]} "
                    f"({class_id}) in the {split} split, received {len(found)}. Pack "
                    "more photos, or leave --drop_novel_images off."
                )
        return rows


def write(
    directory, index: Index, photos: Iterable[PackedPhoto], part_mb: float
) -> list[pathlib.Path]:
    """Writes a pack into an empty folder; returns its files.

    Args:
        photos: taken one by one; those of one part are in memory at a time.
        part_mb: size of a part, 1e6 bytes; one photo at least.
    """
    directory = pathlib.Path(directory)
    listed, hashes, part, part_bytes = [], {}, [], 0
    for photo in itertools.chain(photos, [None]):
        if part and (photo is None or part_bytes >= part_mb * 1e6):
            name = f"part-{len(hashes):05d}.npz"
            content = _part_bytes(part)
            files.write_bytes(directory / name, content)
            hashes[name] = hashlib.sha256(content).hexdigest()
            part, part_bytes = [], 0
        if photo is not None:
            part.append(photo)
            part_bytes += len(photo.image) + len(photo.label)
            listed.append({"id": photo.name, "split": photo.split, "classes": photo.classes})
    files.write_bytes(directory / INDEX_NAME, (index.directory / INDEX_NAME).read_bytes())
    files.write_text(directory / LIST_NAME, json.dumps({"photos": listed, "files": hashes}))
    return [directory / name for name in (INDEX_NAME, LIST_NAME, *hashes)]


def _part_bytes(photos):
    arrays = {}
    for kind in ("image", "label"):
        contents = [getattr(photo, kind) for photo in photos]
        arrays[kind] = np.frombuffer(b"".join(contents), np.uint8)
        arrays[f"{kind}_end"] = np.cumsum([len(content) for content in contents])
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def read(directory) -> Pack:
    """Reads a pack, every part against its hash.

    Raises:
        FileNotFoundError: something is missing. ValueError: a part is damaged.
    """
    directory = pathlib.Path(directory)
    path = directory / LIST_NAME
    if not path.exists():
        raise FileNotFoundError(
            f"No {LIST_NAME} in {str(directory)!r}: expected a pack of photos. Make it where "
            f"TensorFlow is: python -m pipelines.pack_photos --records=... --out={directory}"
        )
    content = files.read_json(path)
    encoded = []
    for name, sha256 in content["files"].items():
        encoded += _read_part(directory / name, sha256)
    photos = tuple(
        PackedPhoto(listed["id"], listed["split"], tuple(listed["classes"]), image, label)
        for listed, (image, label) in zip(content["photos"], encoded, strict=True)
    )
    return Pack(load_index(directory), photos)


def _read_part(path, sha256):
    """[(image, label)] of the photos of a part."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: copy all parts of the pack.")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(f"{path} is not the file that was written: copy it again.")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        kinds = [_cut(arrays[kind], arrays[f"{kind}_end"]) for kind in ("image", "label")]
    return list(zip(*kinds, strict=True))


def _cut(joined, ends):
    return [
        joined[start:end].tobytes() for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]


def decode_image(encoded: bytes) -> np.ndarray:
    """Photo uint8 [H,W,3] RGB."""
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def decode_label(encoded: bytes) -> np.ndarray:
    """Label map uint8 [H,W] of class ids, 255 void."""
    return np.asarray(Image.open(io.BytesIO(encoded)))


def canvases(photos) -> dict:
    """Photos as arrays of one size, each in the upper left corner, zeros beyond.

    Returns:
        dict: `image` uint8 [N,P,P,3], `label` uint8 [N,P,P], `size` int32 [N,2] (H, W); P is
        the longest side.
    """
    sizes = np.array([Image.open(io.BytesIO(p.label)).size[::-1] for p in photos], np.int32)
    side = int(sizes.max())
    images = np.zeros((len(photos), side, side, 3), np.uint8)
    labels = np.zeros((len(photos), side, side), np.uint8)
    for number, (photo, (height, width)) in enumerate(zip(photos, sizes, strict=True)):
        images[number, :height, :width] = decode_image(photo.image)
        labels[number, :height, :width] = decode_label(photo.label)
    return {"image": images, "label": labels, "size": sizes}
