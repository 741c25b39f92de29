"""The flags that every builder has for how records are written."""

import functools
from typing import Any

from absl import flags

from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.data.writing.choices import ON_ERROR, SHARD_MB


def define_flags(on_error: str = "stop") -> None:
    """The flags of builders for what `write_listed` is told beside the photos.

    Args:
        on_error: the default.
    """
    topic = {"module_name": "Records"}  # of the help
    flags.DEFINE_string("out", None, "Folder of records to make.", required=True, **topic)
    flags.DEFINE_enum(
        "on_error", on_error, ON_ERROR, "Bad photo: stop, or skip and count.", **topic
    )
    flags.DEFINE_integer("short_side", None, "Store photos no larger, px.", 1, **topic)
    flags.DEFINE_integer("shard_mb", SHARD_MB, "Largest file, MiB.", 1, **topic)
    flags.DEFINE_bool("overwrite", False, "Rebuild records that are there already.", **topic)
    topic = {"module_name": "Many machines"}
    flags.DEFINE_string(
        "runner",
        None,
        "Apache Beam's: DirectRunner, FlinkRunner, SparkRunner, DataflowRunner. Default: this "
        "process alone.",
        **topic,
    )
    flags.DEFINE_multi_string(
        "runner_option",
        [],
        "Option of --runner, NAME=VALUE as in Beam's manual",
        **topic,
    )


def options_of(given: flags.FlagValues) -> dict[str, Any]:
    """Arguments of `write_listed` that the flags of `define_flags` stand for.

    Raises:
        RuntimeError: --runner without Apache Beam.
        ValueError: --runner_option without --runner.
    """
    names = ("out", "filter", "on_error", "short_side", "shard_mb", "overwrite")
    options = {name: given[name].value for name in names if name in given}
    if given.runner:
        of_runner = [f"--{option}" for option in given.runner_option]
        options["write_streams"] = functools.partial(
            _beam_writer().write_streams, options=[f"--runner={given.runner}", *of_runner]
        )
    elif given.runner_option:
        raise InputError(
            f"--runner_option: expected --runner too, received {given.runner_option[0]} alone. "
            "Name the runner, or leave the option out."
        )
    return options


def _beam_writer():
    try:
        from pipelines.writing import beam_writer
    except ModuleNotFoundError as error:
        raise BlockedError(
            f"--runner: expected Apache Beam, received no module {error.name!r}. Install it "
            "with pip install 'crnet-tf[beam]', or leave --runner out."
        ) from error
    return beam_writer
