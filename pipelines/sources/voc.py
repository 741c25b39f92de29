"""PASCAL VOC 2012, alone, merged with SBD before, or merged with it here.

VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg               photos
VOCdevkit/VOC2012/SegmentationClass/2007_000032.png        labels; merged: ...ClassAug
VOCdevkit/VOC2012/ImageSets/Segmentation/{train,val}.txt   lists; merged: trainaug.txt
"""

import os
import pathlib

import numpy as np

from crnet_tf.annotations.listing import PhotoFile, read_lines
from crnet_tf.common.errors import InputError
from crnet_tf.images.label_files import read_voc_label
from pipelines.sources import sbd

LISTS = ("pairs", "pfenet")  # `pipelines.build_voc` says what they are


def find_voc(voc_dir: str | os.PathLike) -> pathlib.Path:
    """The one VOC folder (it holds `ImageSets/Segmentation`) at `voc_dir` or below it."""
    given = pathlib.Path(voc_dir)
    if not given.is_dir():
        raise FileNotFoundError(
            f"--voc_dir: expected a folder (VOC2012, VOCdevkit or its parent), received "
            f"{str(given)!r}, which is not there. docs/guides/data.md says where to get it."
        )
    below = sorted([*given.glob("VOC*"), *given.glob("VOCdevkit/VOC*")])
    found = [f for f in (given, *below) if (f / "ImageSets" / "Segmentation").is_dir()]
    if given in found:
        return given
    if not found:
        raise FileNotFoundError(
            f"--voc_dir: expected VOC2012, VOCdevkit or its parent, received {str(given)!r}: "
            "no ImageSets/Segmentation in it. Point it to the folder that holds JPEGImages."
        )
    if len(found) > 1:
        raise InputError(
            f"--voc_dir: expected one VOC year in {str(given)!r}, received "
            f"{', '.join(map(str, found))}. Name one of them."
        )
    return found[0]


def list_photos(
    root: pathlib.Path, sbd_root: pathlib.Path | None = None, list_name: str = "pairs"
) -> dict[str, list[PhotoFile]]:
    """{"train", "val"} -> every photo of the lists, in order; `read_label` reads its label.

    Args:
        root: the VOC folder, of `find_voc`.
        sbd_root: SBD's folder, of `sbd.find_sbd`, to merge; None takes VOC's lists as they are.
        list_name: `pairs` or `pfenet`.
    """
    if list_name not in LISTS:
        raise InputError(f"--list: expected one of {LISTS}, received {list_name!r}.")
    if sbd_root is not None:
        return _merged(root, sbd_root, list_name)
    if list_name == "pfenet":
        raise InputError(
            "--list=pfenet: expected --sbd_dir, received none. This list is made of SBD's own "
            "train.txt, which trainaug.txt no longer shows."
        )
    augmented = (root / "SegmentationClassAug").is_dir()
    labels = "SegmentationClassAug" if augmented else "SegmentationClass"
    _check_folders(root, labels)
    names = _read_lists(root, "trainaug.txt" if augmented else "train.txt")
    photos, maps = _by_name(root / "JPEGImages", ".jpg"), _by_name(root / labels, ".png")
    return {split: [_photo(n, photos(n), maps(n)) for n in ids] for split, ids in names.items()}


def _merged(root, sbd_root, list_name):
    """VOC's own photos and labels first, SBD's for all others; train sorted by id."""
    _check_folders(root, "SegmentationClass")
    voc = _read_lists(root, "train.txt")
    extra = set(_read_list(sbd_root / "train.txt"))
    if list_name == "pairs":
        extra |= set(_read_list(sbd_root / "val.txt"))
    own = {*voc["train"], *voc["val"]}
    photos = _by_name(root / "JPEGImages", ".jpg")
    maps = _by_name(root / "SegmentationClass", ".png")

    def files(name):
        photo = photos(name)
        if name in own:
            return _photo(name, photo, maps(name))
        photo = photo if photo.is_file() else sbd_root / "img" / f"{name}.jpg"
        return _photo(name, photo, sbd_root / "cls" / f"{name}.mat")

    train = sorted({*voc["train"], *extra} - {*voc["val"]})
    return {"train": [*map(files, train)], "val": [*map(files, voc["val"])]}


def _by_name(folder, suffix):
    """The file of each name; where there are several, or none, the one with this suffix."""
    found = {path.stem: path for path in folder.iterdir() if path.name[0] != "."}

    def file(name):
        usual = folder / f"{name}{suffix}"
        return usual if usual.is_file() else found.get(name, usual)

    return file


def _check_folders(root, labels):
    for name in ("JPEGImages", labels):
        if not (root / name).is_dir():
            raise FileNotFoundError(
                f"{root}: expected a folder {name}, received none. Complete the VOC layout: "
                "JPEGImages, SegmentationClass (SegmentationClassAug without --sbd_dir), "
                "ImageSets."
            )


def _read_lists(root, train):
    """{"train", "val"} -> ids; none may be in both."""
    lists = root / "ImageSets" / "Segmentation"
    names = {"train": _read_list(lists / train), "val": _read_list(lists / "val.txt")}
    both = sorted(set(names["train"]) & set(names["val"]))
    if both:
        raise InputError(
            f"{root}: expected every photo in one list, received {len(both)} in both "
            f"{train} and val.txt ({', '.join(both[:3])}). Remove them from one."
        )
    return names


def _read_list(path):
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected a list of photo ids, received nothing: there is no such file. "
            "SegmentationClassAug goes with trainaug.txt and val.txt, SegmentationClass with "
            "train.txt and val.txt, SBD has its own train.txt and val.txt."
        )
    ids = [_photo_id(line.split()[0]) for line in read_lines(path)]
    twice = sorted({i for i in ids if ids.count(i) > 1}) if len(set(ids)) < len(ids) else []
    if not ids or twice:
        raise InputError(
            f"{path}: expected one photo id a line, each once, received "
            f"{'twice: ' + ', '.join(twice[:3]) if twice else 'an empty list'}. "
            f"{'Remove the repetitions.' if twice else 'Copy the list again.'}"
        )
    return ids


def _photo_id(entry):
    """Some copies of trainaug.txt hold "/JPEGImages/x.jpg /SegmentationClassAug/x.png"."""
    return pathlib.PurePosixPath(entry).stem if "/" in entry else entry


def read_label(photo: PhotoFile) -> np.ndarray:
    """The label map of a photo, VOC's file or SBD's: uint8 [H,W]."""
    if photo.label.suffix == ".mat":
        return sbd.read_segmentation(photo.label)
    return read_voc_label(photo.label, photo.path)


def _photo(name, path, label):
    return PhotoFile(name, path, label, ())
