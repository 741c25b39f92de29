r"""Makes a table of the paper again: trains and evaluates what its cells need.

    python -m crnet_tf.reproduce --table=2 --records=records/voc --out=runs/table2 \
        --folds=1 --train_flags="--image_size=225 --steps=1500" --eval_flags="--episodes=300"

Every training and evaluation is a command of its own (--dry_run lists them) with a log file.
Writes --out/tableN.md, the paper's values beside ours, anew after each cell; cells that were
not run say so. The same command again goes on where it stopped. Networks lie in --runs and
are shared by rows and tables.
"""

import pathlib
import shlex
import signal
import sys

from absl import flags

from crnet_tf.common import cli
from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.paper.tables import TABLES


def define_flags():
    text, several, flag = flags.DEFINE_string, flags.DEFINE_list, flags.DEFINE_bool
    flags.DEFINE_enum("table", None, [str(n) for n in TABLES], "Number.", required=True)
    text("records", None, "Folder of records with index.json.")
    text("out", None, "Folder of tableN.md; default: runs/tableN.")
    text("runs", "runs/reproduce", "Folder of the networks and evaluations.")
    several("folds", None, "Folds to run, counted from 0; default: all of the table's.")
    several("only", [], "Names of the rows to run; default: all.")
    several("checkpoints", [], "ROW:FOLD=path, ...: taken instead of training that network.")
    text("train_flags", "", "Passed on to `crnet train`; {backbone} becomes its name.")
    text("eval_flags", "", "Passed on to `crnet evaluate`.")
    flag("dry_run", False, "Only list the commands that would be run.")
    flag("list", False, "Only list the rows of the table.")


def main():
    from crnet_tf.data import records
    from crnet_tf.paper import reproduction
    from crnet_tf.paper.runs import Workplace

    args = flags.FLAGS
    table = TABLES[int(args.table)]
    if args.list:
        print(reproduction.listing(table))
        return
    if not args.records:
        raise InputError("records: expected a folder of records. Give --records=records/voc.")
    index = records.load_index(args.records)
    if index.dataset != table.dataset:
        raise InputError(
            f"records: table {table.number} is of {table.dataset}, received records of "
            f"{index.dataset} in {args.records}. Give --records of that data set."
        )
    place = Workplace(
        table,
        pathlib.Path(args.records),
        index.sha256,
        pathlib.Path(args.runs),
        tuple(shlex.split(args.train_flags)),
        tuple(shlex.split(args.eval_flags)),
        reproduction.taken_checkpoints(table, args.checkpoints),
    )
    folds = table.folds if args.folds is None else [_number(fold) for fold in args.folds]
    cells = reproduction.chosen_cells(table, folds, args.only)
    if args.dry_run:
        commands = reproduction.listed_commands(place, cells)
        print("\n".join(commands) or "Nothing is left to run.")
        return
    # As Ctrl-C does, so that the command under way ends too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    out = pathlib.Path(args.out or f"runs/table{table.number}")
    failures = reproduction.reproduce(place, index, cells, out)
    print(f"Table: {out}/table{table.number}.md")
    if failures:
        raise BlockedError(f"{len(failures)} of {len(cells)} cells failed; the table says why.")


def _number(text):
    return int(text) if text.isdecimal() else text


if __name__ == "__main__":
    cli.run(main, define_flags)
