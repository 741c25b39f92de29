"""Opens every record of a data set and reports what is wrong with it.

    python -m pipelines.verify --records=records/voc [--out=report.json]

Faults (exit code 1): files missing, truncated, or other than index.json says; photos or label
maps that do not decode, of another size than stored, with ids out of range or without the class
they are listed under; an id twice in a stream, or in two splits; the same photo in two splits;
a training photo with a class that a data set of one fold holds out. Counted: training photos
that also hold test classes of their fold, as background (`crnet_tf.train
--drop_novel_images` leaves them out).
Warnings: photos of two splits that look alike, or stand in one split twice; unlisted files.
"""

import pathlib

from absl import flags

from crnet_tf.common import cli, files
from crnet_tf.common.disk import named_when_full
from pipelines.checking.perceptual_hash import DISTANCE


def define_flags() -> None:
    """Called when this is the program."""
    flags.DEFINE_string("records", None, "Folder of records.", required=True)
    flags.DEFINE_string("out", None, "JSON file to write the whole report to.")
    flags.DEFINE_integer(
        "distance",
        DISTANCE,
        "Bits of 64 up to which photos look alike; -1: not compared.",
        -1,
        64,
    )


def main():
    from pipelines.checking.verifying import verify

    given = flags.FLAGS
    if given.out:  # now: reading takes long
        files.make_folder(pathlib.Path(given.out).parent)
    report = verify(given.records, given.distance)
    print(report.text())
    if given.out:
        with named_when_full(pathlib.Path(given.out).parent):
            files.write_text(given.out, report.json())
    if report.faults:
        raise SystemExit(1)


if __name__ == "__main__":
    cli.run(main, define_flags)
