"""What `--photos` names -> photos, one after the other and in the same order each time.

    photos/            a folder, without those in it
    'photos/**/*.jpg'  all files of a pattern, by name
    list.txt           a path a line
    photos.tar         the photos in it (webdataset)
    x.tfrecord         those of TensorFlow's Examples, under image/encoded

A photo in a tar or a TFRecord file is known by where it lies there, and read from there.
"""

import glob
import os
import pathlib
import tarfile
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from crnet_tf.annotations.listing import PHOTO_SUFFIXES
from crnet_tf.common.errors import InputError
from crnet_tf.images.opening import Part
from crnet_tf.images.photo_folder import query_paths


class Photo(NamedTuple):
    """A photo: what it is called in the answers, and where any process finds it."""

    name: str
    place: str | Part


def photos_of(patterns: Iterable[str]) -> Iterator[Photo]:
    """The photos of several spellings, see above; none of them is opened.

    Raises:
        FileNotFoundError: there is nothing of that name. InputError: a file of photos is
            damaged, or packed.
    """
    for pattern in patterns:
        if os.path.isdir(pattern):
            yield from map(_file, map(str, query_paths(pattern)))
            continue
        for path in _files(pattern):
            inside = _INSIDE.get(pathlib.Path(path).suffix.lower())
            yield from inside(path) if inside else [_file(path)]


def _files(pattern):
    if os.path.isfile(pattern):
        return [pattern]
    found = sorted(path for path in glob.iglob(pattern, recursive=True) if os.path.isfile(path))
    if not found:
        raise FileNotFoundError(
            f"--photos: expected a folder, a file or a pattern such as 'photos/**/*.jpg', "
            f"received {pattern!r}, which names no file. Check the path."
        )
    return found


def _file(path):
    return Photo(path, os.path.abspath(path))


def _of_list(path):
    with open(path, encoding="utf-8", errors="surrogateescape") as lines:
        yield from (_file(line.rstrip("\r\n")) for line in lines if line.strip())


def _of_tar(path):
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                archive.members = []  # or it keeps every member
                if member.isreg() and member.name.lower().endswith(PHOTO_SUFFIXES):
                    part = Part(
                        os.path.abspath(path), member.name, member.offset_data, member.size
                    )
                    yield Photo(f"{path}:{member.name}", part)
    except tarfile.TarError as error:
        raise InputError(
            f"{path}: expected a tar that is not packed, received another file or a damaged "
            f"one ({error}). Unpack it (gunzip), or copy it again."
        ) from error


def _of_records(path):
    from crnet_tf.data import records  # TensorFlow

    stretches = records.stretches(path, records.FILENAME, records.IMAGE)
    for name, start, length in stretches:
        yield Photo(f"{path}:{name}", Part(os.path.abspath(path), name, start, length))


_INSIDE = {".txt": _of_list, ".tar": _of_tar, ".tfrecord": _of_records}
