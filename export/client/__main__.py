"""Finds things in photos by a model on a server: TF Serving, or `crnet serve`.

    python -m export.client --server=localhost:8500 --model=crnet --support=a.jpg \\
        --support_mask=a_mask.png --query=photos/ --out=found

asks over gRPC; --server=http://localhost:8501 over REST. A taught model takes no supports.
Writes what `crnet_tf.predict` writes, `panel.png` aside: for each photo `NAME_mask.png`,
`NAME_probability.png` and `NAME_overlay.png`, and `photos.csv`; or, by --format, files of
other tools. The supports are sent and encoded once. --status and --metadata ask what the
server has.
"""

import json

from absl import flags

from crnet_tf.annotations import writing
from crnet_tf.common import cli
from crnet_tf.images import mask_files
from export.client.target import Target

MODEL = "crnet"  # as `export/serving/models.config` calls it


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
    writing.define_flags()
    number("concurrency", 4, "Requests under way at a time.", 1)
    flags.DEFINE_float("deadline", 60, "Seconds for an answer, retries included.", 0.001)
    number("attempts", 5, "How often an overloaded or absent server is asked.", 1)
    number("max_megabytes", 64, "Largest request, and over gRPC answer, MiB.", 1)


def main():
    from export.client.folder import run
    from export.client.server import Server

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


if __name__ == "__main__":
    cli.run(main, define_flags)
