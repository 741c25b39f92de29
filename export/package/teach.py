"""A network and labelled photos -> a SavedModel that knows their classes."""

import dataclasses
import itertools
import os
import pathlib

from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network.model import CRNet
from crnet_tf.options import IN_USE, Options
from export.graph import taught
from export.graph.settings import Settings, Sizes
from export.package import batching_file, fixed_size_files, metadata, parity
from export.package.fixed_size_files import Format
from export.package.new_export import new_export

Classes = dict[str, list[LabelledPhoto]]  # labelled photos by name of the class


def teach(
    checkpoint: str | os.PathLike,
    classes: Classes,
    out: str | os.PathLike,
    *,
    options: Options | None = None,
    settings: Settings | None = None,
    version: int | None = None,
    queries: list[LabelledPhoto] = (),
    negatives: list[LabelledPhoto] = (),
    formats: list[Format] = (),
    sizes: Sizes | None = None,
) -> pathlib.Path:
    """Writes a version folder of a model that knows these classes.

    Args:
        classes: see `labelled_folder.read_classes`.
        out: the folder above the versions. version: its number; default: the next one.
        queries: photos to compare on, the first three; default: a labelled one of each class.
        negatives: photos without any of it, as of `Predictor`.
        formats: of files beside the SavedModel, in `assets.extra`. sizes: of their photos.

    Returns:
        The folder written.

    Raises:
        RuntimeError: it answers other than the checkpoint does.
        FileExistsError, ValueError: see `versions.new_version`, `taught.learn`.
    """
    options, settings = options or Options(**IN_USE), settings or Settings()
    taught.check_options(options)
    queries = queries or one_of_each(classes)
    parity.check_sizes(queries, settings)
    with new_export(checkpoint, out, settings, version) as new:
        exported = learnt(new.network, classes, options, settings, negatives)
        predictors = [one.predictor for one in exported.classes]
        new.write_saved_model(
            exported.signatures(),
            lambda loaded: parity.taught(loaded, predictors, settings, queries),
            batching_file.SIZES,
            kind="taught",
            class_names=list(classes),
            refine_steps=exported.steps,
            supports={name: len(photos) for name, photos in classes.items()},
            least_presence=exported.least_presence,
            thresholds={one.name: one.predictor.threshold for one in exported.classes},
            options=dataclasses.asdict(options),
        )
        batching_file.write(new.work)
        if formats:
            sizes = (sizes or Sizes()).of(new.network.config)
            exported = exported.changed(**fixed_size_files.restrictions(formats))
            graphs = fixed_size_files.taught(exported, sizes, queries)
            episodes = [([], photo) for photo in itertools.chain(*classes.values(), queries)]
            fixed_size_files.write(new.work / metadata.FILE.parent, graphs, formats, episodes)
    return new.path


def learnt(
    network: CRNet,
    classes: Classes,
    options: Options,
    settings: Settings,
    negatives: list[LabelledPhoto] = (),
) -> taught.Taught:
    """The network with these classes."""
    learner = Learner(network, options, keep_features=True)
    known = [taught.learn(learner, name, few, negatives) for name, few in classes.items()]
    return taught.Taught(learner, known, settings)


def one_of_each(classes: Classes) -> list[LabelledPhoto]:
    """A labelled photo of each class, to compare on where no others are given."""
    return [photos[0] for photos in classes.values()]
