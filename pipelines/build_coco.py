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

from crnet_tf.annotations import coco
from crnet_tf.annotations.coco_masks import pycocotools_mask
from crnet_tf.common import cli
from crnet_tf.common.errors import InputError
from crnet_tf.data import folds
from crnet_tf.data.records import Index
from crnet_tf.data.writing import filters, writer
from crnet_tf.data.writing.examples import make_example
from crnet_tf.images import photos
from crnet_tf.images.label_files import check_size
from pipelines.checking.audit import audit
from pipelines.writing import flags as writing_flags

DATASETS = {
    "interleaved": "coco20i",
    "contiguous": "coco20i-contiguous",
    "40-20-20": "coco40-20-20",
}
YEARS = ("2014", "2017")


def build_coco(
    coco_dir: photos.PathLike,
    out: photos.PathLike,
    split: str = "interleaved",
    filter: str = "area2048",
    year: str | None = None,
    on_error: str = "stop",
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
        on_error, options: as in `writer.write_records`.

    Raises:
        FileNotFoundError, ValueError: the input is not as it should be.
        FileExistsError, RuntimeError: see `writer.write_records`; or pycocotools is missing.
    """
    pycocotools_mask()  # before the long work
    if split not in DATASETS:
        raise InputError(f"--split: expected one of {[*DATASETS]}, received {split!r}.")
    root = pathlib.Path(coco_dir)
    year = find_year(root, year)
    splits, class_ids = {}, {}
    for name in ("train", "val"):
        instances = _read(root, f"{name}{year}")
        if on_error == "stop":
            _check_photos(instances.photos)
        splits[name], class_ids = instances.photos, instances.class_ids
    return writer.write_records(
        out,
        splits,
        functools.partial(_make_item, class_ids=class_ids, filter=filter),
        dataset=DATASETS[split],
        source=f"{root}, COCO {year}",
        filter=filter,
        class_names=folds.COCO_CLASSES,
        on_error=on_error,
        **options,
    )


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
            "photos of one release side by side; BUILD.md, Data, says where to get them."
        )
    return year or found[0]


def _annotations(root, name):
    return root / "annotations" / f"instances_{name}.json"


def _read(root, name):
    instances = coco.read_instances(_annotations(root, name), root / name, folds.COCO_CLASSES)
    print(
        f"{name}: {len(instances.photos):,} photos with annotations; {instances.bare:,} "
        "without, left out",
        flush=True,
    )
    return instances


def _check_photos(listed):
    """Before the long work rather than in its midst."""
    missing = [str(photo.file) for photo in listed if not photo.file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"expected every annotated photo, received {len(listed) - len(missing)} of "
            f"{len(listed)}; missing: {', '.join(missing[:3])}"
            f"{' ...' if len(missing) > 3 else ''}. Unpack the photos again, or leave such out "
            "with --on_error=skip."
        )


def _make_item(photo, class_ids, filter):
    check_size(photo.file, (photo.height, photo.width))
    label = coco.draw_label(photo, class_ids)
    return make_example(photo.file, label, filter, len(class_ids))


def define_flags() -> None:
    """Called when this is the program: other builders have flags of the same names."""
    flags.DEFINE_string("coco_dir", None, "Holds annotations/, train2014/ ...", required=True)
    flags.DEFINE_string("out", None, "Folder of records to make.", required=True)
    flags.DEFINE_enum("split", "interleaved", [*DATASETS], "Classes of a fold.")
    flags.DEFINE_enum("filter", "area2048", filters.FILTERS, "Small-object filter.")
    flags.DEFINE_enum("year", None, YEARS, "Release; default: the one that is there.")
    writing_flags.define_flags()


def main():
    given = flags.FLAGS
    index = build_coco(
        given.coco_dir,
        given.out,
        given.split,
        given.filter,
        given.year,
        **writing_flags.options_of(given),
    )
    print(audit(index))


if __name__ == "__main__":
    define_flags()
    flags.adopt_module_key_flags(writing_flags)
    cli.run(main)
