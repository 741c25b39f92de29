"""What every export does, whatever it writes: a version of its own, the checkpoint in float32,
what the version says of itself, and for a SavedModel the comparison and the warm-up.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping

import tensorflow as tf

from crnet_tf.network import model
from crnet_tf.network.checkpoint import load_checkpoint
from export.graph import signatures
from export.graph.settings import Settings
from export.package import metadata, parity, versions, warmup


@dataclasses.dataclass(frozen=True)
class NewExport:
    """An export under way.

    Attributes:
        network: the checkpoint in float32. settings: what is baked in besides.
        number: of the version. work: its folder until all is in it; then it becomes `path`.
    """

    checkpoint: str | os.PathLike
    network: model.CRNet
    settings: Settings
    number: int
    work: pathlib.Path
    path: pathlib.Path

    def describe(self, **more) -> str:
        """The version's metadata; see `metadata.describe`."""
        return metadata.describe(
            self.network, self.checkpoint, self.settings, self.number, **more
        )

    def write_saved_model(
        self,
        functions: list[signatures.Signature],
        compare: Callable[[Mapping[str, Callable]], dict[str, float]],
        batch_sizes: tuple[int, ...] = (1,),
        **more,
    ) -> None:
        """Writes a SavedModel with its metadata and warm-up requests.

        Args:
            compare: signatures as clients load them -> the difference of each from the
                checkpoint; see `parity`.
            batch_sizes: see `warmup.write`. more: see `describe`.

        Raises:
            RuntimeError: it answers other than the checkpoint does.
        """
        text = self.describe(**more)
        signatures.save(functions, text, self.work)
        metadata.write(self.work, text)
        loaded = tf.saved_model.load(str(self.work))  # its signatures do not keep it alive
        parity.check(compare(loaded.signatures))
        warmup.write(self.work, loaded.signatures, batch_sizes)


@contextlib.contextmanager
def new_export(
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    settings: Settings,
    version: int | None = None,
) -> Iterator[NewExport]:
    """An export that is `out/<number>` when the block ends, and gone when it raises.

    Args:
        out: the folder above the versions. version: its number; default: the next one.

    Raises:
        FileExistsError, OSError, RuntimeError, ValueError: see `versions.new_version`.
    """
    out = pathlib.Path(out)
    # Loading and learning take long: a version that is there is said first.
    with versions.new_version(out, version) as (number, work):
        network = model.in_float32(load_checkpoint(checkpoint))
        yield NewExport(checkpoint, network, settings, number, work, out / str(number))
