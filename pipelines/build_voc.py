"""PASCAL VOC 2012 (+ SBD) -> records for PASCAL-5i.

    python -m pipelines.build_voc --voc_dir=VOCdevkit/VOC2012 --out=records/pascal5i

Reads `JPEGImages/` with `SegmentationClassAug/` (lists `ImageSets/Segmentation/trainaug.txt`
and `val.txt`) or, where that folder is missing, plain `SegmentationClass/` (`train.txt`,
`val.txt`). Writes `index.json` and one stream a class, and prints how many (photo, class)
pairs there are. The complete set gives 13,682 / 1,866 pairs with OSLSM's filter.
"""

import functools
import pathlib

from absl import flags

from crnet_tf import cli, folds, photos
from crnet_tf.records import Index
from pipelines import filters, writer
from pipelines.audit import audit

DATASET = "pascal5i"


def build_voc(
    voc_dir: photos.PathLike,
    out: photos.PathLike,
    filter: str = "oslsm",
    on_error: str = "stop",
    overwrite: bool = False,
    dataset: str = DATASET,
    source: str | None = None,
) -> Index:
    """Builds the records of a folder in VOC layout.

    Args:
        voc_dir: VOC2012, VOCdevkit or its parent.
        out: folder of records to make.
        filter, on_error, overwrite: as in `filters.listed_classes`, `writer.write_records`.
        dataset: whose class names and folds hold, a key of `folds.CLASS_NAMES`.
        source: what index.json says the records were made from; default `voc_dir` as given.

    Raises:
        FileNotFoundError, ValueError: the input is not as it should be.
        FileExistsError, RuntimeError: see `writer.write_records`.
    """
    root = find_voc(voc_dir)
    splits = list_pairs(root)
    if on_error == "stop":
        _check_files(splits)
    class_names = folds.CLASS_NAMES[dataset]
    return writer.write_records(
        out,
        splits,
        functools.partial(_make_item, filter=filter, num_classes=len(class_names)),
        dataset=dataset,
        source=str(voc_dir) if source is None else source,
        filter=filter,
        class_names=class_names,
        on_error=on_error,
        overwrite=overwrite,
    )


def find_voc(voc_dir: photos.PathLike) -> pathlib.Path:
    """The one VOC folder (it holds `ImageSets/Segmentation`) at `voc_dir` or below it."""
    given = pathlib.Path(voc_dir)
    if not given.is_dir():
        raise FileNotFoundError(
            f"--voc_dir: expected a folder (VOC2012, VOCdevkit or its parent), received "
            f"{str(given)!r}, which is not there. BUILD.md, Data, says where to get it."
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
        raise ValueError(
            f"--voc_dir: expected one VOC year in {str(given)!r}, received "
            f"{', '.join(map(str, found))}. Name one of them."
        )
    return found[0]


def list_pairs(root: pathlib.Path) -> dict[str, list[tuple[pathlib.Path, pathlib.Path]]]:
    """{"train", "val"} -> (photo file, label file) of every line of the lists, in order."""
    augmented = (root / "SegmentationClassAug").is_dir()
    labels = root / ("SegmentationClassAug" if augmented else "SegmentationClass")
    for folder in (root / "JPEGImages", labels):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{root}: expected a folder {folder.name}, received none. Complete the VOC "
                "layout: JPEGImages, SegmentationClassAug (or SegmentationClass), ImageSets."
            )
    lists = {"train": "trainaug.txt" if augmented else "train.txt", "val": "val.txt"}
    names = {
        split: _read_list(root / "ImageSets" / "Segmentation" / file)
        for split, file in lists.items()
    }
    both = sorted(set(names["train"]) & set(names["val"]))
    if both:
        raise ValueError(
            f"{root}: expected every photo in one list, received {len(both)} in both "
            f"{lists['train']} and val.txt ({', '.join(both[:3])}). Remove them from one."
        )
    return {
        split: [(root / "JPEGImages" / f"{n}.jpg", labels / f"{n}.png") for n in ids]
        for split, ids in names.items()
    }


def _read_list(path):
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected a list of photo ids, received nothing: there is no such file. "
            "SegmentationClassAug goes with trainaug.txt and val.txt, SegmentationClass with "
            "train.txt and val.txt."
        )
    ids = [_photo_id(line.split()[0]) for line in path.read_text().splitlines() if line.strip()]
    twice = sorted({i for i in ids if ids.count(i) > 1}) if len(set(ids)) < len(ids) else []
    if not ids or twice:
        raise ValueError(
            f"{path}: expected one photo id a line, each once, received "
            f"{'twice: ' + ', '.join(twice[:3]) if twice else 'an empty list'}. "
            f"{'Remove the repetitions.' if twice else 'Copy the list again.'}"
        )
    return ids


def _photo_id(entry):
    """Some copies of trainaug.txt hold "/JPEGImages/x.jpg /SegmentationClassAug/x.png"."""
    return pathlib.PurePosixPath(entry).stem if "/" in entry else entry


def _check_files(splits):
    """Before the long work rather than in its midst."""
    files = [file for pairs in splits.values() for pair in pairs for file in pair]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"expected the photo and the label map of every line of the lists, received "
            f"{len(files) - len(missing)} of {len(files)} files; missing: "
            f"{', '.join(map(str, missing[:3]))}{' ...' if len(missing) > 3 else ''}. Complete "
            "them, or leave such photos out with --on_error=skip."
        )


def _make_item(pair, filter, num_classes):
    return writer.make_example(*pair, filter=filter, num_classes=num_classes)


def define_flags() -> None:
    """Called when this is the program: build_demo has flags of the same names."""
    flags.DEFINE_string("voc_dir", None, "VOC2012, VOCdevkit or its parent.", required=True)
    flags.DEFINE_string("out", None, "Folder of records to make.", required=True)
    flags.DEFINE_enum("filter", "oslsm", filters.FILTERS, "Small-object filter.")
    flags.DEFINE_enum(
        "on_error", "stop", writer.ON_ERROR, "Bad photo: stop, or skip and count."
    )
    flags.DEFINE_bool("overwrite", False, "Rebuild records that are there already.")


def main():
    given = flags.FLAGS
    print(
        audit(
            build_voc(given.voc_dir, given.out, given.filter, given.on_error, given.overwrite)
        )
    )


if __name__ == "__main__":
    define_flags()
    cli.run(main)
