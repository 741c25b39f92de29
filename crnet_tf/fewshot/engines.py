"""Which engine computes the answers: Keras, or LiteRT from a file that is written once.

keras           TensorFlow: knows every option
litert          LiteRT: starts ten times as fast, answers within 0.001
litert_int8     LiteRT with weights of 8 bits: a quarter of the file and of the memory; faster
                where the processor multiplies numbers of 8 bits
auto            the fastest of these; Keras until the file of LiteRT is there
"""

import functools
import os
import pathlib

from crnet_tf.common.errors import InputError
from crnet_tf.fewshot import lite_engine
from crnet_tf.fewshot.lite_engine import LiteEngine
from crnet_tf.network.checkpoint import START, check_file
from crnet_tf.options import Options

ENGINES = ("auto", "keras", "litert", "litert_int8")


class Choice:
    """An engine by its name, not yet started.

    Args:
        name: of `ENGINES`.
        checkpoint: a .keras file, or a network that is loaded already, which only Keras takes;
            default: the model that comes along.

    Raises:
        ValueError: there is no such engine.
    """

    def __init__(self, name: str, checkpoint, options: Options):
        if name not in ENGINES:
            raise InputError(f"engine: expected one of {ENGINES}, received {name!r}.")
        self.name, self.checkpoint, self.options = name, checkpoint, options

    @property
    def kind(self) -> str:
        """The engine that answers once its file is there."""
        if self.name != "auto":
            return self.name
        return "litert_int8" if lite_engine.multiplies_bytes() else "litert"

    @functools.cached_property  # it reads the whole checkpoint
    def file(self) -> pathlib.Path | None:
        """Where the file of LiteRT is or would be; None where Keras answers.

        Raises:
            FileNotFoundError: there is no checkpoint.
        """
        path = START if self.checkpoint is None else self.checkpoint
        is_file = isinstance(path, str | os.PathLike)
        if self.name == "keras" or not is_file or not lite_engine.usable(self.options):
            return None
        check_file(pathlib.Path(path))
        return lite_engine.place(path, self.kind)

    def start(self):
        """A `KerasEngine` or `LiteEngine`, whose file is written where LiteRT was asked for.

        Raises:
            ValueError: LiteRT was asked for and cannot serve. FileNotFoundError: there is no
                checkpoint.
        """
        if self.name not in ("auto", "keras"):
            if self.file is None:
                raise InputError(
                    "engine: expected a checkpoint's file, the package ai-edge-litert, no GPU "
                    "and options that LiteRT knows (one scale, no fine-tuning), received "
                    "others. Use auto or keras."
                )
            self.prepare()
        if self.file is not None and self.file.exists():
            return LiteEngine(self.file, self.options)
        from crnet_tf.fewshot.engine import KerasEngine

        return KerasEngine(self.checkpoint, self.options)

    def prepare(self, learner=None) -> bool:
        """Writes the file of LiteRT where there is to be one and it is missing.

        Args:
            learner: `Learner` of the checkpoint, where one was loaded.

        Returns:
            Whether it was written now.
        """
        if self.file is None or self.file.exists():
            return False
        from crnet_tf.fewshot import engine, lite_writing

        if learner is None:
            learner = engine.KerasEngine(self.checkpoint, self.options).learner
        lite_writing.write(learner, self.file, self.kind)
        return True
