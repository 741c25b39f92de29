"""A checkpoint as a SavedModel that takes labelled photos with every request."""

import os
import pathlib

from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.options import IN_USE, Options
from export.graph.settings import Settings
from export.graph.signatures import FewShot
from export.package import parity
from export.package.new_export import new_export


def export(
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    *,
    settings: Settings | None = None,
    options: Options | None = None,
    version: int | None = None,
    examples: tuple[list[LabelledPhoto], list[LabelledPhoto]] | None = None,
) -> pathlib.Path:
    """Writes a version folder of a checkpoint, compared with it.

    Args:
        out: the folder above the versions. version: its number; default: the next one.
        options: see `signatures.FewShot`; default: as photos are searched elsewhere.
        examples: supports and queries to compare on; default: drawn ones.

    Returns:
        The folder written.

    Raises:
        RuntimeError: it answers other than the checkpoint does.
        FileExistsError, ValueError: see `versions.new_version`, `parity.check_sizes`,
            `parity.check_number`.
    """
    settings, options = settings or Settings(), options or Options(**IN_USE)
    supports, queries = examples or parity.drawn_photos()
    parity.check_sizes([*supports, *queries], settings)
    parity.check_number(supports, settings)
    with new_export(checkpoint, out, settings, version) as new:
        exported = FewShot(new.network, settings, options)
        learner = Learner(new.network, options, keep_features=True)
        new.write_saved_model(
            exported.signatures(),
            lambda loaded: parity.few_shot(loaded, learner, settings, supports, queries),
            kind="few-shot",
            class_names=[],
            refine_steps=exported.steps,
            kshot=options.kshot,
        )
    return new.path
