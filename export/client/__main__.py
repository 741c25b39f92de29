"""Finds things in photos by a model on a server: TF Serving, or `export.serve`.

    python -m export.client --server=localhost:8500 --model=crnet --support=a.jpg \\
        --support_mask=a_mask.png --query=photos/ --out=found

asks over gRPC; --server=http://localhost:8501 over REST. A taught model takes no supports.
Writes what `crnet_tf.predict` writes, `panel.png` aside: for each photo `NAME_mask.png`,
`NAME_probability.png` and `NAME_overlay.png`, and `photos.csv`. The supports are sent and
encoded once. --status and --metadata ask what the server has.
"""

import json
import pathlib

from absl import flags

from crnet_tf.common import cli
from crnet_tf.common.errors import InputError
from crnet_tf.images import mask_files, output_files, photo_folder, photos, png_files
from crnet_tf.images.labelled import read_labelled
from export.client.errors import TOO_LARGE, RemoteError
from export.client.segmenter import RemoteSegmenter
from export.client.server import Server
from export.client.target import Target

MODEL = "crnet"  # as `export/serving/models.config` calls it


def segment_folder(
    segmenter: RemoteSegmenter,
    queries: list[pathlib.Path],
    out: pathlib.Path,
    concurrency: int = 4,
) -> list[str]:
    """Writes what the model finds in every photo into `out`.

    Args:
        queries: files; in a list of several, one that is no photo, or that the server refuses
            as a photo, is skipped.
        concurrency: requests under way at a time, of one photo each.

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

    skipped, names = [], []
    with output_files.results(out) as written:
        photos_answered = photo_folder.each_photo(queries, ask, skipped, concurrency)
        for path, name, (image, answer) in photos_answered:
            if len(answer.presence) == 1:
                written.add_mask(
                    path, name, image, answer.mask, answer.probability[0], answer.presence[0]
                )
                continue
            numbered = [f"class {n}" for n in range(1, len(answer.presence) + 1)]
            names = names or segmenter.class_names() or numbered
            written.add_classes(path, name, image, answer.mask, answer.presence, names)
    return skipped


def upright_file(path: photos.PathLike) -> bytes:
    """A photo as a JPEG or PNG file that needs no turning, which no server does.

    Raises what `photos.read_photo` raises.
    """
    return photos.photo_bytes(path, png_files.FAST)[0]


def define_flags():
    text, number = flags.DEFINE_string, flags.DEFINE_integer
    text("server", None, "host:port (gRPC), or http://host:port (REST).", required=True)
    text("model", MODEL, "Name of the model there.")
    number("version", None, "Version to ask; default: the newest.", 1)
    text("label", None, "Version label to ask instead: stable, canary.")
    flags.DEFINE_bool("status", False, "Print the state of every version, and end.")
    flags.DEFINE_bool("metadata", False, "Print signatures and metadata, and end.")
    flags.DEFINE_list("support", [], "Labelled photo, or k: a.jpg,b.jpg; none if taught.")
    flags.DEFINE_list("support_mask", [], "Mask of each support photo.")
    number(
        "class_id", None, "Class to take from masks that are label maps.", 1, upper_bound=254
    )
    mask_files.define_colour_flag()
    text("query", None, "Photo, or folder of photos, to segment.")
    text("out", None, "Folder for the results.")
    number("concurrency", 4, "Requests under way at a time.", 1)
    flags.DEFINE_float("deadline", 60, "Seconds for an answer, retries included.", 0.001)
    number("attempts", 5, "How often an overloaded or absent server is asked.", 1)
    number("max_megabytes", 64, "Largest request, and over gRPC answer, MiB.", 1)


def main():
    args = flags.FLAGS
    target = Target(args.model, args.version, args.label)
    with Server(args.server, args.deadline, args.attempts, args.max_megabytes) as server:
        if args.status:
            for one in server.status(target):
                print(f"{args.model} version {one.version}: {one.state} {one.error}".rstrip())
        elif args.metadata:
            found = server.describe(target)
            inputs = found.signatures.items()
            said = {
                "version": found.version,
                "signatures": {name: of for name, of in inputs if not name.startswith("__")},
                "metadata": server.metadata(target),
            }
            print(json.dumps(said, indent=1))
        else:
            run(args, server, target)


def run(args, server: Server, target: Target) -> None:
    """Segments the photos that the flags name."""
    if not (args.query and args.out) or len(args.support) != len(args.support_mask):
        raise InputError(
            "Expected --query, --out and as many --support_mask as --support, received "
            f"--query={args.query or ''}, --out={args.out or ''}, {len(args.support_mask)} and "
            f"{len(args.support)} files. Without photos: --status or --metadata."
        )
    out, queries = pathlib.Path(args.out), photo_folder.query_paths(args.query)
    output_files.check_apart(out, args.query, *args.support, *args.support_mask)
    pairs = zip(args.support, args.support_mask, strict=True)
    colour = mask_files.parsed_colour(args.foreground_colour)
    masks = [read_labelled(*pair, args.class_id, colour).mask for pair in pairs]
    contents = list(map(upright_file, args.support))
    segmenter = RemoteSegmenter(server, target, contents, masks)
    skipped = segment_folder(segmenter, queries, out, args.concurrency)
    for reason in skipped:
        print(f"Skipped {reason}")
    print(
        f"{len(queries) - len(skipped)} photos segmented by version {segmenter.version}, see "
        f"{out}. Scores: {out}/{output_files.TABLE}"
    )


if __name__ == "__main__":
    define_flags()
    cli.run(main)
