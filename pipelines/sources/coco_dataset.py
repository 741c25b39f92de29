"""MS COCO as it is unpacked: `annotations/instances_{train,val}2014.json`, `train2014/` ...

Of 2017 likewise.
"""

import pathlib

import numpy as np

from crnet_tf.annotations import coco
from crnet_tf.annotations.listing import PhotoFile
from crnet_tf.common.errors import InputError
from crnet_tf.data import folds
from crnet_tf.images.label_files import check_size

YEARS = ("2014", "2017")


def find_year(root: pathlib.Path, year: str | None = None) -> str:
    """The release whose annotations are in `root`: "2014" or "2017"."""
    found = [y for y in YEARS if _annotations(root, f"train{y}").is_file()]
    if year is None and len(found) > 1:
        raise InputError(
            f"--coco_dir: expected one release of COCO in {str(root)!r}, received "
            f"{' and '.join(found)}. Choose with --year."
        )
    if year not in (None, *found) or not found:
        wanted = _annotations(root, f"train{year or YEARS[0]}")
        raise FileNotFoundError(
            f"--coco_dir: expected {wanted}, received none. Unpack the annotations and the "
            "photos of one release side by side; docs/guides/data.md says where to get them."
        )
    return year or found[0]


def _annotations(root, name):
    return root / "annotations" / f"instances_{name}.json"


def list_photos(root: pathlib.Path, name: str) -> tuple[list[PhotoFile], dict[int, int]]:
    """The photos of a split and year ("train2014") that have annotations, by image id, and
    the class (1..80) of each category id; says how many there are."""
    instances = coco.read_instances(_annotations(root, name), root / name, folds.COCO_CLASSES)
    crowds = sum(a.crowd for photo in instances.photos for a in photo.annotations)
    print(
        f"{name}: {len(instances.photos):,} photos with annotations; {instances.bare:,} "
        f"without, left out; {crowds:,} crowds (iscrowd=1), void",
        flush=True,
    )
    listed = [PhotoFile(drawn.file.stem, drawn.file, drawn, ()) for drawn in instances.photos]
    return listed, instances.class_ids


def read_label(photo: PhotoFile, class_ids: dict[int, int]) -> np.ndarray:
    """The label map that is drawn of a photo's instances: uint8 [H,W] class ids, 255 void."""
    check_size(photo.path, (photo.label.height, photo.label.width))
    return coco.draw_label(photo.label, class_ids)
