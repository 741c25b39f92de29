"""MS COCO -> records for COCO-20i.

    python -m pipelines.build_coco --coco_dir=coco2014 --out=records/coco20i

    coco2014/annotations/instances_{train,val}2014.json    (or 2017)
    coco2014/{train2014,val2014}/*.jpg                     photos

Label maps are drawn from the instances, one photo at a time: crowds are void (255), smaller
objects stand before larger ones, category ids (1..90 with gaps) become 1..80. Photos without
annotations are left out and counted. Training takes the train photos, episodes of evaluation
the val photos.

| --split | data set | fold f tests on |
|---|---|---|
| interleaved | coco20i | f+1, f+5, ... f+77: FWB; PFENet, HSNet |
| contiguous | coco20i-contiguous | 20f+1 .. 20f+20: PANet |
| 40-20-20 | coco40-20-20 | fold 0 only: trains on 1..40, selects on 41..60, tests on 61..80 |

The paper trains on 40 classes, selects on 20 and tests on 20, but names them nowhere: their
order here is our choice. The records are the same; only the name in index.json differs.
"""

import functools
import pathlib

from absl import flags

from crnet_tf.annotations.coco_masks import pycocotools_mask
from crnet_tf.common import cli
from crnet_tf.common.errors import InputError
from crnet_tf.data import folds
from crnet_tf.data.index import Index
from crnet_tf.data.writing import filters
from crnet_tf.images import photos
from pipelines.checking.audit import audit
from pipelines.sources import coco_dataset
from pipelines.writing import flags as writing_flags
from pipelines.writing.listed import write_listed

DATASETS = {
    "interleaved": "coco20i",
    "contiguous": "coco20i-contiguous",
    "40-20-20": "coco40-20-20",
}


def build_coco(
    coco_dir: photos.PathLike,
    out: photos.PathLike,
    split: str = "interleaved",
    filter: str = "area2048",
    year: str | None = None,
    **options,
) -> Index:
    """Builds the records of MS COCO.

    Args:
        coco_dir: holds `annotations/` and the folders of photos.
        out: folder of records to make.
        split: which classes a fold tests on, a key of `DATASETS`.
        filter: as in `filters.listed_classes`; default PFENet's, at least 2 * 32 * 32 px of
            the label at its full size. How HSNet's lists were filtered is not documented.
        year: "2014" or "2017"; None takes the one that is there.
        options: as in `write_listed`.

    Raises:
        FileNotFoundError, ValueError: the input is not as it should be.
        FileExistsError, RuntimeError: see `write_listed`; or pycocotools is missing.
    """
    pycocotools_mask()  # before the long work
    if split not in DATASETS:
        raise InputError(f"--split: expected one of {[*DATASETS]}, received {split!r}.")
    root = pathlib.Path(coco_dir)
    year = coco_dataset.find_year(root, year)
    splits, class_ids = {}, {}
    for name in ("train", "val"):
        splits[name], class_ids = coco_dataset.list_photos(root, f"{name}{year}")
    return write_listed(
        out,
        splits,
        functools.partial(coco_dataset.read_label, class_ids=class_ids),
        dataset=DATASETS[split],
        source=f"{root}, COCO {year}",
        filter=filter,
        class_names=folds.COCO_CLASSES,
        **options,
    )


def define_flags() -> None:
    """Called when this is the program: other builders have flags of the same names."""
    flags.DEFINE_string("coco_dir", None, "Holds annotations/, train2014/ ...", required=True)
    flags.DEFINE_enum("split", "interleaved", [*DATASETS], "Classes of a fold.")
    flags.DEFINE_enum("filter", "area2048", filters.FILTERS, "Small-object filter.")
    flags.DEFINE_enum(
        "year", None, coco_dataset.YEARS, "Release; default: the one that is there."
    )
    writing_flags.define_flags()


def main():
    given = flags.FLAGS
    index = build_coco(
        given.coco_dir,
        split=given.split,
        year=given.year,
        **writing_flags.options_of(given),
    )
    print(audit(index))


if __name__ == "__main__":
    cli.run(main, define_flags)
