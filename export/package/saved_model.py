"""A checkpoint as a SavedModel: written, compared with the checkpoint, warmed up."""

import os
import pathlib

from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network import model
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.options import Options
from export.graph import signatures
from export.graph.settings import Settings
from export.package import metadata, parity, versions, warmup


def export(
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    settings: Settings | None = None,
    refine_steps: int = 0,
    version: int | None = None,
    examples: tuple[list[LabelledPhoto], list[LabelledPhoto]] | None = None,
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
    network = model.in_float32(load_checkpoint(checkpoint))
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
