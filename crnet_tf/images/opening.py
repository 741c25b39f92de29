"""Files of photos and label maps: opened, decoded to their end, refused unless whole."""

import contextlib
import os
import re
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from crnet_tf.common.errors import InputError

PathLike = str | os.PathLike
JPEGS = ("JPEG", "MPO")  # an MPO is a JPEG with further ones behind it, as phones write
# All that Pillow's decoders were seen to raise on damaged files.
DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error,
)  # fmt: skip
_BUFFER = 1 << 18  # bytes of a file that are read at once
_JPEG_END = 0xD9
# Beginnings of what is no part of the pixels: those have 00 or a restart mark behind an FF.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")


@contextlib.contextmanager
def opened(path: PathLike, expected: str) -> Iterator[tuple[BinaryIO, Image.Image]]:
    """A file and its Pillow image, of which the header is read.

    Args:
        expected: what the file should be, for errors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: what is done in the block finds the file damaged, or it is too large.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{path}: expected {expected}, received {_not_a_file(path)}. Check the path."
        )
    try:
        # Threads wait for each other at every read: most files take a single one.
        with open(path, "rb", buffering=_BUFFER) as file, Image.open(file) as image:
            yield file, image
    except PermissionError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path}: expected {expected} of no more than {2 * Image.MAX_IMAGE_PIXELS:,} "
            "pixels, received a larger one. Shrink it, or cut it into pieces."
        ) from error
    except DECODE_ERRORS as error:
        unknown = isinstance(error, UnidentifiedImageError)  # whose text is the file's name
        reason = "no format that Pillow knows" if unknown else error
        raise InputError(
            f"{path}: expected {expected}, received {os.path.getsize(path)} bytes that cannot "
            f"be decoded ({reason}). The file is damaged, truncated or of another kind: copy "
            "or export it again, or leave it out."
        ) from error


def _not_a_file(path):
    if os.path.isdir(path):
        return "a folder"
    if os.path.lexists(path):
        return "a pipe, a device or a link that leads nowhere"
    return "nothing: there is no such file"


def load(file: BinaryIO, image: Image.Image) -> bytes | None:
    """Decodes the image of a file that was `opened`.

    Pillow takes what it can of a file; what it lets pass is looked for here.

    Returns:
        The content of a JPEG, None of any other file.

    Raises:
        One of `DECODE_ERRORS`: the file is not whole.
    """
    image.load()
    file.seek(0)
    if image.format in JPEGS:
        content = file.read()
        if not _ends(content):
            raise ValueError("no end of the image: its last part is missing or empty")
        return content
    if image.format == "PNG":
        with Image.open(file) as again:
            again.verify()  # checksums
    return None


def _ends(jpeg):
    """Whether the end marker follows a JPEG's pixels: the decoder makes up what is missing, and
    takes the zeros that an interrupted copy leaves for pixels."""
    position = 0
    while marker := _JPEG_MARKER.search(jpeg, position):
        position = marker.end()
        if jpeg[position - 1] == _JPEG_END:
            return True
        position += int.from_bytes(jpeg[position : position + 2], "big")
    return False
