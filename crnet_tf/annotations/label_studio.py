"""Label Studio: a JSON file of tasks, each a photo with the regions that were drawn into it.

Brush strokes and polygons are read, smaller regions in front of larger ones; other kinds are
left out and counted. Where a task was annotated, its predictions count nowhere. Needs
pycocotools to read, not to write.
"""

import json
import pathlib
import urllib.parse
from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

import numpy as np

from crnet_tf.annotations import brush, coco, finding
from crnet_tf.annotations.answers import Instance, PhotoAnswer, names_below_one_folder
from crnet_tf.annotations.coco_masks import pycocotools_mask, run_lengths
from crnet_tf.annotations.listing import (
    MALFORMED,
    Listing,
    PhotoFile,
    check_file,
    photo_name,
    read_json,
)
from crnet_tf.annotations.tally import Tally
from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import some_files
from crnet_tf.images.label_files import check_size
from crnet_tf.images.mask_values import label_value

KINDS = {"polygons": "polygonlabels", "masks": "brushlabels"}
_LOCAL = "/data/local-files/"  # where Label Studio serves the photos of a folder


def list_photos(annotations: pathlib.Path, images: pathlib.Path) -> Listing:
    """Photos of a file of tasks that have a region; classes are the regions' labels, sorted.

    Raises:
        FileNotFoundError: there is no such file or folder.
        InputError: it is no such file. BlockedError: pycocotools is missing.
    """
    pycocotools_mask()  # before the long work
    check_file(annotations, "a JSON file of Label Studio")
    known, drawn, problems, tally = finding.known_files(images), {}, [], Tally()
    for named, result in _tasks(annotations):
        try:
            path = _photo(images, named, known)
            name = photo_name(path, images)
            if name in drawn:
                raise InputError(f"{path}: expected one task a photo, received two. Join them.")
            drawn[name] = annotated(path, result, tally)
        except (OSError, InputError) as error:
            problems.append(str(error))
    drawn = {name: photo for name, photo in drawn.items() if photo}
    return _listing(drawn, problems, tally)


def read_label(photo: PhotoFile) -> np.ndarray:
    """Label map uint8 [H,W] of a photo, drawn from its regions."""
    drawn, values = photo.label
    check_size(drawn.file, (drawn.height, drawn.width))
    return coco.draw_label(drawn, values)


def _listing(drawn, problems, tally):
    held = {one.category_id for photo in drawn.values() for one in photo.annotations}
    ids = {name: i for i, name in enumerate(sorted(held), 1)}
    values = {name: label_value(i) for name, i in ids.items()}
    photos = []
    for name, photo in drawn.items():
        classes = sorted({ids[one.category_id] for one in photo.annotations})
        photos.append(PhotoFile(name, photo.file, (photo, values), tuple(classes)))
    return Listing(tuple(ids), photos, problems, tally.notes())


def _tasks(path):
    """(name of the photo, regions) of each task."""
    try:
        return [_task(task) for task in read_json(path)]
    except MALFORMED as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: expected tasks of Label Studio (data.image, annotations or predictions), "
            f"received another JSON ({type(error).__name__}: {error}). Export it as JSON."
        ) from error


def _task(task):
    address = urllib.parse.urlsplit(task["data"]["image"])
    local = urllib.parse.parse_qs(address.query).get("d")
    named = local[0] if local else urllib.parse.unquote(address.path).lstrip("/")
    drawn = [one for one in task.get("annotations", ()) if not one.get("was_cancelled")]
    given = drawn or task.get("predictions", ())
    return named, list(given[0]["result"]) if given else []


def _photo(images, named, known):
    """The file of a photo; the first of the folders in its name may be `images` itself."""
    for name in (named, named.partition("/")[2]):
        path, _ = finding.find(images, name, known)
        if path:
            return path
    raise FileNotFoundError(
        f"{images / named}: expected a photo that a task names, found none, nor one other file "
        f"of this name.{some_files(images)}"
    )


def annotated(
    path: pathlib.Path,
    result: list[dict],
    tally: Tally,
    stored: tuple[int, int] | None = None,
) -> coco.AnnotatedPhoto | None:
    """The photo with its regions as COCO has them; None without any.

    Args:
        stored: as of `check_size`.

    Raises:
        InputError: they are no regions of Label Studio.
    """
    found, size = [], None
    for region in result:
        try:
            kind, value = region["type"], region["value"]
            if kind not in KINDS.values():
                tally.add(f"regions of type {kind}; left out", str(path))
                continue
            size = region["original_height"], region["original_width"]
            if "rle" in value:
                check_size(path, size, stored)  # before so many pixels are unpacked
            shape = _shape(value, *size)
            for label in _labels(value[kind]):
                found.append(coco.Annotation(region.get("id"), label, shape, False))
        except MALFORMED as error:
            raise InputError(
                f"{path}: expected regions of Label Studio, received another "
                f"({type(error).__name__}: {error}). Draw it again, or leave it out."
            ) from error
    if not found:
        tally.add("photos without a region; left out", str(path))
        return None
    return coco.AnnotatedPhoto(path, *size, tuple(found))


def _labels(given):
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise TypeError(f"labels {given!r}")
    return given


def _shape(value, height, width):
    if "rle" in value:
        return run_lengths(brush.decoded(value["rle"], height, width))
    return [(np.array(value["points"], float) * [width / 100, height / 100]).ravel()]


# === Written ===


class Writer:
    """Writes `labelstudio.json`, tasks with predictions, and `labelstudio.xml`, the labelling
    interface they are for.

    Photos are named as Label Studio serves those of a folder: `LOCAL_FILES_DOCUMENT_ROOT` is
    the folder in which the photos' folder lies. Browsers show them upright, as EXIF turns them.
    """

    def __init__(self, out: pathlib.Path, shapes: str):
        self.out, self.kind = out, KINDS[shapes]
        self.photos, self.predictions, self.class_names = [], [], ()

    def add(self, answer: PhotoAnswer) -> None:
        """Keeps the regions of a photo."""
        self.class_names = answer.class_names
        self.photos.append(answer.path)
        self.predictions.append(
            {
                "model_version": "CRNet-TF",
                "score": round(float(max(answer.presences)), 4),
                "result": regions(answer.objects, self.kind),
            }
        )

    def finish(self) -> None:
        """Writes the two files."""
        root, names = names_below_one_folder(self.photos)
        tasks = [
            {
                "data": {"image": f"{_LOCAL}?d={urllib.parse.quote(f'{root.name}/{name}')}"},
                "predictions": [one],
            }
            for name, one in zip(names, self.predictions, strict=True)
        ]
        files.write_text(self.out / "labelstudio.json", json.dumps(tasks, ensure_ascii=False))
        tag = {"polygonlabels": "PolygonLabels", "brushlabels": "BrushLabels"}[self.kind]
        labels = "".join(f"\n    <Label value={quoteattr(n)}/>" for n in self.class_names)
        text = (
            '<View>\n  <Image name="image" value="$image"/>\n'
            f'  <{tag} name="label" toName="image">{labels}\n  </{tag}>\n</View>\n'
        )
        files.write_text(self.out / "labelstudio.xml", text)


def regions(
    objects: Sequence[Instance], kind: str, from_name: str = "label", to_name: str = "image"
) -> list[dict]:
    """What a prediction's `result` holds.

    Args:
        kind: of `KINDS`' values.
        from_name, to_name: of the labelling interface's labels and image.
    """
    names = {"from_name": from_name, "to_name": to_name, "type": kind}
    found = [_region(one, shape, kind) for one in objects for shape in _shapes(one, kind)]
    return [{"id": str(i), **names, **region} for i, region in enumerate(found, 1)]


def _shapes(one, kind):
    if kind == KINDS["masks"]:
        return [{"format": "rle", "rle": brush.encoded(one.mask)}]
    height, width = one.size
    return [
        {"points": (np.array(ring) * [100 / width, 100 / height]).round(4).tolist()}
        for ring in one.joined_polygons()
    ]


def _region(one, shape, kind):
    height, width = one.size
    return {
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": round(one.probability, 4),
        "value": {**shape, kind: [one.class_name]},
    }
