"""Files of photos and label maps: opened, decoded to their end, refused unless whole."""

import base64
import contextlib
import functools
import io
import json
import os
import pathlib
import re
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from PIL import Image, UnidentifiedImageError

from crnet_tf.common.errors import InputError
from crnet_tf.common.notices import say_once


class Embedded(NamedTuple):
    """A photo inside a JSON file, as base64 text under a key; it may stand for a path."""

    file: pathlib.Path
    key: str

    def __str__(self):
        return f"{self.file} ({self.key})"

    def content(self) -> bytes:
        """The photo's file. ValueError where the text is no base64."""
        return base64.b64decode(json.loads(self.file.read_bytes())[self.key], validate=True)


class Part(NamedTuple):
    """A photo that is a stretch of another file, as in a tar; it may stand for a path.

    Attributes:
        start, length: of its own file, bytes.
    """

    file: str
    name: str
    start: int
    length: int

    def __str__(self):
        return f"{self.file}:{self.name}"

    def content(self) -> bytes:
        """The photo's file."""
        with open(self.file, "rb", buffering=0) as file:
            file.seek(self.start)
            return file.read(self.length)


PathLike = str | os.PathLike | Embedded | Part
JPEGS = ("JPEG", "MPO")  # an MPO is a JPEG with further ones behind it, as phones write
# All that Pillow's decoders were seen to raise on damaged files.
DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error,
)  # fmt: skip
FILM_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".ogv", ".ts", ".webm", ".wmv",
)  # fmt: skip
_HEIF, _AVIF = (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1"), (b"avif", b"avis")
_EXTRA_SAMPLES, _ALPHA = 338, ((1,), (2,))
_COPY = (
    "The file is damaged, truncated or of another kind: copy or export it again, or leave it "
    "out."
)
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
    if not isinstance(path, Embedded | Part) and not os.path.isfile(path):
        raise FileNotFoundError(
            f"{path}: expected {expected}, received {_not_a_file(path)}. Check the path."
        )
    try:
        with _binary(path) as file, Image.open(file) as image:
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
            f"{path}: expected {expected}, received {_described(path)} that cannot "
            f"be decoded ({reason}). {_remedy(path) if unknown else _COPY}"
        ) from error


def _binary(path):
    """The open file, and a decoder for what it holds where Pillow itself has none."""
    if isinstance(path, Embedded | Part):
        return io.BytesIO(path.content())
    # Threads wait for each other at every read: most files take a single one.
    file = open(path, "rb", buffering=_BUFFER)  # noqa: SIM115
    if _brand(file.peek(12)) in _HEIF:
        _add_heif()
    return file


def _brand(start):
    """Of a file of the family of MP4, as its first bytes say: HEIC, AVIF; else nothing."""
    return start[8:12] if start[4:8] == b"ftyp" else b""


@functools.cache
def _add_heif():
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _described(path):
    if isinstance(path, Embedded):
        return "text"
    return f"{path.length if isinstance(path, Part) else os.path.getsize(path)} bytes"


def _remedy(path):
    """What to do with a file that no decoder took, by its first bytes: phones call HEIC files
    JPEG, too."""
    if str(path).lower().endswith(FILM_SUFFIXES):
        return f"It is a film: crnet predict --query={path} searches one, alone."
    with contextlib.suppress(*DECODE_ERRORS), _binary(path) as file:
        brand = _brand(file.read(12))
        if brand in _HEIF:
            return (
                "It is HEIC: install pillow-heif (pip install pillow-heif), or save it as JPEG."
            )
        if brand in _AVIF:
            return "It is AVIF: install Pillow 11.3 or newer, or save it as JPEG."
    return _COPY


def note_frames(image: Image.Image, path: PathLike) -> None:
    """Says that of a file of several pages or frames the first is used; its file is open."""
    # Behind the photo of an MPO lie smaller ones and maps, of the same.
    if getattr(image, "is_animated", False) and image.format not in JPEGS:
        kind = "pages" if image.format == "TIFF" else "frames"
        say_once(kind, f"{path}: of {image.n_frames} {kind} the first is used.")


def without_false_alpha(image: Image.Image, path: PathLike) -> Image.Image:
    """A TIFF's fourth band is taken off unless the file says that it is alpha: Pillow thinks so
    of any, also of near infrared."""
    bands = {"RGBA": "RGB", "LA": "L"}.get(image.mode)
    if image.format != "TIFF" or bands is None or image.tag_v2.get(_EXTRA_SAMPLES) in _ALPHA:
        return image
    say_once(
        "band",
        f"{path}: the last of {len(image.mode)} bands is not said to be alpha; left out.",
    )
    return Image.merge(bands, image.split()[: len(bands)])


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
