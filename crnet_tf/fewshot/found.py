"""What was found in a photo: probabilities, and what people make of them.

Without TensorFlow, so that a result can be looked at and written wherever it is.
"""

import dataclasses
import functools
import io
import os
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from crnet_tf.common import files
from crnet_tf.images import drawing, output_files, png_files
from crnet_tf.images.labelled import LabelledPhoto


class Instance(NamedTuple):
    """A connected piece of a mask.

    Attributes:
        class_name: what it is.
        mask: bool [H,W], of the photo's size.
        box: (left, top, right, bottom) px; right and bottom are the first outside of it.
        probability: mean over its pixels.
    """

    class_name: str
    mask: np.ndarray
    box: tuple[int, int, int, int]
    probability: float

    def polygons(self) -> list[np.ndarray]:
        """Its outlines, float [n,2] of (x, y) px, first the outer one: (0, 0) is the photo's
        corner, and a pixel one wide. Holes are outlines of their own."""
        from contourpy import contour_generator  # slow, and few ask for it

        padded = np.pad(self.mask.astype(float), 1)
        lines = contour_generator(z=padded).lines(0.5)
        found = [np.clip(line - 0.5, 0, self.mask.shape[::-1]) for line in lines]
        return sorted(found, key=lambda line: -np.ptp(line, axis=0).prod())


@dataclasses.dataclass(frozen=True)
class Found:
    """What a `Segmenter` found in a photo.

    Attributes:
        photo: it, with its name.
        class_names: N of them.
        probabilities: float32 [N,H,W], of each class.
        presences: how sure it is that each class is in the photo at all, up to 1.
        present: whether that is more than in photos known not to show it (all, without such).
        threshold: foreground is what is more probable.
        steps: float32 [T,h,w] of the first class after each refinement step, small.
    """

    photo: LabelledPhoto
    class_names: tuple[str, ...]
    probabilities: np.ndarray
    presences: tuple[float, ...]
    present: tuple[bool, ...]
    threshold: float
    steps: np.ndarray

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
        """uint8 [H,W]: 0 background, n the nth class, the most probable one.

        uint16 of more than 255 classes. A class that is not present is nowhere.
        """
        there = self.probabilities * np.float32(self.present)[:, None, None]
        dtype = np.uint8 if len(there) < 256 else np.uint16
        best = there.argmax(axis=0).astype(dtype) + dtype(1)
        return np.where(there.max(axis=0) > self.threshold, best, dtype(0))

    @functools.cached_property
    def instances(self) -> list[Instance]:
        """The connected pieces of the mask, of each class the largest first."""
        import scipy.ndimage  # slow, and few ask for it

        found = []
        for number, (name, probability) in enumerate(
            zip(self.class_names, self.probabilities, strict=True), 1
        ):
            pieces, _ = scipy.ndimage.label(self.mask == number, np.ones((3, 3)))
            own = []
            for piece, (rows, columns) in enumerate(scipy.ndimage.find_objects(pieces), 1):
                mask = pieces == piece
                box = columns.start, rows.start, columns.stop, rows.stop
                own.append(Instance(name, mask, box, float(probability[mask].mean())))
            found += sorted(own, key=lambda one: -one.mask.sum())
        return found

    def polygons(self) -> list[list[np.ndarray]]:
        """`Instance.polygons` of each of `instances`."""
        return [instance.polygons() for instance in self.instances]

    def overlay(self) -> Image.Image:
        """The photo with what was found over it."""
        if len(self.class_names) == 1:
            return Image.fromarray(drawing.overlay(self.photo.image, self.mask))
        palette = png_files.voc_palette()
        return Image.fromarray(drawing.overlay_classes(self.photo.image, self.mask, palette))

    def save(self, folder: str | os.PathLike) -> None:
        """Writes `NAME_mask.png`, `NAME_probability.png` and `NAME_overlay.png`, as `predict`
        does; of several classes a label map `NAME_classes.png`, its overlay and its legend."""
        out = pathlib.Path(folder)
        files.make_folder(out)
        self.write(output_files.Results(out), pathlib.Path(self.photo.name))

    def write(
        self, written: output_files.Results, path: pathlib.Path, name: str | None = None
    ) -> None:
        """The files of a photo `path`, called `name`, and its row of the table."""
        name, image = name or path.stem, self.photo.image
        if len(self.class_names) == 1:
            probability = np.uint8(np.round(255 * self.probability))
            written.add_mask(path, name, image, self.mask, probability, self.presence)
        else:
            names = list(self.class_names)
            written.add_classes(path, name, image, self.mask, self.presences, names)

    def __repr__(self):
        shares = [f"{np.mean(self.mask == n):.1%}" for n in range(1, len(self.class_names) + 1)]
        named = zip(self.class_names, shares, self.presences, strict=True)
        said = "; ".join(f"{n}: {share}, presence {sure:.2f}" for n, share, sure in named)
        return f"<Found in {self.photo.name}: {said}>"

    def _repr_png_(self):
        png = io.BytesIO()
        self.overlay().save(png, "PNG")
        return png.getvalue()
