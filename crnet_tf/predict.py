"""Finds, in your own photos, what you labelled in one or a few others.

    python -m crnet_tf.predict --checkpoint=runs/voc1/best.keras --support=cat.jpg \\
        --support_mask=cat_mask.png --query=photos/ --out=found

Writes, for each query photo and at its own size, `NAME_mask.png` (0 or 255),
`NAME_probability.png` (0..255) and `NAME_overlay.png`; `panel.png`, an overview of the
first queries; and `photos.csv`: how sure it is that the object is there (0..1), and
its share of the photo. Needs no training: the support photos are all it learns from.

--format=coco,labelme,labelstudio,yolo,voc,png writes for other tools, one or several:

    python -m crnet_tf.predict --support=cat.jpg --support_mask=cat_mask.png \\
        --query=photos/ --out=found --format=coco,labelme --instances

Of a film every frame is searched, or one in so many seconds; with FILM_overlay.mp4:

    python -m crnet_tf.predict --support=cat.jpg --support_mask=cat_mask.png \\
        --query=clip.mp4 --every=0.5 --out=found
"""

import dataclasses
import pathlib

import numpy as np
from absl import flags

from crnet_tf.annotations import writing
from crnet_tf.common import cli, fields, files, threads
from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.fewshot.engines import ENGINES
from crnet_tf.fewshot.segmenter import Segmenter
from crnet_tf.images import drawing, films, mask_files, png_files
from crnet_tf.images.labelled import LabelledPhoto, read_labelled
from crnet_tf.images.output_files import TABLE, check_apart, output_names
from crnet_tf.images.photo_folder import define_negative_flag, paths_of, query_paths
from crnet_tf.network.checkpoint import checkpoint_or_start
from crnet_tf.options import IN_USE, KSHOT, Options

MAX_PANELS = 16  # rows of panel.png
PANEL_CELL = 240  # px, side of a photo in it
MOST_UNWRITTEN = 2  # answers, as large as their photos


def predict(
    segmenter: Segmenter,
    queries: list[pathlib.Path],
    out: pathlib.Path,
    every: float = 0,
    **options,
) -> tuple[int, list[str]]:
    """Writes what is found in every query into `out`, and with the pictures of one class
    `panel.png`.

    Args:
        queries: files; in a list of several, one that is no photo is skipped. Or one film.
        every: seconds from one frame of a film to the next that is searched; 0: all are.
        options: of `writing.Results`: formats and what they hold.

    Returns:
        How many photos or frames were searched, and why others were not, one line each.

    Raises:
        ValueError: no query is a photo.
    """
    panels, skipped = [], []
    names = dict(zip(map(str, queries), output_names(queries), strict=True))
    searched_in = queries[0] if is_one_film(queries) else queries
    (example, *_), *others = segmenter.classes.values()
    with_panels = not others and "png" in options.get("formats", ["png"])
    with writing.results(out, **options) as written:

        def searched():
            for found in segmenter.predict(searched_in, skipped, every):
                if with_panels and len(panels) < MAX_PANELS:
                    panels.append(panel(example, found))
                yield found

        def write(found):
            path = pathlib.Path(found.photo.name)
            name = names.get(found.photo.name) or output_names([path])[0]  # of a frame
            written.add(found.answer(path, name))

        # Written in the photos' order while the next ones are searched.
        for done in threads.futures_of(write, searched(), threads=1, ahead=MOST_UNWRITTEN):
            done.result()
    if panels:
        png_files.write_png(out / "panel.png", drawing.contact_sheet(panels))
    return len(written.rows), skipped


def is_one_film(queries: list[pathlib.Path]) -> bool:
    """Whether a film is searched and not photos; among photos films are skipped."""
    return len(queries) == 1 and films.is_film(queries[0])


def panel(example: LabelledPhoto, found) -> np.ndarray:
    """A row of `panel.png`: an example, a photo, and what was found in it."""
    photo = found.photo.image
    return drawing.row(
        [
            ("example", example.image, example.mask),
            ("photo", photo, None),
            (f"found, presence {found.presence:.2f}", photo, found.mask),
        ],
        PANEL_CELL,
    )


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
    define_negative_flag()
    text("query", None, "Photo, folder of photos, or film, to segment.", required=True)
    number("every", 0, "Seconds from one frame of a film to the next; 0: all frames.", 0)
    text("out", None, "Folder for the results.", required=True)
    writing.define_flags()
    said = "Probability above which a pixel is foreground."
    number("threshold", 0.5, said, 0, upper_bound=1)
    flags.DEFINE_enum("kshot", IN_USE["kshot"], KSHOT, "Use of several supports.")
    flags.DEFINE_enum(
        "engine",
        "auto",
        ENGINES,
        "litert starts ten times as fast, from a file that is written once; litert_int8: with "
        "weights of 8 bits; auto: the faster of these, where LiteRT is installed and the "
        "options allow it, from the second run on.",
    )
    fields.define_flags(Options, defaults=IN_USE)


def check_supports(args) -> None:
    """Raises InputError unless every support has its mask and, of several classes, its name."""
    count = len(args.support)
    if count != len(args.support_mask):
        raise InputError(
            "Expected as many --support_mask as --support, received "
            f"{len(args.support_mask)} and {count}."
        )
    if args.support_class and len(args.support_class) != count:
        raise InputError(
            "Expected as many --support_class as --support, received "
            f"{len(args.support_class)} and {count}."
        )
    if args.support_class and not all(name.strip() for name in args.support_class):
        raise InputError(
            "--support_class: expected a name for each support, received an empty one in "
            f"{','.join(args.support_class)!r}."
        )


def run(args, options: Options) -> None:
    """The command line: `args` has its flags as attributes."""
    check_supports(args)
    written_as = writing.chosen(args)
    out, queries = pathlib.Path(args.out), query_paths(args.query)
    is_film = is_one_film(queries)
    if args.every and not is_film:
        raise InputError(f"--every: expected a film, received --query={args.query}.")
    if is_film:
        films.Film(queries[0])  # whether it can be read
    negatives = paths_of(args.negative)
    check_apart(out, args.query, *args.support, *args.support_mask)
    colour = mask_files.parsed_colour(args.foreground_colour)
    supports = [  # before a network is loaded, which takes long
        read_labelled(photo, mask, args.class_id, colour)
        for photo, mask in zip(args.support, args.support_mask, strict=True)
    ]
    for support, name in zip(supports, args.support_mask, strict=True):
        if np.all(support.mask):
            print(f"{name}: everything is marked. Is it inverted, or does it hold void only?")
    if options.leave_one_out and len(supports) == 1:
        print("--leave_one_out: of a single support nothing is left; it does nothing.")
    files.make_folder(out)
    classes = {}
    for name, support in zip(
        args.support_class or ["object"] * len(supports), supports, strict=True
    ):
        classes.setdefault(name, []).append(support)
    checkpoint, options = checkpoint_or_start(args.checkpoint), dataclasses.asdict(options)
    segmenter = Segmenter(checkpoint, threshold=args.threshold, engine=args.engine, **options)
    segmenter.fit(classes, negatives=negatives)
    count, skipped = predict(segmenter, queries, out, args.every, **written_as)
    for reason in skipped:
        print(f"Skipped {reason}")
    kind = "frames" if is_film else "photos"
    print(f"{count} {kind} segmented, see {out}. Scores: {out}/{TABLE}")
    if args.engine == "auto":
        prepare(segmenter)


def prepare(segmenter: Segmenter) -> None:
    """Has the next run start sooner; this one has done its work, whatever comes of it."""
    try:
        if segmenter.prepare():
            print("The next run with this checkpoint starts ten times as fast (--engine).")
    except (BlockedError, OSError) as error:
        print(f"The next run starts no faster: {error}")


def main():
    args = flags.FLAGS
    run(args, fields.from_flags(Options, {"kshot": args.kshot}, args))


if __name__ == "__main__":
    cli.run(main, define_flags)
