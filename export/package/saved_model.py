"""A checkpoint as a SavedModel that takes labelled photos with every request."""

import os
import pathlib

from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.options import Options
from export.graph.settings import Settings
from export.graph.signatures import FewShot
from export.package import parity
from export.package.new_export import new_export


def export(
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    *,
    settings: Settings | None = None,
    refine_steps: int = 0,
    version: int | None = None,
    examples: tuple[list[LabelledPhoto], list[LabelledPhoto]] | None = None,
) -> pathlib.Path:
    """Writes a version folder of a checkpoint, compared with it.

    Args:
        out: the folder above the versions. version: its number; default: the next one.
        refine_steps: 0: as the network is configured.
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
    with new_export(checkpoint, out, settings, version) as new:
        exported = FewShot(new.network, settings, refine_steps)
        options = Options(refine_steps=refine_steps)
        learner = Learner(new.network, options, keep_features=True)
        new.write_saved_model(
            exported.signatures(),
            lambda loaded: parity.few_shot(loaded, learner, settings, supports, queries),
            kind="few-shot",
            class_names=[],
            refine_steps=exported.steps,
        )
    return new.path
