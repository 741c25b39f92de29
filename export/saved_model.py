"""Exports a checkpoint as a SavedModel whose signatures take photos as they are.

    python -m export.saved_model --checkpoint=runs/voc1/best.keras --out=models/crnet

Writes `OUT/1`, next time `OUT/2`: the folder TF Serving watches. Every signature
(`export/signatures.py`) is compared with the checkpoint on drawn photos, or on real ones given
as `--support`, `--support_mask` and `--query`; an export that answers otherwise is removed.
Arithmetic is float32 in any case.
"""

import os
import pathlib

from absl import flags

from crnet_tf import cli, fields, model, photo_folder, photos, support
from crnet_tf.features import Photo
from crnet_tf.fewshot import Learner
from crnet_tf.options import Options
from export import metadata, parity, signatures, versions, warmup
from export.settings import Settings


def export(
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    settings: Settings | None = None,
    refine_steps: int = 0,
    version: int | None = None,
    examples: tuple[list[Photo], list[Photo]] | None = None,
) -> pathlib.Path:
    """Writes a version folder of a checkpoint, compared with it.

    Args:
        out: the folder above the versions.
        refine_steps: 0: as the network is configured.
        version: its number; default: the next one.
        examples: supports and queries to compare on; default: drawn ones.

    Returns:
        The folder written.

    Raises:
        RuntimeError: it answers other than the checkpoint does.
        FileExistsError, ValueError: see `versions.new_version`, `parity.check_sizes`,
            `parity.check_number`.
    """
    settings = settings or Settings()
    supports, queries = examples or parity.drawn_photos()
    parity.check_sizes([*supports, *queries], settings)
    parity.check_number(supports, settings)
    network = model.in_float32(model.load_checkpoint(checkpoint))
    exported = signatures.FewShot(network, settings, refine_steps)
    with versions.new_version(pathlib.Path(out), version) as (number, work):
        text = metadata.describe(
            network,
            checkpoint,
            settings,
            number,
            kind="few-shot",
            class_names=[],
            refine_steps=exported.steps,
        )
        archive = signatures.archive(exported.signatures(), text)
        archive.write_out(str(work), verbose=False)
        metadata.write(work, text)
        learner = Learner(network, Options(refine_steps=refine_steps), keep_features=True)
        parity.check(parity.few_shot(work, learner, settings, supports, queries))
        warmup.write(work)
    return pathlib.Path(out) / str(number)


def define_flags():
    define_common_flags()
    fields.define_flags(Settings)


def define_common_flags() -> None:
    """Those of every export of a few-shot network."""
    text, number = flags.DEFINE_string, flags.DEFINE_integer
    text("checkpoint", None, "A .keras file written by training; default: the one of CRNet-TF.")
    text("out", None, "Folder above the numbered versions.", required=True)
    number("version", None, "Number of this version; default: the next one.", 1)
    number("refine_steps", 0, "Refinement steps; 0: as the network is configured.", 0)
    flags.DEFINE_list("support", [], "Labelled photos to compare on.")
    flags.DEFINE_list("support_mask", [], "Mask of each support photo.")
    text("query", None, "Photo, or folder of photos, to compare on.")


def read_examples(
    args, most: int = parity.MOST_QUERIES
) -> tuple[list[Photo], list[Photo]] | None:
    """Supports and queries of the flags, of these at most `most`; None without.

    Raises:
        ValueError: some of the three flags are missing, or a photo or mask is wrong.
    """
    if not (args.support or args.support_mask or args.query):
        return None
    if not (args.support and args.query) or len(args.support) != len(args.support_mask):
        raise ValueError(
            "Expected --support, as many --support_mask, and --query to compare on, or none "
            f"of them; received {len(args.support)} and {len(args.support_mask)} files, and "
            f"--query={args.query or ''}."
        )
    supports = []
    for path, mask_path in zip(args.support, args.support_mask, strict=True):
        photo = Photo(photos.read_photo(path), support.read_mask(mask_path), path)
        support.check_support(photo.image, photo.mask, path)
        supports.append(photo)
    return supports, read_queries(args.query, most)


def read_queries(query: str, most: int = parity.MOST_QUERIES) -> list[Photo]:
    """The first photos of a folder, or one photo; default: as many as are compared."""
    paths = photo_folder.query_paths(query)[:most]
    return [Photo(photos.read_photo(path), name=str(path)) for path in paths]


def main():
    args = flags.FLAGS
    examples = read_examples(args)
    settings = fields.from_flags(Settings, {}, args)
    checkpoint = model.checkpoint_or_start(args.checkpoint)
    print("Largest difference between signature and checkpoint:")
    folder = export(checkpoint, args.out, settings, args.refine_steps, args.version, examples)
    compared = "on the photos given" if examples else "on drawn photos"
    print(f"Written: {folder} (compared {compared})")


if __name__ == "__main__":
    define_flags()
    flags.adopt_module_key_flags(fields)
    cli.run(main)
