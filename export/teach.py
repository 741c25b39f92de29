"""Teaches a class from labelled photos, and exports a model that finds it in any photo.

    python -m export.teach --checkpoint=runs/voc1/best.keras --support_dir=mugs \\
        --out=models/mugs

`mugs/` holds photos and masks: `a.jpg` with `a_mask.png`, or with `masks/a.png`. The class is
called as the folder is; folders within it are several classes. The SavedModel takes photos and
gives masks: 0 background, n the nth class. It is compared with the checkpoint on up to three
labelled photos (or of `--query`); one that answers otherwise is removed. With
`--tflite=float16,int8` the same in TFLite files lies in its `assets.extra`, for phones.
"""

from absl import flags

from crnet_tf.common import cli, fields
from crnet_tf.images import mask_files, photo_folder
from crnet_tf.options import IN_USE, KSHOT, Options
from export.graph.settings import Settings, Sizes
from export.package.inputs import TFLITE_FORMATS, read_queries

MOST_REPRESENTATIVE = 100  # photos that int8 is calibrated on


def define_flags():
    text = flags.DEFINE_string
    text("checkpoint", None, "A .keras file written by training; default: the one of CRNet-TF.")
    text("support_dir", None, "Folder of labelled photos, or of classes.", required=True)
    mask_files.define_colour_flag()
    photo_folder.define_negative_flag()
    text("out", None, "Folder above the numbered versions.", required=True)
    flags.DEFINE_integer("version", None, "Number of this version; default: the next one.", 1)
    text("query", None, "Photo, or folder of photos, to compare on.")
    flags.DEFINE_enum("kshot", IN_USE["kshot"], KSHOT, "Use of several supports.")
    fields.define_flags(Options, defaults=IN_USE)
    fields.define_flags(Settings)
    kinds = ", ".join(TFLITE_FORMATS)
    flags.DEFINE_list("tflite", [], f"TFLite files besides, in assets.extra: some of {kinds}.")
    fields.define_flags(Sizes)


def main():
    from crnet_tf.data import labelled_folder
    from crnet_tf.images import photos
    from crnet_tf.images.labelled import LabelledPhoto
    from crnet_tf.network.checkpoint import checkpoint_or_start
    from export.package import fixed_size_files, tflite
    from export.package.teach import teach

    args = flags.FLAGS
    options = fields.from_flags(Options, {"kshot": args.kshot}, args)
    settings = fields.from_flags(Settings, {}, args)
    sizes = fields.from_flags(Sizes, {}, args)
    kinds = tflite.named(args.tflite)
    colour = mask_files.parsed_colour(args.foreground_colour)
    classes = labelled_folder.read_classes(args.support_dir, colour)
    for number, (name, supports) in enumerate(classes.items(), 1):
        print(f"Class {number}: {name}, {len(supports)} labelled photos")
    negatives = [photos.read_photo(path) for path in photo_folder.paths_of(args.negative)]
    most = fixed_size_files.photos_needed(kinds, MOST_REPRESENTATIVE)
    queries = read_queries(args.query, most) if args.query else []
    checkpoint = checkpoint_or_start(args.checkpoint)
    print("Difference between signature, or file, and checkpoint:")
    folder = teach(
        checkpoint,
        classes,
        args.out,
        options=options,
        settings=settings,
        version=args.version,
        queries=queries,
        negatives=[LabelledPhoto(image) for image in negatives],
        formats=kinds,
        sizes=sizes,
    )
    print(f"Written: {folder}")


if __name__ == "__main__":
    cli.run(main, define_flags)
