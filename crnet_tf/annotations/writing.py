"""What is found in photos, written in the formats of other tools, and `photos.csv`.

with results(out, formats=["coco", "yolo"]) as written:
    written.add(answer)
"""

import collections
import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from absl import flags

from crnet_tf.annotations import (
    class_folders,
    coco_json,
    label_maps,
    label_studio,
    labelme,
    pictures,
    yolo,
)
from crnet_tf.annotations.answers import PhotoAnswer
from crnet_tf.common import files, tables
from crnet_tf.common.errors import InputError
from crnet_tf.images import png_files
from crnet_tf.images.output_files import TABLE

FORMATS = {
    "png": pictures,
    "folders": class_folders,
    "coco": coco_json,
    "labelme": labelme,
    "labelstudio": label_studio,
    "yolo": yolo,
    "voc": label_maps,
}
SHAPES = ("polygons", "masks")
_OF_OBJECTS = ("coco", "labelme", "labelstudio")  # the others have maps, or parts


class Results:
    """Writes answers in several formats. A photo that is no file, or a frame of a film, is
    written beside, as `NAME.png`: formats of tools name files.

    Args:
        out: folder, which is there.
        formats: of `FORMATS`.
        shapes: of `SHAPES`; masks are exact and keep holes.
        instances: each connected piece of a class is an object of its own; specks are none.
        split: so are touching objects, told apart where they are narrow.

    Raises:
        InputError: another format or kind of shapes, or one that no format has.
    """

    def __init__(
        self,
        out: pathlib.Path,
        formats: Sequence[str] = ("png",),
        shapes: str = SHAPES[0],
        instances: bool = False,
        split: bool = False,
    ):
        check(formats, shapes, instances, split)
        self.out, self.formats, self.rows = out, formats, []
        self.instances = {"connected": instances or split, "split": split}
        self._writers = [FORMATS[name].Writer(out, shapes) for name in dict.fromkeys(formats)]

    def add(self, answer: PhotoAnswer) -> None:
        """Writes the answer of a photo, or keeps it for the file of all photos."""
        answer = dataclasses.replace(answer, **self.instances)
        self._add_row(answer)
        is_file = answer.moment is None and answer.path.is_file()
        if not is_file and set(self.formats) != {"png"}:
            answer = dataclasses.replace(answer, path=self.out / f"{answer.name}.png")
            png_files.write_png(answer.path, answer.image, png_files.FAST)
        for writer in self._writers:
            writer.add(answer)

    def finish(self) -> None:
        """Writes the files of all photos."""
        for writer in self._writers:
            writer.finish()

    def _add_row(self, answer):
        names, scores = answer.class_names, [f"{score:.3f}" for score in answer.presences]
        row = {"photo": answer.path.name}
        if answer.moment:
            row["seconds"] = f"{answer.moment.seconds:.3f}"
        if len(names) == 1:
            row |= {"presence": scores[0], "share": f"{np.mean(answer.mask):.4f}"}
        else:
            row |= {f"presence of {one}": s for one, s in zip(names, scores, strict=True)}
        if answer.connected:  # and counted
            found = collections.Counter(one.class_id for one in answer.objects)
            row |= {f"objects of {one}": found[n] for n, one in enumerate(names, 1)}
        self.rows.append(row)


@contextlib.contextmanager
def results(out: pathlib.Path, **options) -> Iterator[Results]:
    """`Results` of the photos of a folder. Files of all photos, such as `photos.csv`, are
    written at the end, however that comes: what was answered before an error or Ctrl+C is not
    lost."""
    files.make_folder(out)
    found = Results(out, **options)
    try:
        yield found
    finally:
        if found.rows:
            found.finish()
            heading = list(dict.fromkeys(key for row in found.rows for key in row))
            rows = [[row.get(key, "") for key in heading] for row in found.rows]
            files.write_text(out / TABLE, tables.comma_separated([heading, *rows]))


def check(formats: Sequence[str], shapes: str, instances: bool, split: bool = False) -> None:
    """Raises InputError for formats or options that there are not, or do not go together."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise InputError(
            f"--format: expected one or several of {', '.join(FORMATS)}, received "
            f"{', '.join(map(repr, unknown)) or 'none'}."
        )
    if shapes not in SHAPES:
        raise InputError(f"--shapes: expected one of {SHAPES}, received {shapes!r}.")
    for flag, given in (
        ("--shapes", shapes != SHAPES[0]),
        ("--instances", instances),
        ("--split", split),
    ):
        if given and not set(formats) & set(_OF_OBJECTS):
            raise InputError(
                f"{flag}: expected a format that it is for ({', '.join(_OF_OBJECTS)}), "
                f"received --format={','.join(formats)}. Leave it out, or add one."
            )


def define_flags() -> None:
    """Flags of the commands that write answers."""
    flags.DEFINE_list(
        "format", ["png"], f"What is written, one or several: {','.join(FORMATS)}."
    )
    flags.DEFINE_enum(
        "shapes",
        SHAPES[0],
        SHAPES,
        f"In {', '.join(_OF_OBJECTS)}: polygons can be edited by their corners, masks are "
        "exact and keep holes.",
    )
    flags.DEFINE_bool(
        "instances", False, "Each connected piece is an object; default: all of a class is one."
    )
    flags.DEFINE_bool(
        "split", False, "As --instances; touching objects are parted where narrow."
    )


def chosen(args) -> dict[str, Any]:
    """Arguments of `results` that the flags stand for. Raises as `check`."""
    options = {
        "formats": args.format,
        "shapes": args.shapes,
        "instances": args.instances,
        "split": args.split,
    }
    check(**options)
    return options
