"""A checkpoint as a folder of files that fix the size of photos: what `export.tflite` and
`export.onnx` do alike, with their flags.
"""

import dataclasses
import os
import pathlib

from crnet_tf.common import fields, files
from crnet_tf.common.errors import InputError
from crnet_tf.data import labelled_folder, records
from crnet_tf.evaluation import draws, manifest, scoring
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network import model
from crnet_tf.network.checkpoint import checkpoint_or_start
from crnet_tf.options import IN_USE, Options
from export.graph.settings import Settings, Sizes
from export.package import fixed_size_files, inputs, metadata, parity
from export.package.fixed_size_files import Episode, Format
from export.package.new_export import new_export
from export.package.teach import Classes, learnt, one_of_each


@dataclasses.dataclass(frozen=True)
class Photos:
    """Real photos that an export is given.

    Attributes:
        classes: labelled photos by name, to bake in; none: a few-shot network.
        supports, queries: to compare on, and to calibrate on.
        records_dir: records to calibrate on instead, and to compare on where nothing else is
            given: held-out photos of classes trained on.
        most: number of episodes to calibrate on.
    """

    classes: Classes = dataclasses.field(default_factory=dict)
    supports: list[LabelledPhoto] = ()
    queries: list[LabelledPhoto] = ()
    records_dir: str = ""
    most: int = 100


def export(
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    formats: list[Format],
    *,
    photos: Photos | None = None,
    sizes: Sizes | None = None,
    settings: Settings | None = None,
    shot: int = 1,
    options: Options | None = None,
    version: int | None = None,
) -> pathlib.Path:
    """Writes a version folder of files, each compared with the checkpoint.

    Args:
        shot: number of supports that enter a few-shot network together.
        options: `kshot`, mean or fusion, and `refine_steps` are looked at.

    Returns:
        The folder written.

    Raises:
        RuntimeError: a file answers other than the checkpoint does.
        FileExistsError, ValueError: see `versions.new_version`, `taught.learn`,
            `representative`.
    """
    photos, options = photos or Photos(), options or Options(kshot=IN_USE["kshot"])
    options = dataclasses.replace(options, **fixed_size_files.restrictions(formats))
    with new_export(checkpoint, out, settings or Settings(), version) as new:
        network, sizes = new.network, (sizes or Sizes()).of(new.network.config)
        episodes = None
        if photos.records_dir or any(kind.calibrated for kind in formats):
            episodes = representative(network, photos, shot)
        if photos.classes:
            exported = learnt(network, photos.classes, options, new.settings)
            queries = photos.queries or one_of_each(photos.classes)
            graphs = fixed_size_files.taught(exported, sizes, queries)
        else:
            compared = compared_on(photos, episodes)
            graphs = fixed_size_files.few_shot(
                network, new.settings, sizes, shot, options, *compared
            )
        fixed_size_files.write(new.work, graphs, formats, episodes)
        text = new.describe(
            kind="taught" if photos.classes else "few-shot",
            class_names=list(photos.classes),
            refine_steps=options.refine_steps or network.config.refine_steps,
            kshot=options.kshot,
            sizes=dataclasses.asdict(sizes),
            shot=shot,
            formats=[kind.name for kind in formats],
        )
        files.write_text(new.work / metadata.FILE.name, text)
    return new.path


def representative(network: model.CRNet, photos: Photos, shot: int) -> list[Episode]:
    """Real episodes to calibrate on.

    Raises:
        ValueError: there is nothing real.
    """
    if photos.records_dir:
        index = records.load_index(photos.records_dir)
        # Never photos of the classes that it is tested on.
        classes = draws.chosen_classes(network, index, "base")
        archive = manifest.Archive(index, "val", classes)
        entries = manifest.draw(archive, shot, photos.most, seed=0)
        return [scoring.photos_of(archive, entry) for entry in entries]
    labelled = [photo for few in photos.classes.values() for photo in few]
    supports = labelled or photos.supports
    if not supports:
        raise InputError(
            "int8: expected real photos to find the ranges of activations on, received none. "
            "Give --records, or --support, --support_mask and --query (tens of photos)."
        )
    return [(supports, query) for query in [*photos.queries, *supports][: photos.most]]


def compared_on(
    photos: Photos, episodes: list[Episode] | None
) -> tuple[list[LabelledPhoto], list[LabelledPhoto]]:
    """Supports and queries that a few-shot network is compared on: the best there are."""
    if photos.supports:
        return photos.supports, photos.queries
    if episodes:
        return episodes[0][0], [query for _, query in episodes[: inputs.MOST_QUERIES]]
    return parity.drawn_photos()


def read_photos(args, formats: list[Format]) -> Photos:
    """What the flags name; of the queries, as many as these formats need.

    Raises:
        ValueError: flags that do not go together, or a photo or mask is wrong.
    """
    most = fixed_size_files.photos_needed(formats, args.representatives)
    given = {"records_dir": args.records, "most": most}
    if not args.support_dir:
        supports, queries = inputs.read_examples(args, most) or ((), ())
        return Photos(supports=supports, queries=queries, **given)
    if args.support or args.support_mask or args.shot > 1:
        raise InputError(
            "--support_dir: expected no --support, --support_mask or --shot beside it, whose "
            "photos are all in that folder. Leave them off."
        )
    queries = inputs.read_queries(args.query, most) if args.query else []
    classes = labelled_folder.read_classes(args.support_dir)
    return Photos(classes, queries=queries, **given)


def run(args, formats: list[Format]) -> None:
    """The command line: `args` has its flags as attributes."""
    settings, sizes = (fields.from_flags(kind, {}, args) for kind in (Settings, Sizes))
    photos = read_photos(args, formats)
    checkpoint = checkpoint_or_start(args.checkpoint)
    print("Difference between file and checkpoint:")
    folder = export(
        checkpoint,
        args.out,
        formats,
        photos=photos,
        sizes=sizes,
        settings=settings,
        shot=args.shot,
        options=inputs.chosen_options(args),
        version=args.version,
    )
    print(f"Written: {folder}")
    for path in sorted(folder.glob("*-*")):
        print(f"  {path.name:<34}{path.stat().st_size / 1e6:.1f} MB")
