"""Finds a thing in any number of photos, on one machine or many.

    python -m pipelines.find --support_dir=mugs --photos='photos/**/*.jpg' --out=found

`mugs/` holds labelled photos (`a.jpg`, `a_mask.png`), or a folder of them a class. Writes masks
as COCO's run lengths into files of JSON lines, `index.csv` with presence and area of every
photo, and `failed.jsonl` with the photos that cannot be read. What is there already is not
searched again, so a run that was stopped is taken up by the same command.

`--photos` takes folders, patterns, lists of paths (.txt), tars and TFRecord files. With
`--ray=ADDRESS` the workers of a Ray cluster search.
"""

import dataclasses
import os
import pathlib

from absl import flags

from crnet_tf.common import cli, fields
from crnet_tf.common.errors import InputError
from crnet_tf.images import mask_files, photo_folder
from crnet_tf.options import IN_USE, KSHOT, Options
from pipelines.workers import pool

# `auto` may choose another engine on another machine, which answers a little differently.
ENGINES = ("keras", "litert", "litert_int8")


def define_flags():
    text = flags.DEFINE_string
    text("model", None, "What Segmenter.save wrote; instead of the flags of examples.")
    text("checkpoint", None, "A .keras file written by training; default: the one of CRNet-TF.")
    text("support_dir", None, "Folder of labelled photos, or of classes.")
    mask_files.define_colour_flag()
    photo_folder.define_negative_flag()
    flags.DEFINE_list(
        "photos",
        None,
        "Photos to search, one or several of: a folder, a pattern, a list of paths (.txt), a "
        ".tar, a .tfrecord.",
        required=True,
    )
    text("out", None, "Folder for the results.", required=True)
    flags.DEFINE_bool(
        "instances", False, "Each connected piece is an object; default: all of a class is one."
    )
    flags.DEFINE_integer(
        "shard_photos", 500, "Photos of a file of answers, which one worker searches.", 1
    )
    said = "Probability above which a pixel is foreground."
    flags.DEFINE_float("threshold", 0.5, said, 0, upper_bound=1)
    flags.DEFINE_enum("kshot", IN_USE["kshot"], KSHOT, "Use of several supports.")
    flags.DEFINE_enum(
        "engine", ENGINES[0], ENGINES, "litert: faster, see predict; litert_int8: 8 bits."
    )
    pool.define_flag()
    fields.define_flags(Options, defaults=IN_USE)


def learnt(args):
    """What is searched for, as the flags say.

    Raises:
        InputError, FileNotFoundError: both or neither of --model and --support_dir, or they
            are not as they should be.
    """
    from crnet_tf.data import labelled_folder
    from crnet_tf.fewshot import examples, learnt_files
    from crnet_tf.network.checkpoint import checkpoint_or_start

    if (args.model is None) == (args.support_dir is None):
        raise InputError("expected one of --model and --support_dir, received both or neither.")
    if args.model is not None:
        if os.path.isdir(args.model):
            raise InputError(
                f"--model: expected a file that Segmenter.save wrote, received the folder "
                f"{args.model}. Of a model of crnet teach give the examples: --support_dir."
            )
        return learnt_files.read(args.model, args.checkpoint)
    colour = mask_files.parsed_colour(args.foreground_colour)
    classes = labelled_folder.read_classes(args.support_dir, colour)
    negatives = [examples.as_photo(path) for path in photo_folder.paths_of(args.negative)]
    return learnt_files.Learnt(
        checkpoint_or_start(args.checkpoint),
        dataclasses.asdict(fields.from_flags(Options, {"kshot": args.kshot}, args)),
        args.threshold,
        classes,
        negatives,
    )


def main():
    from pipelines.finding.search import find

    args = flags.FLAGS
    metrics = find(
        args.photos,
        learnt(args),
        pathlib.Path(args.out),
        engine=args.engine,
        instances=args.instances,
        shard_photos=args.shard_photos,
        workers=pool.workers_at(args.ray),
    )
    print(
        f"{metrics['photos']:,} photos, {metrics['failed']:,} of them failed. This run: "
        f"{metrics['photos_of_this_run']:,}, {metrics['photos_per_second']} a second. "
        f"See {args.out}/index.csv."
    )


if __name__ == "__main__":
    cli.run(main, define_flags)
