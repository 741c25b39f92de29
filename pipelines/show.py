"""Draws a contact sheet of a data set: photos with their labels over them, a row a class.

    python -m pipelines.show --records=records/voc --out=sheet.png [--classes=cat,dog]

What the row's class covers is coloured, void is grey. The photos are drawn at random, the same
ones for the same --seed.
"""

import pathlib

from absl import flags

from crnet_tf.common import cli
from pipelines.checking.contact_sheet import CELL, PER_CLASS, show


def define_flags() -> None:
    """Called when this is the program."""
    flags.DEFINE_string("records", None, "Folder of records.", required=True)
    flags.DEFINE_string("out", "sheet.png", "PNG file to write.")
    flags.DEFINE_string("split", "train", "Split of the records.")
    flags.DEFINE_list("classes", [], "Names or ids of classes; none: all.")
    flags.DEFINE_integer("per_class", PER_CLASS, "Photos a class.")
    flags.DEFINE_integer("seed", 0, "Of the choice of photos.")
    flags.DEFINE_integer("cell", CELL, "px of a photo's longer side.")


def main():
    given = flags.FLAGS
    sheet = show(
        given.records,
        pathlib.Path(given.out),
        split=given.split,
        classes=given.classes,
        per_class=given.per_class,
        seed=given.seed,
        cell=given.cell,
    )
    print(f"{given.out}: {sheet.shape[1]}x{sheet.shape[0]} px")


if __name__ == "__main__":
    cli.run(main, define_flags)
