"""The cells of a table: which commands they need, running them, what is left to run."""

import dataclasses
import os
import pathlib
import re
import shlex
import subprocess
from collections.abc import Callable

from crnet_tf.common import files, locks
from crnet_tf.common.errors import InputError
from crnet_tf.data import records
from crnet_tf.paper.report import render
from crnet_tf.paper.runs import Workplace
from crnet_tf.paper.tables import Column, Row, Table

ROOT = pathlib.Path(__file__).parents[2]
Runner = Callable[[list[str], pathlib.Path], int]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One value of a table on one fold."""

    row: Row
    column: Column
    fold: int

    @property
    def key(self) -> tuple[str, str, int]:
        return self.row.name, self.column.title, self.fold


@dataclasses.dataclass(frozen=True)
class Job:
    """A command that is still to be run, and the file its output goes to."""

    what: str
    command: list[str]
    log: pathlib.Path


def reproduce(
    place: Workplace,
    index: records.Index,
    cells: list[Cell],
    out: pathlib.Path,
    run: Runner | None = None,
) -> dict:
    """Runs what `cells` need and keeps `out/tableN.md` up to date.

    Args:
        run: runs a command with its output in a file, returns its exit status.

    Returns:
        The cells that failed: {(row name, column title, fold): last line of the error}.
    """
    table_file = out / f"table{place.table.number}.md"
    files.make_folder(out)
    failures, errors = {}, {}
    files.write_text(table_file, render(place, index, failures))
    for number, cell in enumerate(cells, start=1):
        said = f"[{number}/{len(cells)}] {cell.row.name}, {cell.column.title}, fold {cell.fold}"
        error = _compute(place, cell, run or run_logged, errors, said)
        if error:
            failures[cell.key] = error
            print(f"{said}: failed: {error}", flush=True)
        else:
            score = place.report(cell.row, cell.column.shot, cell.fold)["score"]
            print(f"{said}: {100 * score[cell.column.metric]:.1f}", flush=True)
        files.write_text(table_file, render(place, index, failures))
    return failures


def _compute(place, cell, run, errors, said):
    """Does the jobs of a cell; the error, or "". What failed once is not tried again."""
    for job in jobs(place, cell):
        command = tuple(job.command)
        if command not in errors:
            print(f"{said}: {job.what} ({job.log})", flush=True)
            status = run(job.command, job.log)
            errors[command] = last_error(job.log, status) if status else ""
        if errors[command]:
            return errors[command]
    if place.report(cell.row, cell.column.shot, cell.fold):
        return ""
    folder = place.evaluation_dir(cell.row, cell.column.shot, cell.fold)
    return f"the commands ended well, but {folder}/evaluation.json is not what was asked for"


def jobs(place: Workplace, cell: Cell) -> list[Job]:
    """What a cell still needs, in order; nothing when it is finished."""
    row, shot, fold = cell.row, cell.column.shot, cell.fold
    todo = []
    if not place.is_trained(row, fold, as_asked=True):
        command = place.training_command(row, fold)
        todo.append(Job("training", command, place.run_dir(row, fold) / "train.log"))
    if todo or not place.report(row, shot, fold):
        command = place.evaluation_command(row, shot, fold)
        log = place.evaluation_dir(row, shot, fold) / "evaluate.log"
        todo.append(Job("evaluating", command, log))
    return todo


def run_logged(command: list[str], log: pathlib.Path) -> int:
    """Runs a command with its output appended to a file; returns its exit status."""
    log.parent.mkdir(parents=True, exist_ok=True)
    # The command may be given in any folder.
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with open(log, "ab", buffering=0) as file:
        # The command inherits the lock: it also keeps off who comes after a killed process.
        locks.take(file.fileno(), log, "writes", wait=True)
        file.write(f"\n$ {shlex.join(command)}\n".encode())
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": paths},
        ).returncode


def last_error(log: pathlib.Path, status: int) -> str:
    """The last line of a log that tells of an error, else its last line."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    text = text.rpartition("\n$ ")[2]  # of this command, not of one before
    lines = [line.strip() for line in re.split(r"[\r\n\b]+", text)[1:] if line.strip()]
    telling = [line for line in lines if re.match(r"error:|[\w.]*(Error|Exception)\b", line)]
    line = (telling or lines or ["no output"])[-1]
    how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return f"{line[:500]} ({how}; {log})"


def chosen_cells(table: Table, folds: list[int], only: list[str]) -> list[Cell]:
    """The cells to run, fold by fold; all rows when `only` is empty. N/A cells are left out.

    Raises:
        ValueError: an unknown fold or row.
    """
    names = [row.name for row in table.own_rows()]
    for what, given, known in (("folds", folds, table.folds), ("only", only, names)):
        unknown = [value for value in given if value not in known]
        if unknown:
            raise InputError(
                f"{what}: expected some of {', '.join(map(str, known))} for table "
                f"{table.number}, received {unknown[0]!r}. --list shows the rows."
            )
    return [
        Cell(row, column, fold)
        for fold in folds
        for row in table.own_rows()
        if not only or row.name in only
        for column, paper in zip(table.columns, row.paper, strict=True)
        if paper is not None
    ]


def taken_checkpoints(table: Table, given: list[str]) -> dict:
    """--checkpoints, "ROW:FOLD=path" each -> {(network of the row, fold): path}.

    Raises:
        ValueError: of another form, or two checkpoints for one network.
    """
    rows = {row.name: row for row in table.own_rows()}
    taken = {}
    for text in given:
        match = re.fullmatch(r"(.+?):(\d+)=(.+)", text)
        if not match or match[1] not in rows or int(match[2]) not in table.folds:
            raise InputError(
                f"checkpoints: expected ROW:FOLD=path with a row of {', '.join(rows)} and a "
                f"fold of {', '.join(map(str, table.folds))}, received {text!r}."
            )
        network, path = (rows[match[1]].network, int(match[2])), pathlib.Path(match[3])
        if taken.setdefault(network, path) != path:
            raise InputError(
                f"checkpoints: row {match[1]!r}, fold {match[2]} shares its network with a row "
                f"given {taken[network]}, received {path}. Give one of them."
            )
    return taken


def listing(table: Table) -> str:
    """The rows of a table that can be run: name, paper's values, network, ways to test."""
    lines = [f"Table {table.number}: {table.caption} ({table.dataset})"]
    for row in table.own_rows():
        paper = ", ".join(
            f"{column.title} {'N/A' if value is None else value}"
            for column, value in zip(table.columns, row.paper, strict=True)
        )
        flags_of = " ".join(row.network) or "the full network"
        tests = [
            "   tested with " + " ".join(row.evaluation(shot))
            for shot in row.shots(table.columns)
        ]
        lines += [f"{row.name}: {paper}", f"   trained with {flags_of}", *tests]
    return "\n".join(lines)


def listed_commands(place: Workplace, cells: list[Cell]) -> list[str]:
    """Every command still to be run, once, in order."""
    commands = (shlex.join(job.command) for cell in cells for job in jobs(place, cell))
    return list(dict.fromkeys(commands))
