"""A network and labelled photos -> a SavedModel that knows their classes."""

import dataclasses
import itertools
import os
import pathlib

from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network import model
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.options import Options
from export.graph import signatures, taught
from export.graph.fixed import Sizes
from export.graph.settings import Settings
from export.package import batching_file, metadata, parity, portable, versions, warmup
from export.package.portable import Format


def teach(
    checkpoint: str | os.PathLike,
    classes: dict[str, list[LabelledPhoto]],
    out: str | os.PathLike,
    options: Options | None = None,
    settings: Settings | None = None,
    version: int | None = None,
    queries: list[LabelledPhoto] = (),
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
    network = model.in_float32(load_checkpoint(checkpoint))
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
        batching_file.write(work)
        warmup.write(work, batching_file.SIZES)
        if formats:
            fixed = portable.taught(exported, (sizes or Sizes()).of(network), queries)
            episodes = [([], photo) for photo in itertools.chain(*classes.values(), queries)]
            portable.write(work / metadata.FILE.parent, fixed, formats, episodes)
    return pathlib.Path(out) / str(number)
