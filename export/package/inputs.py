"""Flags that every export has, and the photos that they name."""

from absl import flags

from crnet_tf.common import fields
from crnet_tf.common.errors import InputError
from crnet_tf.images import photo_folder, photos
from crnet_tf.images.labelled import LabelledPhoto, read_labelled
from crnet_tf.options import IN_USE, Options
from export.graph.settings import Settings, Sizes

MOST_QUERIES = 3  # photos that an export is compared on
TFLITE_FORMATS = ("float32", "float16", "dynamic", "int8")


def define_common_flags() -> None:
    """Those of every export of a few-shot network."""
    text, number = flags.DEFINE_string, flags.DEFINE_integer
    text("checkpoint", None, "A .keras file written by training; default: the one of CRNet-TF.")
    text("out", None, "Folder above the numbered versions.", required=True)
    number("version", None, "Number of this version; default: the next one.", 1)
    flags.DEFINE_enum(
        "kshot", IN_USE["kshot"], ["mean", "fusion"], "Use of several supports; see predict."
    )
    fields.define_flags(Options, only=["refine_steps"])
    flags.DEFINE_list("support", [], "Labelled photos to compare on.")
    flags.DEFINE_list("support_mask", [], "Mask of each support photo.")
    text("query", None, "Photo, or folder of photos, to compare on.")


def chosen_options(args) -> Options:
    """The `Options` that these flags name."""
    return fields.from_flags(Options, {"kshot": args.kshot}, args)


def define_fixed_size_flags() -> None:
    """Those of `export.tflite` and `export.onnx`."""
    define_common_flags()
    fields.define_flags(Settings, only=["threshold"])  # its bounds are a server's
    text, number = flags.DEFINE_string, flags.DEFINE_integer
    text("support_dir", None, "Folder of labelled photos, or of classes, to bake in.")
    number("shot", 1, "Number of labelled photos that enter together.", 1)
    text("records", "", "Folder of records to compare and calibrate on.")
    number("representatives", 100, "Episodes to calibrate on, at most.", 1)
    fields.define_flags(Sizes)


def read_examples(
    args, most: int = MOST_QUERIES
) -> tuple[list[LabelledPhoto], list[LabelledPhoto]] | None:
    """Supports and queries of the flags, of these at most `most`; None without.

    Raises:
        ValueError: some of the three flags are missing, or a photo or mask is wrong.
    """
    if not (args.support or args.support_mask or args.query):
        return None
    if not (args.support and args.query) or len(args.support) != len(args.support_mask):
        raise InputError(
            "Expected --support, as many --support_mask, and --query to compare on, or none "
            f"of them; received {len(args.support)} and {len(args.support_mask)} files, and "
            f"--query={args.query or ''}."
        )
    supports = list(map(read_labelled, args.support, args.support_mask))
    return supports, read_queries(args.query, most)


def read_queries(query: str, most: int = MOST_QUERIES) -> list[LabelledPhoto]:
    """The first photos of a folder, or one photo; default: as many as are compared."""
    paths = photo_folder.query_paths(query)[:most]
    return [LabelledPhoto(photos.read_photo(path), name=str(path)) for path in paths]
