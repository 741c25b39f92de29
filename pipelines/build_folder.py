r"""Photos of one's own with their labels -> records with folds of their own.

    python -m pipelines.build_folder --source=animals --out=records/animals
    python -m pipelines.build_folder --format=labelme --source=photos --out=records/mine
    python -m pipelines.build_folder --format=coco --annotations=instances.json \
        --images=photos --out=records/mine
    python -m pipelines.build_folder --format=labelmaps --images=photos --labels=maps \
        --colours=table.csv --out=records/mine
    python -m pipelines.build_folder --format=labelstudio --annotations=export.json \
        --images=photos --out=records/mine
    python -m pipelines.build_folder --format=yolo --source=set/data.yaml --out=records/mine

`folders` reads CLASS/images and CLASS/masks. Some photos of every class go to the val split, to
measure on. Folds, or `--test_classes`, say which classes a training leaves out. Prints how many
photos each class has.
"""

import functools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from absl import flags

from crnet_tf.annotations import (
    class_folders,
    coco_content,
    coco_json,
    label_maps,
    label_studio,
    labelme,
    yolo,
)
from crnet_tf.annotations.listing import Listing, PhotoFile
from crnet_tf.common import cli
from crnet_tf.common.errors import InputError
from crnet_tf.data import folds as known_folds
from crnet_tf.data.index import Index
from crnet_tf.data.writing import filters
from crnet_tf.images import mask_files, photos
from pipelines.sources import own_splits
from pipelines.writing import flags as writing_flags
from pipelines.writing.listed import write_listed

FORMATS = {
    "folders": class_folders,
    "coco": coco_json,
    "labelme": labelme,
    "labelmaps": label_maps,
    "labelstudio": label_studio,
    "yolo": yolo,
}
VAL_SHARE = 0.3


def build_folder(
    listing: Listing,
    read_label: Callable[[PhotoFile], np.ndarray],
    out: photos.PathLike,
    *,
    source: str,
    folds: int | None = None,
    test_classes: Sequence[str] | None = None,
    val_share: float = VAL_SHARE,
    val_list: photos.PathLike | None = None,
    train_list: photos.PathLike | None = None,
    evaluation_only: bool = False,
    name: str | None = None,
    filter: str = "none",
    on_error: str = "stop",
    **options,
) -> Index:
    """Builds records of what `listing` lists.

    Args:
        listing: of one of the formats, such as `labelme.list_photos(source)`.
        read_label: of the same format; photo -> label map uint8 [H,W].
        out: folder of records to make.
        source: what index.json says they were made from.
        folds: number of folds the classes are dealt to; or `test_classes`: names of the
            classes of the only one. Default: 4 folds, or as many as there are classes.
        val_share: share of a class' photos that are held out; or `val_list`, `train_list`:
            files that name them.
        evaluation_only: instead: no photo trains, the only fold tests on all classes.
        name: of the data set, in index.json and in checkpoints; default: the name of `out`.
        on_error: `stop` at what cannot be used, or `skip` it and say so.
        filter: which classes of a photo are listed, see `filters.listed_classes`.
        options: of `write_listed`.

    Raises:
        ValueError: the photos, classes or options are not as they should be.
        FileExistsError, RuntimeError, OSError: see `write_listed`.
    """
    _check_listing(listing, on_error, source, fewest=1 if evaluation_only else 2)
    class_names = listing.class_names
    if evaluation_only:
        _check_none_given(folds, test_classes, val_list, train_list)
        held_out = [list(range(1, len(class_names) + 1))]
        splits = {"val": listing.photos}
    else:
        held_out = own_splits.held_out_classes(class_names, folds, test_classes)
        splits = own_splits.split(listing.photos, val_share, val_list, train_list, held_out)
    return write_listed(
        out,
        splits,
        read_label,
        dataset=_dataset_name(out if name is None else name),
        source=source,
        filter=filter,
        class_names=class_names,
        on_error=on_error,
        folds=held_out,
        **options,
    )


def table(index: Index) -> str:
    """Photos of every class per split, and the classes each fold tests on, as text."""
    width = max(map(len, index.class_names))
    trained_on = {c for fold in range(index.num_folds) for c in index.train_classes(fold)}
    lines = [f"{index.directory}: {index.dataset}", f"{'':{width}}   id  train    val"]
    for class_id, name in enumerate(index.class_names, 1):
        train, val = (index.count(split, class_id) for split in ("train", "val"))
        needed = [train, val] if class_id in trained_on else [val]
        few = "  too few for one-shot episodes" if min(needed) < own_splits.MIN_PHOTOS else ""
        lines.append(f"{name:{width}} {class_id:4d} {train:6,d} {val:6,d}{few}")
    for fold in range(index.num_folds):
        names = [index.class_names[c - 1] for c in index.test_classes(fold)]
        lines.append(f"fold {fold} tests on {', '.join(names)}")
    return "\n".join(lines)


def list_photos(given) -> tuple[Listing, str]:
    """What the flags name, listed by its format, and a word on where it came from."""
    wanted = {
        "folders": ["source"],
        "labelme": ["source"],
        "coco": ["annotations", "images"],
        "labelmaps": ["images", "labels", "colours"],
        "labelstudio": ["annotations", "images"],
        "yolo": ["source"],
    }[given.format]
    missing = [f"--{name}" for name in wanted if not getattr(given, name)]
    if missing:
        raise InputError(
            f"--format={given.format}: expected {', '.join(f'--{name}' for name in wanted)}, "
            f"received no {', '.join(missing)}."
        )
    module = FORMATS[given.format]
    paths = [pathlib.Path(getattr(given, name)) for name in wanted]
    listing = module.list_photos(*paths, **_format_options(given))
    return listing, f"{given.format}: {', '.join(map(str, paths))}"


def _format_options(given):
    """Arguments of the format's `list_photos` that flags stand for."""
    changed = {
        "crowds": ("coco", given.crowds != coco_content.CROWDS[0]),
        "background": ("coco", given.background is not None),
        "noinstances": ("labelme", not given.instances),
    }
    for name, (kind, is_given) in changed.items():
        if is_given and given.format != kind:
            raise InputError(
                f"--{name}: expected --format={kind}, which it is for, received "
                f"--format={given.format}. Leave it out."
            )
    if given.format == "coco":
        return {"crowds": given.crowds, "background": given.background}
    return {"join_instances": given.instances} if given.format == "labelme" else {}


def label_reader(given) -> Callable[[PhotoFile], np.ndarray]:
    """`read_label` of the format that the flags name, as they want it."""
    colour = mask_files.parsed_colour(given.foreground_colour)
    read_label = FORMATS[given.format].read_label
    if colour is None:
        return read_label
    if given.format != "folders":
        raise InputError(
            f"{mask_files.FLAG}: expected --format=folders, whose masks have one colour, "
            f"received --format={given.format}. Leave it out."
        )
    return functools.partial(read_label, colour=colour)


def _check_none_given(*others):
    if any(others):
        raise InputError(
            "--evaluation_only: expected no --folds, --test_classes, --val_list or "
            "--train_list with it, received one. It takes all photos, to evaluate on."
        )


def _check_listing(listing, on_error, source, fewest):
    if listing.problems and on_error == "stop":
        more = len(listing.problems) - 1
        raise InputError(
            f"{listing.problems[0]}{f' And {more} more.' if more else ''} --on_error=skip "
            "leaves such files out."
        )
    for note in listing.notes:  # a class without photos may only follow from the problems
        print(note)
    if listing.problems:
        print(f"{len(listing.problems)} files skipped:")
        for problem in listing.problems:
            print(f"  {problem}")
    if len(listing.class_names) < fewest:
        raise InputError(
            f"{source}: expected at least 2 classes, one to train on and one to test on (or "
            "one and --evaluation_only, to test on alone), received "
            f"{len(listing.class_names)} ({', '.join(listing.class_names) or 'none'}) on "
            f"{len(listing.photos)} photos. Add photos of other classes."
        )


def _dataset_name(given):
    name = pathlib.Path(given).absolute().name
    if name in known_folds.CLASS_NAMES:
        raise InputError(
            f"--name: expected another name than those of known data sets "
            f"({', '.join(known_folds.CLASS_NAMES)}), received {name!r}."
        )
    return name


def define_flags() -> None:
    """Called when this is the program: other builders have flags of the same names."""
    text = flags.DEFINE_string
    flags.DEFINE_enum("format", "folders", list(FORMATS), "How photos and labels are kept.")
    text("source", None, "Class folders; labelme: photos with JSON files; yolo: data.yaml.")
    text("annotations", None, "coco, labelstudio: the JSON file.")
    text("images", None, "coco, labelmaps, labelstudio: folder of the photos.")
    crowds = coco_content.CROWDS
    flags.DEFINE_enum("crowds", crowds[0], crowds, "coco: what iscrowd=1 means.")
    flags.DEFINE_enum(
        "background", None, coco_content.BACKGROUND, "coco: what a category background means."
    )
    flags.DEFINE_bool("instances", True, "labelme: cup-1, cup-2 are instances of cup.")
    text("labels", None, "labelmaps: folder of the label maps.")
    text("colours", None, "labelmaps: CSV or JSON table, NAME,ID or NAME,R,G,B.")
    mask_files.define_colour_flag()
    text("name", None, "Of the data set; default: the name of --out.")
    flags.DEFINE_integer("folds", None, "Folds the classes are dealt to; default 4.")
    flags.DEFINE_list("test_classes", None, "Instead: classes of the only fold, by name.")
    flags.DEFINE_float("val_share", VAL_SHARE, "Share of a class' photos held out.")
    text("val_list", None, "Instead: file of the photos held out, one a line.")
    text("train_list", None, "File of the others; default: all others.")
    flags.DEFINE_bool("evaluation_only", False, "Instead: all photos to evaluate on.")
    flags.DEFINE_enum("filter", "none", filters.FILTERS, "Small-object filter.")
    writing_flags.define_flags()


def main():
    given = flags.FLAGS
    read_label = label_reader(given)  # before the long work
    listing, source = list_photos(given)
    index = build_folder(
        listing,
        read_label,
        source=source,
        folds=given.folds,
        test_classes=given.test_classes,
        val_share=given.val_share,
        val_list=given.val_list and pathlib.Path(given.val_list),
        train_list=given.train_list and pathlib.Path(given.train_list),
        evaluation_only=given.evaluation_only,
        name=given.name,
        **writing_flags.options_of(given),
    )
    print(table(index))


if __name__ == "__main__":
    cli.run(main, define_flags)
