"""The flags that every builder has for how records are written."""

import functools
from typing import Any

from absl import flags

from crnet_tf.data.writing.choices import ON_ERROR, SHARD_MB
from pipelines.workers import pool


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
    pool.define_flag()


def options_of(given: flags.FlagValues) -> dict[str, Any]:
    """Arguments of `write_listed` that the flags of `define_flags` stand for.

    Raises:
        RuntimeError: --ray without Ray, or no cluster answers there.
    """
    names = ("out", "filter", "on_error", "short_side", "shard_mb", "overwrite")
    options = {name: given[name].value for name in names if name in given}
    if given.ray:
        from pipelines.writing import ray_writer  # TensorFlow

        options["write_streams"] = functools.partial(
            ray_writer.write_streams, workers=pool.workers_at(given.ray)
        )
    return options
