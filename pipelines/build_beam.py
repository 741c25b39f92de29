"""PASCAL-5i or COCO-20i -> records by Apache Beam, on as many machines as its runner has.

    python -m pipelines.build_beam --dataset=coco --source=coco2014 --out=records/coco20i \\
        --runner=FlinkRunner --option=flink_master=host:8081 --option=parallelism=64

The folder is the one of `build_coco` or `build_voc`, byte for byte, with their default lists
and divisions. `--source` and `--out` are on a file system that all workers share, and the
workers have this project installed. Where one machine has the time, the plain builders need
neither.
"""

import functools
from types import ModuleType

from absl import flags

from crnet_tf import cli
from crnet_tf.records import Index
from pipelines import build_coco, build_voc, filters, writer
from pipelines.audit import audit

BUILDERS = {"voc": build_voc.build_voc, "coco": build_coco.build_coco}


def build(dataset: str, source: str, out: str, options: list[str], **settings) -> Index:
    """Builds the records of a data set by a Beam pipeline.

    Args:
        dataset: key of `BUILDERS`.
        source, out: `voc_dir` or `coco_dir`, and the folder to make.
        options: of the pipeline, such as `--runner=FlinkRunner`.
        settings: of the builder.

    Raises:
        RuntimeError: Apache Beam is missing, or the pipeline failed.
        FileNotFoundError, ValueError, FileExistsError: see the builder.
    """
    write = functools.partial(_beam_writer().write_records, options=options)
    return BUILDERS[dataset](source, out, write=write, **settings)


def _beam_writer() -> ModuleType:
    try:
        from pipelines import beam_writer
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"expected Apache Beam, received no module {error.name!r}. Install it with pip "
            "install -e '.[beam]', or use the plain builders."
        ) from error
    return beam_writer


def define_flags() -> None:
    """Called when this is the program: other builders have flags of the same names."""
    flags.DEFINE_enum("dataset", None, [*BUILDERS], "What to build.", required=True)
    flags.DEFINE_string("source", None, "Folder: --voc_dir or --coco_dir.", required=True)
    flags.DEFINE_string("out", None, "Folder of records to make.", required=True)
    flags.DEFINE_string("sbd_dir", None, "voc: SBD's benchmark_RELEASE, to merge.")
    flags.DEFINE_string(
        "runner", "DirectRunner", "FlinkRunner, SparkRunner, DataflowRunner ..."
    )
    flags.DEFINE_multi_string("option", [], "Of the pipeline, NAME=VALUE; again for more.")
    flags.DEFINE_enum(
        "filter", None, filters.FILTERS, "Small-object filter; default that of the data set."
    )
    writer.define_flags()


def main():
    given = flags.FLAGS
    settings = {
        "filter": given.filter,
        "sbd_dir": given.sbd_dir,
    }
    index = build(
        given.dataset,
        given.source,
        given.out,
        [f"--runner={given.runner}", *(f"--{option}" for option in given.option)],
        on_error=given.on_error,
        overwrite=given.overwrite,
        short_side=given.short_side,
        shard_mb=given.shard_mb,
        **{name: value for name, value in settings.items() if value},
    )
    print(audit(index))


if __name__ == "__main__":
    define_flags()
    flags.adopt_module_key_flags(writer)
    cli.run(main)
