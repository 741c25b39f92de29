"""FSS-1000 -> records.

    python -m pipelines.build_fss1000 --fss_dir=fewshot_data --test_list=fss_test_set.txt \
        --out=records/fss1000

    fewshot_data/abacus/1.jpg, 1.png ... 10.jpg, 10.png     a photo and its mask, 224x224

The 240 test classes are official (fss_test_set.txt, one name a line). The other 760 train and
validate; which of them, every author draws anew: give `--val_list`, or 240 of them are taken
by a hash of their names (ours). All photos of the classes that train go to the train split,
all others to val. Some published files are broken or misnamed: they are skipped and counted.
"""

import functools
import hashlib
import pathlib

import numpy as np
from absl import flags

from crnet_tf.annotations.listing import PhotoFile, read_lines
from crnet_tf.common import cli
from crnet_tf.common.errors import InputError
from crnet_tf.data.records import Index
from crnet_tf.data.writing import writer
from crnet_tf.data.writing.examples import make_example
from crnet_tf.images import mask_files, photos
from crnet_tf.images.mask_values import label_value
from pipelines.writing import flags as writing_flags

DATASET = "fss1000"
NUM_VALIDATION = 240
PHOTO_SUFFIXES, MASK_SUFFIX = (".jpg", ".jpeg"), ".png"  # in any case of letters


def build_fss1000(
    fss_dir: photos.PathLike,
    out: photos.PathLike,
    test_list: photos.PathLike,
    val_list: photos.PathLike | None = None,
    on_error: str = "skip",
    **options,
) -> Index:
    """Builds the records of FSS-1000.

    Args:
        fss_dir: the folder of class folders.
        out: folder of records to make.
        test_list: file of the test classes, a name a line.
        val_list: file of the classes to select checkpoints on; None draws 240 of the others,
            or a third where there are fewer.
        on_error, options: as in `writer.write_records`.

    Raises:
        FileNotFoundError, ValueError: the input is not as it should be.
        FileExistsError, RuntimeError, OSError: see `writer.write_records`.
    """
    root = pathlib.Path(fss_dir)
    names = list_classes(root)
    test = read_names(test_list, names)
    rest = [name for name in names if name not in test]
    validation = read_names(val_list, rest) if val_list else draw_validation(rest)
    splits = {"train": [], "val": []}
    for class_id, name in enumerate(names, 1):
        held_out = name in test or name in validation
        splits["val" if held_out else "train"] += list_photos(root / name, class_id)
    return writer.write_records(
        out,
        splits,
        functools.partial(_make_item, num_classes=len(names)),
        dataset=DATASET,
        source=str(root),
        filter="none",
        class_names=names,
        on_error=on_error,
        folds=[_ids(names, test)],
        validation_folds=[_ids(names, validation)],
        **options,
    )


def list_classes(root: pathlib.Path) -> list[str]:
    """Names of the class folders, sorted: class ids are 1, 2, ... in this order."""
    names = [
        folder.name
        for folder in (sorted(root.iterdir()) if root.is_dir() else [])
        if folder.is_dir() and not folder.name.startswith(".") and _files(folder)
    ]
    if not names:
        raise FileNotFoundError(
            f"--fss_dir: expected class folders with 1.jpg, 1.png ..., received none in "
            f"{str(root)!r}. Point it to the folder that holds abacus, ab_wheel ..."
        )
    return names


def list_photos(folder: pathlib.Path, class_id: int) -> list[PhotoFile]:
    """Photos and masks of a class folder, in the order of their numbers.

    Where one of the two is missing, the other one is listed all the same: reading it says so.
    """
    files = _files(folder)
    photos_of = {path.stem: path for path in files if path.suffix.lower() != MASK_SUFFIX}
    masks_of = {path.stem: path for path in files if path.suffix.lower() == MASK_SUFFIX}
    found = []
    for stem in sorted(photos_of | masks_of, key=lambda name: (len(name), name)):
        photo = photos_of.get(stem, folder / f"{stem}{PHOTO_SUFFIXES[0]}")
        label = masks_of.get(stem, folder / f"{stem}{MASK_SUFFIX}")
        found.append(PhotoFile(f"{folder.name}/{stem}", photo, label, (class_id,)))
    return found


def _files(folder):
    suffixes = (*PHOTO_SUFFIXES, MASK_SUFFIX)
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return [path for path in paths if path.suffix.lower() in suffixes]


def draw_validation(names: list[str]) -> set[str]:
    """240 of 760 names (of fewer a third) by their SHA-256: ours, as no split is official."""
    by_hash = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return set(by_hash[: min(NUM_VALIDATION, len(names) // 3)])


def read_names(path: photos.PathLike, known: list[str]) -> set[str]:
    """The class names in a file, one a line; all must be `known`."""
    # Some copies hold paths, "/abacus".
    names = {line.strip("/").rpartition("/")[2] for line in read_lines(path)} - {""}
    unknown = sorted(names - set(known))
    if unknown or not names or len(names) == len(known):
        raise InputError(
            f"{path}: expected names of some class folders, one a line, received {len(names)}, "
            f"{len(unknown)} of them unknown or used otherwise "
            f"({', '.join(unknown[:3]) or 'none'}). Complete the folders, or correct the list."
        )
    return names


def read_label(photo: PhotoFile) -> np.ndarray:
    """Label map uint8 [H,W]: the class where the grey mask is at least 128."""
    mask = mask_files.read_grey_mask(photo.label)
    mask_files.check_foreground(mask, photo.label)
    return mask * np.uint8(label_value(photo.classes[0]))


def table(index: Index) -> str:
    """What the records hold, and what was skipped, as text."""
    lines = [f"{index.directory}: {index.dataset}, {len(index.class_names)} classes"]
    roles = {
        "train": ("train", index.train_classes(0)),
        "validate": ("val", index.validation_classes(0)),
        "test": ("val", index.test_classes(0)),
    }
    for role, (split, classes) in roles.items():
        counts = [index.count(split, c) for c in classes]
        short = sum(count < 10 for count in counts)
        lines.append(
            f"{role}: {len(classes)} classes, {sum(counts):,} photos"
            + (f"; {short} classes with fewer than 10" if short else "")
        )
    skipped = sum(content["skipped"] for content in index.splits.values())
    return "\n".join([*lines, f"skipped: {skipped} photos"])


def _ids(names, chosen):
    return [class_id for class_id, name in enumerate(names, 1) if name in chosen]


def _make_item(photo, num_classes):
    return make_example(
        photo.path,
        read_label(photo),
        filter="none",
        num_classes=num_classes,
        filename=photo.name,
        classes=photo.classes,
    )


def define_flags() -> None:
    """Called when this is the program: other builders have flags of the same names."""
    text = flags.DEFINE_string
    text("fss_dir", None, "The folder of class folders.", required=True)
    text("test_list", None, "fss_test_set.txt: test classes, a name a line.", required=True)
    text("val_list", None, "Classes to select checkpoints on; default: 240 by a hash.")
    text("out", None, "Folder of records to make.", required=True)
    writing_flags.define_flags(on_error="skip")


def main():
    given = flags.FLAGS
    index = build_fss1000(
        given.fss_dir,
        given.out,
        given.test_list,
        given.val_list,
        **writing_flags.options_of(given),
    )
    print(table(index))


if __name__ == "__main__":
    define_flags()
    flags.adopt_module_key_flags(writing_flags)
    cli.run(main)
