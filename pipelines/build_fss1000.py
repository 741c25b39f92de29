r"""FSS-1000 -> records.

    python -m pipelines.build_fss1000 --fss_dir=fewshot_data --test_list=fss_test_set.txt \
        --out=records/fss1000

    fewshot_data/abacus/1.jpg, 1.png ... 10.jpg, 10.png     a photo and its mask, 224x224

The 240 test classes are official (fss_test_set.txt, one name a line). The other 760 train and
validate; which of them, every author draws anew: give `--val_list`, or 240 of them are taken
by a hash of their names (ours). All photos of the classes that train go to the train split,
all others to val. Some published files are broken or misnamed: they are skipped and counted.
"""

import functools
import pathlib

from absl import flags

from crnet_tf.common import cli
from crnet_tf.data.index import Index
from crnet_tf.images import mask_files, photos
from pipelines.sources import fss1000
from pipelines.writing import flags as writing_flags
from pipelines.writing.listed import write_listed

DATASET = "fss1000"


def build_fss1000(
    fss_dir: photos.PathLike,
    out: photos.PathLike,
    test_list: photos.PathLike,
    val_list: photos.PathLike | None = None,
    on_error: str = "skip",
    colour: tuple[int, int, int] | None = None,
    **options,
) -> Index:
    """Builds the records of FSS-1000.

    Args:
        fss_dir: the folder of class folders.
        out: folder of records to make.
        test_list: file of the test classes, a name a line.
        val_list: file of the classes to select checkpoints on; None draws 240 of the others,
            or a third where there are fewer.
        colour: RGB that is foreground in the masks; None reads them as black and white.
        on_error, options: as in `write_listed`.

    Raises:
        FileNotFoundError, ValueError: the input is not as it should be.
        FileExistsError, RuntimeError, OSError: see `write_listed`.
    """
    root = pathlib.Path(fss_dir)
    names = fss1000.list_classes(root)
    test = fss1000.read_names(test_list, names)
    rest = [name for name in names if name not in test]
    if val_list:
        validation = fss1000.read_names(val_list, rest)
    else:
        validation = fss1000.draw_validation(rest)
    splits = {"train": [], "val": []}
    for class_id, name in enumerate(names, 1):
        held_out = name in test or name in validation
        splits["val" if held_out else "train"] += fss1000.list_photos(root / name, class_id)
    return write_listed(
        out,
        splits,
        functools.partial(fss1000.read_label, colour=colour),
        dataset=DATASET,
        source=str(root),
        filter="none",
        class_names=names,
        on_error=on_error,
        folds=[_ids(names, test)],
        validation_folds=[_ids(names, validation)],
        **options,
    )


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


def define_flags() -> None:
    """Called when this is the program: other builders have flags of the same names."""
    text = flags.DEFINE_string
    text("fss_dir", None, "The folder of class folders.", required=True)
    text("test_list", None, "fss_test_set.txt: test classes, a name a line.", required=True)
    text("val_list", None, "Classes to select checkpoints on; default: 240 by a hash.")
    mask_files.define_colour_flag()
    writing_flags.define_flags(on_error="skip")


def main():
    given = flags.FLAGS
    index = build_fss1000(
        given.fss_dir,
        test_list=given.test_list,
        val_list=given.val_list,
        colour=mask_files.parsed_colour(given.foreground_colour),
        **writing_flags.options_of(given),
    )
    print(table(index))


if __name__ == "__main__":
    cli.run(main, define_flags)
