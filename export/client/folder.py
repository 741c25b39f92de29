"""What a model on a server finds in every photo of a folder, written as `predict` writes it."""

import pathlib

import numpy as np

from crnet_tf.annotations import writing
from crnet_tf.annotations.answers import PhotoAnswer
from crnet_tf.common.errors import InputError
from crnet_tf.images import mask_files, output_files, photo_folder, photos, png_files
from crnet_tf.images.labelled import read_labelled
from export.client.errors import TOO_LARGE, RemoteError
from export.client.segmenter import RemoteSegmenter
from export.client.server import Server
from export.client.target import Target


def segment_folder(
    segmenter: RemoteSegmenter,
    queries: list[pathlib.Path],
    out: pathlib.Path,
    concurrency: int = 4,
    **options,
) -> list[str]:
    """Writes what the model finds in every photo into `out`.

    Args:
        queries: files; in a list of several, one that is no photo, or that the server refuses
            as a photo, is skipped.
        concurrency: requests under way at a time, of one photo each.
        options: of `writing.Results`: formats and what they hold.

    Returns:
        Why files were skipped, one line each.

    Raises:
        ValueError: nothing is left.
        RemoteError: the server refuses anything else, or does not answer.
    """

    def ask(path):
        try:
            (answer,) = segmenter.segment([upright_file(path)])
        except RemoteError as error:
            if error.code not in ("INVALID_ARGUMENT", TOO_LARGE):
                raise
            raise InputError(f"{path}: {error}") from error
        return photos.read_photo(path), answer

    skipped, named = [], segmenter.metadata().get("class_names", [])
    with writing.results(out, **options) as written:
        photos_answered = photo_folder.each_photo(queries, ask, skipped, concurrency)
        for path, name, (image, answer) in photos_answered:
            names = named or numbered(len(answer.presence))
            probabilities = answer.probability / np.float32(255)
            found = answer.mask, probabilities, answer.presence, names
            written.add(PhotoAnswer(path, name, image, *found))
    return skipped


def numbered(count: int) -> list[str]:
    """Names of so many classes of a model that does not name them."""
    return ["object"] if count == 1 else [f"class {n}" for n in range(1, count + 1)]


def upright_file(path: photos.PathLike) -> bytes:
    """A photo as a JPEG or PNG file that needs no turning, which no server does.

    Raises what `photos.read_photo` raises.
    """
    return photos.photo_bytes(path, png_files.FAST)[0]


def run(args, server: Server, target: Target) -> None:
    """Segments the photos that the flags name."""
    if not (args.query and args.out) or len(args.support) != len(args.support_mask):
        raise InputError(
            "Expected --query, --out and as many --support_mask as --support, received "
            f"--query={args.query or ''}, --out={args.out or ''}, {len(args.support_mask)} and "
            f"{len(args.support)} files. Without photos: --status or --metadata."
        )
    written_as = writing.chosen(args)
    out, queries = pathlib.Path(args.out), photo_folder.query_paths(args.query)
    output_files.check_apart(out, args.query, *args.support, *args.support_mask)
    pairs = zip(args.support, args.support_mask, strict=True)
    colour = mask_files.parsed_colour(args.foreground_colour)
    masks = [read_labelled(*pair, args.class_id, colour).mask for pair in pairs]
    contents = list(map(upright_file, args.support))
    segmenter = RemoteSegmenter(server, target, contents, masks)
    skipped = segment_folder(segmenter, queries, out, args.concurrency, **written_as)
    for reason in skipped:
        print(f"Skipped {reason}")
    print(
        f"{len(queries) - len(skipped)} photos segmented by version {segmenter.version}, see "
        f"{out}. Scores: {out}/{output_files.TABLE}"
    )
