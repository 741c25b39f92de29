"""What was found in a photo, as the formats write it: a map of classes, and its objects."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from crnet_tf.annotations import outlines, pieces
from crnet_tf.common.errors import InputError
from crnet_tf.images.labelled import Moment
from crnet_tf.images.mask_values import VOID


@dataclasses.dataclass(frozen=True, eq=False)
class Instance:
    """One object: a connected piece of a mask, or all that is of a class.

    Attributes:
        class_name, class_id: what it is; ids are 1..N.
        box: (left, top, right, bottom) px; right and bottom are the first outside of it.
        inside: bool [h,w], the object in its box.
        size: (H, W) px of the photo.
        probability: mean over its pixels.
    """

    class_name: str
    class_id: int
    box: tuple[int, int, int, int]
    inside: np.ndarray
    size: tuple[int, int]
    probability: float

    @functools.cached_property
    def mask(self) -> np.ndarray:
        """bool [H,W], of the photo's size."""
        left, top, right, bottom = self.box
        mask = np.zeros(self.size, bool)
        mask[top:bottom, left:right] = self.inside
        return mask

    def polygons(self) -> list[np.ndarray]:
        """Its exact outlines, float [n,2] of (x, y) px, first the outer one: (0, 0) is the
        photo's corner, and a pixel one wide. Holes are outlines of their own."""
        return [ring + self.box[:2] for part in outlines.rings(self.inside) for ring in part]

    def joined_polygons(
        self, course: outlines.Course = outlines.EDGES
    ) -> list[list[list[float]]]:
        """`outlines.polygons` of it: [x, y] of the photo, to a hundredth of a px."""
        found = outlines.polygons(self.inside, course)
        return [(ring + self.box[:2]).round(2).tolist() for ring in found]


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoAnswer:
    """What was found in a photo.

    Attributes:
        path: its file.
        name: that of the files which are written for it, without suffix.
        image: uint8 [H,W,3], upright.
        mask: uint8 or uint16 [H,W], 0 background, n the nth class.
        probabilities: float [N,H,W] of each class.
        presences: how sure it is that each class is in the photo at all.
        class_names: N of them.
        connected: whether each connected piece is an object, or all that is of a class.
        split: whether pieces are split where they are narrow (`pieces.numbered`).
        moment: of a frame of a film, which is no file; else None.
    """

    path: pathlib.Path
    name: str
    image: np.ndarray
    mask: np.ndarray
    probabilities: np.ndarray
    presences: Sequence[float]
    class_names: Sequence[str]
    connected: bool = False
    split: bool = False
    moment: Moment | None = None

    @functools.cached_property
    def objects(self) -> list[Instance]:
        """What was found, of each class the largest first."""
        how = self.connected, self.split
        return objects(self.mask, self.probabilities, self.class_names, *how)


def objects(
    mask: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    connected: bool = True,
    split: bool = False,
) -> list[Instance]:
    """The objects of a map of classes, of each class the largest first.

    Args:
        mask, probabilities, class_names: of a `PhotoAnswer`.
        connected: each connected piece is an object, specks left out; without, all that is of
            a class is one.
        split: touching objects are told apart where they are narrow.
    """
    import scipy.ndimage  # slow, and few ask for it

    found = []
    for class_id, around in enumerate(scipy.ndimage.find_objects(mask, len(class_names)), 1):
        if around is None:  # not in the photo
            continue
        name, probability = class_names[class_id - 1], probabilities[class_id - 1][around]
        of_each = (mask[around] == class_id).astype(np.int8)
        if connected:
            of_each = pieces.numbered(of_each > 0, pieces.LEAST * mask.size, split)
        top, left = (side.start for side in around)
        own = []
        for number, place in enumerate(scipy.ndimage.find_objects(of_each), 1):
            if place is None:
                continue
            rows, columns = place
            inside = of_each[place] == number
            box = left + columns.start, top + rows.start, left + columns.stop, top + rows.stop
            sure = float(probability[rows, columns][inside].mean())
            own.append(Instance(name, class_id, box, inside, mask.shape, sure))
        found += sorted(own, key=lambda one: -np.count_nonzero(one.inside))
    return found


def names_below_one_folder(paths: Sequence[pathlib.Path]) -> tuple[pathlib.Path, list[str]]:
    """The folder that all photos lie in, maybe in folders of it, and their names from there."""
    paths = [path.absolute() for path in paths]
    root = pathlib.Path(os.path.commonpath([path.parent for path in paths]))
    return root, [path.relative_to(root).as_posix() for path in paths]


def check_values_suffice(format: str, class_names: Sequence[str]) -> None:
    """Raises InputError for more classes than a label map has values for."""
    if len(class_names) >= VOID:
        raise InputError(
            f"{format}: expected at most {VOID - 1} classes, which label maps have values for, "
            f"received {len(class_names)}. Choose another format."
        )
