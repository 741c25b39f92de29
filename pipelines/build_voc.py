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

import pathlib

from absl import flags

from crnet_tf.common import cli
from crnet_tf.data import folds
from crnet_tf.data.index import Index
from crnet_tf.data.writing import filters
from crnet_tf.images import photos
from pipelines.checking.audit import audit
from pipelines.sources import sbd, voc
from pipelines.writing import flags as writing_flags
from pipelines.writing.listed import write_listed

DATASET = "pascal5i"
DEFAULT_FILTER = {"pairs": "oslsm", "pfenet": "area2048"}


def build_voc(
    voc_dir: photos.PathLike,
    out: photos.PathLike,
    filter: str | None = None,
    sbd_dir: photos.PathLike | None = None,
    list_name: str = "pairs",
    dataset: str = DATASET,
    source: str | None = None,
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
        options: as in `write_listed`.

    Raises:
        FileNotFoundError, ValueError: the input is not as it should be.
        FileExistsError, RuntimeError: see `write_listed`.
    """
    root, sbd_root = voc.find_voc(voc_dir), sbd_dir and sbd.find_sbd(sbd_dir)
    folders = " + ".join(str(pathlib.Path(f)) for f in (voc_dir, sbd_dir) if f)
    return write_listed(
        out,
        voc.list_photos(root, sbd_root, list_name),
        voc.read_label,
        dataset=dataset,
        source=f"{folders}, list {list_name}" if source is None else source,
        filter=filter or DEFAULT_FILTER[list_name],
        class_names=folds.CLASS_NAMES[dataset],
        **options,
    )


def define_flags() -> None:
    """Called when this is the program: build_demo has flags of the same names."""
    flags.DEFINE_string("voc_dir", None, "VOC2012, VOCdevkit or its parent.", required=True)
    flags.DEFINE_string("sbd_dir", None, "SBD's benchmark_RELEASE, to merge.")
    flags.DEFINE_enum("list", "pairs", voc.LISTS, "Training photos: the table above.")
    flags.DEFINE_enum("filter", None, filters.FILTERS, "Small objects; default: the list's.")
    writing_flags.define_flags()


def main():
    given = flags.FLAGS
    index = build_voc(
        given.voc_dir,
        sbd_dir=given.sbd_dir,
        list_name=given.list,
        **writing_flags.options_of(given),
    )
    print(audit(index, given.list))


if __name__ == "__main__":
    cli.run(main, define_flags)
