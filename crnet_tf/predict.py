"""Finds, in your own photos, what you labelled in one or a few others.

    python -m crnet_tf.predict --checkpoint=runs/voc1/best.keras --support=cat.jpg \\
        --support_mask=cat_mask.png --query=photos/ --out=found

Writes, for each query photo and at its own size, `NAME_mask.png` (0 or 255),
`NAME_probability.png` (0..255) and `NAME_overlay.png`; `panel.png`, the first queries with
every refinement step; and `photos.csv`: how sure it is that the object is there (0..1), and
its share of the photo. Needs no training: the support photos are all it learns from.
"""

import pathlib

import numpy as np
from absl import flags

from crnet_tf.common import cli, fields, files
from crnet_tf.common.errors import InputError
from crnet_tf.fewshot.answers import decided
from crnet_tf.fewshot.segmenter import Segmenter
from crnet_tf.images import drawing, mask_files, photos, png_files
from crnet_tf.images.labelled import LabelledPhoto, read_labelled
from crnet_tf.images.output_files import TABLE, check_apart, results
from crnet_tf.images.photo_folder import each_photo, query_paths
from crnet_tf.network.checkpoint import checkpoint_or_start, load_checkpoint
from crnet_tf.options import KSHOT, Options

MAX_PANELS = 16  # rows of panel.png


def predict(
    segmenter: Segmenter,
    example: LabelledPhoto,
    queries: list[pathlib.Path],
    out: pathlib.Path,
    threshold: float = 0.5,
) -> list[str]:
    """Writes mask, probability and overlay of every query, and `panel.png`, into `out`.

    Args:
        example: the support shown in the panel.
        queries: files; in a list of several, one that is no photo is skipped.
        threshold: foreground is what is more probable than this.

    Returns:
        Why files were skipped, one line each.

    Raises:
        ValueError: no query is a photo.
    """
    panels, skipped = [], []
    with results(out) as written:
        for path, name, image in each_photo(queries, photos.read_photo, skipped):
            query = LabelledPhoto(image, name=name)
            if len(panels) < MAX_PANELS:
                found, steps = segmenter.segment_and_steps(query, 2 * drawing.CELL)
                panel = drawing.panel(
                    example.image, example.mask, image, None, list(steps), threshold=threshold
                )
                panels.append(panel)
            else:
                found = segmenter.segment(query)
            mask = (found > threshold).astype(np.uint8)
            probability = np.uint8(np.round(255 * found))
            presence = segmenter.presence(query)
            written.add_mask(path, name, image, mask, probability, presence)
            segmenter.forget(query)
    png_files.write_png(out / "panel.png", drawing.contact_sheet(panels))
    return skipped


def predict_classes(
    segmenters: dict[str, Segmenter],
    queries: list[pathlib.Path],
    out: pathlib.Path,
    threshold: float = 0.5,
) -> list[str]:
    """Writes a label map and an overlay of every query, and a legend, into `out`.

    Args:
        segmenters: by class name; the nth class has the value n in `NAME_classes.png`, 0 is
            background.

    Returns, raises: as `predict`.
    """
    skipped = []
    with results(out) as written:
        for path, name, image in each_photo(queries, photos.read_photo, skipped):
            query = LabelledPhoto(image, name=name)
            found = [segmenter.segment(query) for segmenter in segmenters.values()]
            sure = [segmenter.presence(query) for segmenter in segmenters.values()]
            classes = decided(np.stack(found, axis=-1), threshold).numpy()
            written.add_classes(path, name, image, classes, sure, list(segmenters))
            for segmenter in segmenters.values():
                segmenter.forget(query)
    return skipped


def define_flags():
    text, number = flags.DEFINE_string, flags.DEFINE_float
    text("checkpoint", None, "A .keras file written by training; default: the one of CRNet-TF.")
    flags.DEFINE_list("support", None, "Labelled photo, or k: a.jpg,b.jpg.", required=True)
    flags.DEFINE_list("support_mask", None, "Mask of each support photo.", required=True)
    flags.DEFINE_integer(
        "class_id", None, "Class to take from masks that are label maps.", 1, upper_bound=254
    )
    mask_files.define_colour_flag()
    flags.DEFINE_list(
        "support_class", None, "Class name of each support, to tell several apart: cat,cat,dog."
    )
    text("query", None, "Photo, or folder of photos, to segment.", required=True)
    text("out", None, "Folder for the results.", required=True)
    number("threshold", 0.5, "Foreground is what is more probable.", 0, upper_bound=1)
    flags.DEFINE_enum("kshot", "fusion", KSHOT, "Use of several supports.")
    fields.define_flags(Options)


def run(args, options: Options | None = None) -> None:
    """The command line: `args` has its flags as attributes."""
    if len(args.support) != len(args.support_mask):
        raise InputError(
            "Expected as many --support_mask as --support, received "
            f"{len(args.support_mask)} and {len(args.support)}."
        )
    if args.support_class and len(args.support_class) != len(args.support):
        raise InputError(
            "Expected as many --support_class as --support, received "
            f"{len(args.support_class)} and {len(args.support)}."
        )
    if args.support_class and not all(name.strip() for name in args.support_class):
        raise InputError(
            "--support_class: expected a name for each support, received an empty one in "
            f"{','.join(args.support_class)!r}."
        )
    out, queries = pathlib.Path(args.out), query_paths(args.query)
    check_apart(out, args.query, *args.support, *args.support_mask)
    colour = mask_files.parsed_colour(args.foreground_colour)
    supports = [  # before a network is loaded, which takes long
        read_labelled(photo, mask, args.class_id, colour)
        for photo, mask in zip(args.support, args.support_mask, strict=True)
    ]
    for support, name in zip(supports, args.support_mask, strict=True):
        if np.all(support.mask):
            print(f"{name}: everything is marked. Is it inverted, or does it hold void only?")
    if options and options.leave_one_out and len(supports) == 1:
        print("--leave_one_out: of a single support nothing is left; it does nothing.")
    files.make_folder(out)
    network = load_checkpoint(checkpoint_or_start(args.checkpoint))
    if args.support_class:
        segmenters = _by_class(network, args.support_class, supports, options)
        skipped = predict_classes(segmenters, queries, out, args.threshold)
    else:
        segmenter = _segmenter(network, supports, options)
        skipped = predict(segmenter, supports[0], queries, out, args.threshold)
    for reason in skipped:
        print(f"Skipped {reason}")
    print(f"{len(queries) - len(skipped)} photos segmented, see {out}. Scores: {out}/{TABLE}")


def _by_class(network, class_names, supports, options):
    """{class name: Segmenter}; `class_names` has that of each support."""
    grouped = {}
    for class_name, support in zip(class_names, supports, strict=True):
        grouped.setdefault(class_name, []).append(support)
    segmenters, learner = {}, None
    for class_name, examples in grouped.items():
        segmenter = _segmenter(network, examples, options, learner)
        segmenters[class_name], learner = segmenter, segmenter.learner
    return segmenters


def _segmenter(network, supports, options, learner=None):
    images, masks, names = zip(*((s.image, s.mask, s.name) for s in supports), strict=True)
    return Segmenter(network, images, masks, names, options, learner)


def main():
    args = flags.FLAGS
    run(args, fields.from_flags(Options, {"kshot": args.kshot}, args))


if __name__ == "__main__":
    define_flags()
    flags.adopt_module_key_flags(fields)
    cli.run(main)
