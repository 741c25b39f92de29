"""The embedded demo set: a few-shot benchmark drawn on the spot, in VOC layout and as records.

    python -m pipelines.build_demo --out=data/demo

Makes `data/demo/VOC` (JPEGImages, SegmentationClassAug, ImageSets) and, the same way as
`build_voc`, `data/demo/records`. 20 classes in four folds as in PASCAL-5i; objects of 2 or 3
classes in every photo, so that segmenting what stands out, without a look at the support,
fails. 640 photos of 96..128 px; the same seed gives the same bytes.
"""

from absl import flags

from crnet_tf.common import cli
from crnet_tf.data.demo.build import TRAIN_PHOTOS, build_demo
from pipelines.checking.audit import audit


def define_flags() -> None:
    """Called when this is the program: build_voc has flags of the same names."""
    flags.DEFINE_string("out", "data/demo", "Folder to make.")
    flags.DEFINE_integer("seed", 0, "Of everything drawn.")
    flags.DEFINE_integer("photos", TRAIN_PHOTOS, "Training photos; a third of it for val.")
    flags.DEFINE_bool("overwrite", False, "Draw and build again what is there.")


def main():
    given = flags.FLAGS
    print(
        audit(
            build_demo(given.out, given.seed, given.photos, given.photos // 3, given.overwrite)
        )
    )


if __name__ == "__main__":
    cli.run(main, define_flags)
