"""PASCAL VOC 2012 (+ SBD) -> records for PASCAL-5i.

    python -m pipelines.build_voc --voc_dir=VOCdevkit/VOC2012 --sbd_dir=benchmark_RELEASE \\
        --out=records/pascal5i

From the two archives as they are downloaded, or from a VOC folder that holds them merged
already (`SegmentationClassAug/` with `trainaug.txt`), or from VOC alone (`SegmentationClass/`
with `train.txt`). Writes `index.json` and one stream a class, and prints how many (photo,
class) pairs there are. Two sets of photos go by the name of PASCAL-5i; both test on VOC val:

| --list | training photos | of | default filter |
|---|--:|---|---|
| pairs | 10,582 | (SBD train + SBD val + VOC train) - VOC val: OSLSM, CANet, HSNet | oslsm |
| pfenet | 5,953 | VOC train + (SBD train - VOC val): PFENet and what builds on it | area2048 |

Where both archives label a photo, VOC's label is taken.
"""

import functools
import pathlib

from absl import flags

from crnet_tf.annotations.listing import read_lines
from crnet_tf.common import cli
from crnet_tf.common.errors import InputError
from crnet_tf.data import folds
from crnet_tf.data.records import Index
from crnet_tf.data.writing import filters, writer
from crnet_tf.data.writing.examples import make_example
from crnet_tf.images import photos
from pipelines.checking.audit import audit
from pipelines.sources import sbd
from pipelines.writing import flags as writing_flags

DATASET = "pascal5i"
DEFAULT_FILTER = {"pairs": "oslsm", "pfenet": "area2048"}
LISTS = tuple(DEFAULT_FILTER)


def build_voc(
    voc_dir: photos.PathLike,
    out: photos.PathLike,
    filter: str | None = None,
    sbd_dir: photos.PathLike | None = None,
    list_name: str = "pairs",
    dataset: str = DATASET,
    source: str | None = None,
    on_error: str = "stop",
    **options,
) -> Index:
    """Builds the records of a folder in VOC layout.

    Args:
        voc_dir: VOC2012, VOCdevkit or its parent.
        out: folder of records to make.
        filter: as in `filters.listed_classes`; default that of the list.
        sbd_dir: benchmark_RELEASE of SBD; without it the VOC folder's own lists hold.
        list_name: `pairs` or `pfenet`, see the top of this file.
        dataset: whose class names and folds hold, a key of `folds.CLASS_NAMES`.
        source: what index.json says the records were made from; default the folders as given
            and the list.
        on_error, options: as in `writer.write_records`.

    Raises:
        FileNotFoundError, ValueError: the input is not as it should be.
        FileExistsError, RuntimeError: see `writer.write_records`.
    """
    splits = list_pairs(find_voc(voc_dir), sbd_dir and sbd.find_sbd(sbd_dir), list_name)
    if on_error == "stop":
        _check_files(splits)
    filter = filter or DEFAULT_FILTER[list_name]
    class_names = folds.CLASS_NAMES[dataset]
    folders = " + ".join(str(pathlib.Path(f)) for f in (voc_dir, sbd_dir) if f)
    return writer.write_records(
        out,
        splits,
        functools.partial(_make_item, filter=filter, num_classes=len(class_names)),
        dataset=dataset,
        source=f"{folders}, list {list_name}" if source is None else source,
        filter=filter,
        class_names=class_names,
        on_error=on_error,
        **options,
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
        raise InputError(
            f"--voc_dir: expected one VOC year in {str(given)!r}, received "
            f"{', '.join(map(str, found))}. Name one of them."
        )
    return found[0]


def list_pairs(
    root: pathlib.Path, sbd_root: pathlib.Path | None = None, list_name: str = "pairs"
) -> dict[str, list[tuple[pathlib.Path, pathlib.Path]]]:
    """{"train", "val"} -> (photo file, label file) of every photo of the lists, in order.

    Args:
        root: the VOC folder, of `find_voc`.
        sbd_root: SBD's folder, of `sbd.find_sbd`, to merge; None takes VOC's lists as they are.
        list_name: `pairs` or `pfenet`.
    """
    if list_name not in LISTS:
        raise InputError(f"--list: expected one of {LISTS}, received {list_name!r}.")
    if sbd_root is not None:
        return _merged_pairs(root, sbd_root, list_name)
    if list_name == "pfenet":
        raise InputError(
            "--list=pfenet: expected --sbd_dir, received none. This list is made of SBD's own "
            "train.txt, which trainaug.txt no longer shows."
        )
    augmented = (root / "SegmentationClassAug").is_dir()
    labels = "SegmentationClassAug" if augmented else "SegmentationClass"
    _check_folders(root, labels)
    names = _read_lists(root, "trainaug.txt" if augmented else "train.txt")
    return {
        split: [(root / "JPEGImages" / f"{n}.jpg", root / labels / f"{n}.png") for n in ids]
        for split, ids in names.items()
    }


def _merged_pairs(root, sbd_root, list_name):
    """VOC's own photos and labels first, SBD's for all others; train sorted by id."""
    _check_folders(root, "SegmentationClass")
    voc = _read_lists(root, "train.txt")
    extra = set(_read_list(sbd_root / "train.txt"))
    if list_name == "pairs":
        extra |= set(_read_list(sbd_root / "val.txt"))
    own = {*voc["train"], *voc["val"]}

    def files(name):
        photo = root / "JPEGImages" / f"{name}.jpg"
        if name in own:
            return photo, root / "SegmentationClass" / f"{name}.png"
        photo = photo if photo.is_file() else sbd_root / "img" / f"{name}.jpg"
        return photo, sbd_root / "cls" / f"{name}.mat"

    train = sorted({*voc["train"], *extra} - {*voc["val"]})
    return {"train": [*map(files, train)], "val": [*map(files, voc["val"])]}


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
    photo, label = pair
    if label.suffix == ".mat":
        label = sbd.read_segmentation(label)
    return make_example(photo, label, filter, num_classes)


def define_flags() -> None:
    """Called when this is the program: build_demo has flags of the same names."""
    flags.DEFINE_string("voc_dir", None, "VOC2012, VOCdevkit or its parent.", required=True)
    flags.DEFINE_string("sbd_dir", None, "SBD's benchmark_RELEASE, to merge.")
    flags.DEFINE_string("out", None, "Folder of records to make.", required=True)
    flags.DEFINE_enum("list", "pairs", LISTS, "Training photos: the table above.")
    flags.DEFINE_enum(
        "filter", None, filters.FILTERS, "Small-object filter; default that of the list."
    )
    writing_flags.define_flags()


def main():
    given = flags.FLAGS
    index = build_voc(
        given.voc_dir,
        given.out,
        given.filter,
        given.sbd_dir,
        given.list,
        **writing_flags.options_of(given),
    )
    print(audit(index, given.list))


if __name__ == "__main__":
    define_flags()
    flags.adopt_module_key_flags(writing_flags)
    cli.run(main)
