"""What was found in a photo: probabilities, and what people make of them.

Without TensorFlow, so that a result can be looked at and written wherever it is.
"""

import dataclasses
import functools
import io
import os
import pathlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

from crnet_tf.annotations import writing
from crnet_tf.annotations.answers import Instance, PhotoAnswer, objects
from crnet_tf.common import files
from crnet_tf.fewshot import deciding
from crnet_tf.images import drawing, output_files, png_files
from crnet_tf.images.labelled import LabelledPhoto


@dataclasses.dataclass(frozen=True)
class Found:
    """What a `Segmenter` found in a photo.

    Attributes:
        photo: it, with its name.
        class_names: N of them.
        probabilities: float32 [N,H,W], of each class.
        presences: how likely each class is in the photo at all, 0 to 1.
        present: which classes it shows, see `deciding`.
        threshold: foreground is what is more probable.
    """

    photo: LabelledPhoto
    class_names: tuple[str, ...]
    probabilities: np.ndarray
    presences: tuple[float, ...]
    present: tuple[bool, ...]
    threshold: float

    @property
    def probability(self) -> np.ndarray:
        """float32 [H,W] of a single class; [N,H,W] of several."""
        return self.probabilities[0] if len(self.class_names) == 1 else self.probabilities

    @property
    def presence(self) -> float | tuple[float, ...]:
        """Of a single class a number; of several one each."""
        return self.presences[0] if len(self.class_names) == 1 else self.presences

    @functools.cached_property
    def mask(self) -> np.ndarray:
        """`deciding.decided`: uint8 [H,W], 0 background, n the nth class."""
        return deciding.decided(self.probabilities, self.present, self.threshold)

    @functools.cached_property
    def instances(self) -> list[Instance]:
        """The connected pieces of the mask, of each class the largest first."""
        return objects(self.mask, self.probabilities, self.class_names)

    def polygons(self) -> list[list[np.ndarray]]:
        """`Instance.polygons` of each of `instances`."""
        return [instance.polygons() for instance in self.instances]

    def overlay(self) -> Image.Image:
        """The photo with what was found over it."""
        if len(self.class_names) == 1:
            return Image.fromarray(drawing.overlay(self.photo.image, self.mask))
        palette = png_files.voc_palette()
        return Image.fromarray(drawing.overlay_classes(self.photo.image, self.mask, palette))

    def save(self, folder: str | os.PathLike, formats: str = "png", **options) -> None:
        """Writes the answer into a folder, as `predict --format` does; `save_all` writes those
        of several photos, and films.

        Args:
            formats, options: of `save_all`.
        """
        out, path = pathlib.Path(folder), pathlib.Path(self.photo.name)
        files.make_folder(out)
        written = writing.Results(out, formats.split(","), **options)
        written.add(dataclasses.replace(self.answer(path, path.stem), moment=None))
        written.finish()

    def answer(self, path: pathlib.Path, name: str) -> PhotoAnswer:
        """What formats write of it, as the file `path`, in files called `name`."""
        return PhotoAnswer(
            path,
            name,
            self.photo.image,
            self.mask,
            self.probabilities,
            self.presences,
            self.class_names,
            moment=self.photo.moment,
        )

    def __repr__(self):
        shares = [f"{np.mean(self.mask == n):.1%}" for n in range(1, len(self.class_names) + 1)]
        named = zip(self.class_names, shares, self.presences, strict=True)
        said = "; ".join(f"{n}: {share}, presence {sure:.2f}" for n, share, sure in named)
        return f"<Found in {self.photo.name}: {said}>"

    def _repr_png_(self):
        png = io.BytesIO()
        self.overlay().save(png, "PNG")
        return png.getvalue()


def save_all(
    answers: Iterable[Found], folder: str | os.PathLike, formats: str = "png", **options
) -> None:
    """Writes what was found in photos into a folder, as `predict --format` does.

        save_all(segmenter.predict("photos/"), "found", "coco,labelme", instances=True)

    Args:
        answers: of `Segmenter.predict`; they may come one by one.
        formats: one or several of `writing.FORMATS`, with commas.
        options: `shapes` and `instances`, of `writing.Results`.

    Raises:
        InputError: a format or option that there is not.
    """
    taken = set()
    with writing.results(
        pathlib.Path(folder), formats=formats.split(","), **options
    ) as written:
        for found in answers:
            path = pathlib.Path(found.photo.name)
            written.add(found.answer(path, output_files.unused_name(path, taken)))
