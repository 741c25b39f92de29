"""What the page asks besides predictions: strokes made masks, and masks made files.

POST /grow    {"photo": FILE, "strokes": FILE}: a PNG file, 255 on the object that the strokes
              (1 on it, 0 beside it, 255 unknown) stand for; with "mask": FILE (1 on the object)
              the mask, corrected where the strokes say so
POST /export  {"photos": [{"name": "a.jpg", "labels": FILE}, ...], "class_names": [...],
              "formats": [...], "shapes": ..., "instances": ...}: a ZIP file of what `predict`
              writes in these formats; labels are PNG files of 0, 1 .. N and 255 (void)

FILE is {"b64": "..."}. The photos themselves stay where they are: in the archive an empty file
stands wherever a photo of its name belongs.
"""

import io
import pathlib
import tempfile
import zipfile

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from crnet_tf.annotations import writing
from crnet_tf.annotations.answers import PhotoAnswer
from crnet_tf.common.errors import InputError
from crnet_tf.images import growing, label_files, photos, png_files
from crnet_tf.images.mask_values import VOID
from crnet_tf.images.output_files import output_names
from export.server import tensors
from export.server.work import Work

FORMATS = [name for name in writing.FORMATS if name != "png"]  # that has pixels of the photos
MOST_NAMES, LONGEST_NAME, MOST_PIXELS = 5000, 200, 2**26


class Labelling:
    """Answers the requests."""

    def __init__(self, work: Work):
        self.work = work

    async def grow(self, request: Request) -> Response:
        """Answers /grow."""
        return Response(await self.work.answer(request, grown), media_type="image/png")

    async def export(self, request: Request) -> Response:
        """Answers /export."""
        content = await self.work.answer(request, exported)
        return Response(content, media_type="application/zip")


def grown(asked: dict) -> bytes:
    """The PNG file for a request to /grow. Raises InputError, BlockedError."""
    _check_keys(asked, {"photo", "strokes"} | ({"mask"} & set(asked)))
    with _Files() as files:
        image = photos.read_photo(files.put("photo", asked["photo"]))
        drawn = [
            label_files.read_label(files.put(f"{name}.png", asked[name]))
            for name in ("strokes", "mask")
            if name in asked
        ]
    return png_files.encode_label(255 * growing.grown(image, *drawn))


def exported(asked: dict) -> bytes:
    """The ZIP file for a request to /export. Raises InputError."""
    _check_keys(asked, {"photos", "class_names", "formats", "shapes", "instances"})
    class_names, given = _names(asked["class_names"], "class_names"), asked["photos"]
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise InputError(
            f"photos: expected a list of objects, received {tensors.shown(given)}."
        )
    for one in given:
        _check_keys(one, {"name", "labels"})
    names = _names([one["name"] for one in given], "photos")
    options = {name: asked[name] for name in ("formats", "shapes", "instances")}
    _check_options(options)
    with _Files() as files, tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "labels"
        paths = [out / "photos" / name for name in names]
        with writing.results(out, **options) as results:
            paths[0].parent.mkdir()
            for path, short, one in zip(paths, output_names(paths), given, strict=True):
                path.touch()
                labels = label_files.read_label(files.put(path.name, one["labels"]))
                results.add(_answer(path, short, labels, class_names))
        return _archive(out)


def _answer(path, name, labels, class_names):
    beyond = np.setdiff1d(labels, [*range(len(class_names) + 1), VOID])
    if beyond.size:
        raise InputError(
            f"{path.name}: expected labels from 0 to {len(class_names)}, the number of "
            f"classes, and {VOID}, received {beyond[:5].tolist()}."
        )
    sure = np.broadcast_to(np.float32(1), (len(class_names), *labels.shape))
    unseen = np.broadcast_to(np.uint8(0), (*labels.shape, 3))
    there = [float((labels == value).any()) for value in range(1, len(class_names) + 1)]
    return PhotoAnswer(path, name, unseen, labels, sure, there, class_names)


def _archive(folder):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


class _Files:
    """Files of a request, for readers that take paths; errors name them as the request does."""

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        self._root = pathlib.Path(self._folder.name)
        return self

    def put(self, name, value):
        path = self._root / name
        path.write_bytes(tensors.content(name, value))
        height, width = photos.header_size(path)
        if height * width > MOST_PIXELS:
            raise InputError(
                f"{name}: expected at most {MOST_PIXELS} pixels, received {height * width}."
            )
        return path

    def __exit__(self, kind, error, trace):
        self._folder.cleanup()
        if isinstance(error, InputError):
            raise InputError(str(error).replace(f"{self._root}/", "")) from None


# === Checks ===


def _check_keys(value, expected):
    if set(value) != expected:
        raise InputError(
            f"Expected an object of {sorted(expected)}, received one of "
            f"{tensors.shown(sorted(value))}."
        )


def _names(names, key):
    """The names, if each is one that a file can have, and is there once."""
    is_list = isinstance(names, list) and 0 < len(names) <= MOST_NAMES
    if not is_list or not all(map(_is_name, names)):
        raise InputError(
            f"{key}: expected from 1 to {MOST_NAMES} names that files can have, received "
            f"{tensors.shown(names)}."
        )
    if len({name.casefold() for name in names}) < len(names):
        raise InputError(f"{key}: expected different names, received one twice.")
    return names


def _is_name(name):
    return (
        isinstance(name, str)
        and 0 < len(name.encode(errors="replace")) <= LONGEST_NAME
        and not name.startswith(".")
        and not any(sign in "/\\" or not sign.isprintable() for sign in name)
    )


def _check_options(options):
    formats, instances = options["formats"], options["instances"]
    known = isinstance(formats, list) and all(name in FORMATS for name in formats)
    if not known or not isinstance(instances, bool):
        raise InputError(
            f"Expected formats of {FORMATS}, and true or false for instances, received "
            f"{tensors.shown(formats)} and {tensors.shown(instances)}."
        )
    writing.check(**options)
