"""Every record of a data set opened; `pipelines.verify` says what counts as a fault."""

import concurrent.futures
import hashlib
import itertools
import os
import time
from collections.abc import Iterator

import tensorflow as tf

from crnet_tf.common.disk import sha256_of
from crnet_tf.common.errors import InputError
from crnet_tf.common.progress import with_progress
from crnet_tf.data import records
from crnet_tf.images import photos
from crnet_tf.images.mask_values import label_value
from pipelines.checking.findings import Report
from pipelines.checking.inspect_record import Fingerprint, inspect, read_example
from pipelines.checking.leakage import check_classes, check_splits
from pipelines.checking.perceptual_hash import DISTANCE

_BATCH = 64  # records in memory at once


def verify(directory: photos.PathLike, distance: int = DISTANCE) -> Report:
    """Reads all records of a folder, a few at a time; every photo is decoded once.

    Args:
        directory: folder of records.
        distance: bits (of 64) up to which photos of two splits look alike; -1: not compared.

    Raises:
        FileNotFoundError, ValueError: there is no index, or a damaged one.
    """
    start = time.monotonic()
    index = records.load_index(directory)
    report = Report(str(directory), index.dataset, index.sha256)
    listed = {split: _listed(index, split) for split in index.splits}
    splits = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for split, entries in listed.items():
            reader = _SplitReader(index, split, report, pool)
            splits[split] = reader.read(entries)
    _check_unlisted(index, listed, report)
    check_splits(splits, distance, report)
    check_classes(index, splits.get("train", {}), report)
    report.seconds = round(time.monotonic() - start, 1)
    return report


def _listed(index, split):
    """[(class id, file of index.json)] in order of the classes, checked."""
    try:
        streams = {int(c): s["files"] for c, s in index.splits[split]["classes"].items()}
        entries = [(c, file) for c, listed in sorted(streams.items()) for file in listed]
        for _, file in entries:
            _ = f"{file['name']:s}{file['sha256']:s}{file['records']:d}"  # raises for others
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{index.directory / records.INDEX_NAME} is damaged in split {split!r} "
            f"({type(error).__name__}: {error}). Build the records again."
        ) from error
    return entries


class _SplitReader:
    """Reads the streams of one split; remembers of each photo what later checks need."""

    def __init__(self, index, split, report, pool):
        self._index, self._split = index, split
        self._report, self._pool = report, pool
        self._digests = {}  # id -> digest of its record
        self._photos: dict[str, Fingerprint] = {}  # of records that can be decoded

    def read(self, entries) -> dict[str, Fingerprint]:
        """Reports on every file of `entries`; returns the photos by id."""
        counts, ids = {}, {}
        for class_id, file in with_progress(entries, f"verify {self._split}"):
            name = f"{self._split}/{file['name']}"
            seen = ids.setdefault(class_id, set())
            count = self._read_file(name, class_id, file, seen)
            counts[class_id] = counts.get(class_id, 0) + count
        content = self._index.splits[self._split]
        for class_id, count in counts.items():
            stated = content["classes"][str(class_id)].get("records")
            self._expect("count", f"{self._split}, class {class_id}", stated, count, "records")
        most = content.get("photos", 0)
        if len(self._digests) > most:
            message = f"expected at most {most:,} photos, received {len(self._digests):,}"
            self._fault("count", self._split, "", message)
        self._report.splits[self._split] = {
            "classes": len(counts),
            "records": sum(counts.values()),
            "photos": len(self._digests),
        }
        return self._photos

    def _read_file(self, name, class_id, file, ids):
        path = self._index.directory / name
        if not path.is_file():
            self._fault("file", name, "", "expected the file index.json lists, received none")
            return 0
        self._expect("sha256", name, file["sha256"], sha256_of(path), "as sha256")
        count = 0
        for batch in _batches(self._stored(path, name)):
            self._read_batch(batch, count, name, class_id, ids)
            count += len(batch)
        self._expect("count", name, file["records"], count, "records")
        return count

    def _stored(self, path, name) -> Iterator[bytes]:
        """The records of a file up to the first that is damaged."""
        number = 0
        try:
            for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                yield serialized
                number += 1
        except tf.errors.DataLossError as error:
            damage = "truncated" if "truncated" in error.message else "damaged"
            message = (
                f"{damage} here ({path.stat().st_size:,} bytes); what follows was not read"
            )
            self._fault(damage, name, f"record {number}", message)

    def _read_batch(self, batch, first, name, class_id, ids):
        """Decodes what is new in a batch, side by side, and checks all of it."""
        named, new = [], []
        for number, serialized in enumerate(batch, first):
            example = read_example(serialized)
            if example is None:
                self._fault("record", name, f"record {number}", "no Example with all keys")
                continue
            photo_id = example[records.FILENAME].decode(errors="replace")
            named.append(photo_id)
            if photo_id in ids:
                self._fault("twice", name, photo_id, "stands in this stream twice")
            ids.add(photo_id)
            digest = hashlib.sha256(serialized).digest()
            if photo_id not in self._digests:
                new.append((photo_id, serialized, example))
                self._digests[photo_id] = digest
            elif digest != self._digests[photo_id]:
                self._fault("differs", name, photo_id, "another record than in another stream")
        found = self._pool.map(
            lambda item: inspect(*item[1:], len(self._index.class_names)), new
        )
        for (photo_id, _, _), (photo, problems) in zip(new, found, strict=True):
            for problem in problems:
                self._fault("record", name, photo_id, problem)
            if photo:
                self._photos[photo_id] = photo
        self._check_class(named, class_id, name)

    def _check_class(self, ids, class_id, name):
        value = label_value(class_id)
        for photo_id in ids:
            photo = self._photos.get(photo_id)
            if photo and value not in photo.values:
                shown = sorted(photo.values)
                message = f"expected class {class_id} in its label map, received {shown}"
                self._fault("class", name, photo_id, message)

    def _expect(self, kind, name, expected, received, what):
        if expected != received:
            self._fault(kind, name, "", f"expected {expected} {what}, received {received}")

    def _fault(self, *finding):
        self._report.fault(*finding)


def _batches(items):
    items = iter(items)
    while batch := list(itertools.islice(items, _BATCH)):
        yield batch


def _check_unlisted(index, listed, report):
    names = {
        f"{split}/{file['name']}" for split, files_ in listed.items() for _, file in files_
    }
    for path in sorted(index.directory.rglob("*.tfrecord*")):
        name = path.relative_to(index.directory).as_posix()
        if name not in names:
            report.warn("unlisted", name, "", "is not in index.json: never read")
