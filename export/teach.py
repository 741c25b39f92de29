"""Teaches a class from labelled photos, and exports a model that finds it in any photo.

    python -m export.teach --checkpoint=runs/voc1/best.keras --support_dir=mugs \\
        --out=models/mugs

`mugs/` holds photos and masks: `a.jpg` with `a_mask.png`, or with `masks/a.png`. The class is
called as the folder is; folders within it are several classes. The SavedModel takes photos and
gives masks: 0 background, n the nth class. It is compared with the checkpoint on up to three
labelled photos (or of `--query`); one that answers otherwise is removed. With
`--tflite=float16,int8` the same in TFLite files lies in its `assets.extra`, for phones.
"""

import dataclasses
import itertools
import os
import pathlib

from absl import flags

from crnet_tf import cli, fields, model
from crnet_tf.features import Photo
from crnet_tf.fewshot import Learner
from crnet_tf.options import KSHOT, Options
from export import (
    batching,
    labelled_folder,
    metadata,
    parity,
    portable,
    signatures,
    taught,
    tflite,
    versions,
    warmup,
)
from export.fixed import Sizes
from export.portable import Format
from export.saved_model import read_queries
from export.settings import Settings

MOST_REPRESENTATIVE = 100  # photos that int8 is calibrated on


def teach(
    checkpoint: str | os.PathLike,
    classes: dict[str, list[Photo]],
    out: str | os.PathLike,
    options: Options | None = None,
    settings: Settings | None = None,
    version: int | None = None,
    queries: list[Photo] = (),
    formats: list[Format] = (),
    sizes: Sizes | None = None,
) -> pathlib.Path:
    """Writes a version folder of a model that knows these classes.

    Args:
        classes: labelled photos by name; see `labelled_folder.read_classes`.
        out: the folder above the versions. version: its number; default: the next one.
        queries: photos to compare on, the first three; default: a labelled one of each class.
        formats: of files beside the SavedModel, in `assets.extra`. sizes: of their photos.

    Returns:
        The folder written.

    Raises:
        RuntimeError: it answers other than the checkpoint does.
        FileExistsError, ValueError: see `versions.new_version`, `taught.learn`.
    """
    options, settings = options or Options(), settings or Settings()
    taught.check_options(options)
    queries = queries or [photos[0] for photos in classes.values()]
    parity.check_sizes(queries, settings)
    network = model.in_float32(model.load_checkpoint(checkpoint))
    with versions.new_version(pathlib.Path(out), version) as (number, work):
        # In here, since fine-tuning takes long: a version that is there is said first.
        learner = Learner(network, options, keep_features=True)
        learnt = [taught.learn(learner, name, photos) for name, photos in classes.items()]
        exported = taught.Taught(learner, learnt, settings)
        text = metadata.describe(
            network,
            checkpoint,
            settings,
            number,
            kind="taught",
            class_names=list(classes),
            refine_steps=exported.steps,
            supports={name: len(photos) for name, photos in classes.items()},
            thresholds={one.name: one.example.threshold for one in learnt},
            options=dataclasses.asdict(options),
        )
        archive = signatures.archive(exported.signatures(), text)
        archive.write_out(str(work), verbose=False)
        metadata.write(work, text)
        examples = [one.example for one in learnt]
        parity.check(parity.taught(work, examples, settings, queries))
        batching.write(work)
        warmup.write(work, batching.SIZES)
        if formats:
            fixed = portable.taught(exported, (sizes or Sizes()).of(network), queries)
            episodes = [([], photo) for photo in itertools.chain(*classes.values(), queries)]
            portable.write(work / metadata.FILE.parent, fixed, formats, episodes)
    return pathlib.Path(out) / str(number)


def define_flags():
    text = flags.DEFINE_string
    text("checkpoint", None, "A .keras file written by training; default: the one of CRNet-TF.")
    text("support_dir", None, "Folder of labelled photos, or of classes.", required=True)
    text("out", None, "Folder above the numbered versions.", required=True)
    flags.DEFINE_integer("version", None, "Number of this version; default: the next one.", 1)
    text("query", None, "Photo, or folder of photos, to compare on.")
    flags.DEFINE_enum("kshot", "fusion", KSHOT, "Use of several supports.")
    fields.define_flags(Options)
    fields.define_flags(Settings)
    kinds = ", ".join(tflite.FORMATS)
    flags.DEFINE_list("tflite", [], f"TFLite files besides, in assets.extra: some of {kinds}.")
    fields.define_flags(Sizes)


def main():
    args = flags.FLAGS
    options = fields.from_flags(Options, {"kshot": args.kshot}, args)
    settings = fields.from_flags(Settings, {}, args)
    sizes = fields.from_flags(Sizes, {}, args)
    kinds = tflite.named(args.tflite)
    classes = labelled_folder.read_classes(args.support_dir)
    for number, (name, supports) in enumerate(classes.items(), 1):
        print(f"Class {number}: {name}, {len(supports)} labelled photos")
    most = portable.photos_needed(kinds, MOST_REPRESENTATIVE)
    queries = read_queries(args.query, most) if args.query else []
    checkpoint = model.checkpoint_or_start(args.checkpoint)
    print("Difference between signature, or file, and checkpoint:")
    folder = teach(
        checkpoint,
        classes,
        args.out,
        options,
        settings,
        args.version,
        queries,
        kinds,
        sizes,
    )
    print(f"Written: {folder}")


if __name__ == "__main__":
    define_flags()
    flags.adopt_module_key_flags(fields)
    cli.run(main)
