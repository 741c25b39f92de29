"""Where each record of a TFRecord file lies and which photo it holds, without reading pictures.

A file is a row of frames: the length of the data (8 bytes) with its checksum (4), the data, and
a checksum of those (4). The data are a tf.train.Example, in which every part stands behind its
length too; so what is not looked for is passed over.
"""

import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError

from crnet_tf.common.errors import InputError

_BEFORE, _AFTER = 12, 4  # bytes of a frame around the data
_LOOK = 64  # bytes from which on a part is read: its length, its key, and more
_TAG = 0x0A  # before a part of our Examples: field 1, of a length of its own
_VALUE = 0x12  # field 2: what stands under a key


class Place(NamedTuple):
    """A frame in a file, from its length on."""

    path: str
    start: int
    length: int  # of its data


def places(path: str, key: str) -> Iterator[tuple[str, Place]]:
    """(text that the record has under `key`, its place) of every record of a file, in order.

    Raises:
        InputError: the file is cut off, damaged, or holds other records. Checksums are looked
            at when a record is read.
    """
    yield from _each(path, lambda *data: _text(*data, key.encode()))


def stretches(path: str, key: str, of: str) -> Iterator[tuple[str, int, int]]:
    """(text under `key`, first byte of the bytes under `of`, their number) of every record of a
    file, in order. Raises as `places`; checksums are not looked at."""

    def both(*data):
        return _text(*data, key.encode()), _stretch(*data, of.encode())

    for (name, (start, end)), _ in _each(path, both):
        yield name, start, end - start


def _each(path, look):
    """(what `look` finds in the data of a record, its place) of every record."""
    with open(path, "rb", buffering=0) as file:  # a few bytes here and there
        size, start = os.path.getsize(path), 0
        while start < size:
            head = _read(file, start, _BEFORE)
            length = int.from_bytes(head[:8], "little")
            end = start + _BEFORE + length
            if len(head) < _BEFORE or end + _AFTER > size:
                raise damaged(path, f"{size:,} bytes that end within the record at {start:,}")
            try:
                found = look(file, start + _BEFORE, end)
            except (ValueError, IndexError, DecodeError) as error:
                raise damaged(path, f"none at {start:,} ({error})") from error
            yield found, Place(path, start, length)
            start = end + _AFTER


def damaged(source: object, received: str) -> InputError:
    """What is raised where records in `source`, a file or a folder, are not whole."""
    return InputError(
        f"{source}: expected whole records, received {received}. Copy them again, or build "
        "them again; crnet verify names every damaged file."
    )


def _text(file, at, end, key):
    """The text under a key of the Example in bytes at..end of a file."""
    at, _, end = _feature(file, at, end, key)
    feature = tf.train.Features.FromString(_read(file, at, end - at))
    return feature.feature[key.decode()].bytes_list.value[0].decode()


def _stretch(file, at, end, key):
    """First and last byte + 1 of the bytes under a key of the Example in bytes at..end."""
    _, at, end = _feature(file, at, end, key)
    head, start = _read(file, at, _LOOK), at
    for tag in (_VALUE, _TAG, _TAG):  # a feature, its list of bytes, the first of these
        at, value_end = _part(head[at - start :], at, tag)
    if value_end != end:
        raise ValueError(f"several values of {key.decode()}")
    return at, end


def _feature(file, at, end, key):
    """First byte, the one behind the key, and last byte + 1 of a key's part of an Example."""
    at, features_end = _part(_read(file, at, _LOOK), at)
    while at < min(features_end, end):
        head = _read(file, at, _LOOK)
        key_at, feature_end = _part(head, at)
        if feature_end > end:
            break
        text_at, text_end = _part(head[key_at - at :], key_at)
        if head[text_at - at : text_end - at] == key:
            return at, text_end, feature_end
        at = feature_end
    raise ValueError(f"no {key.decode()}")


def _part(head, at, tag=_TAG):
    """First and last byte + 1 of the part of a message that begins with `head` at byte `at`."""
    if head[0] != tag:
        raise ValueError("no tf.train.Example")
    length = shift = 0
    for number, byte in enumerate(head[1:11], 2):  # 7 bits a byte, lowest first
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return at + number, at + number + length
    raise ValueError("no length")


def _read(file: BinaryIO, at, count):
    file.seek(at)
    return file.read(count)
