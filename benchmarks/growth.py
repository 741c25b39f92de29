"""How time and memory of `find`, of a builder and of `evaluate` grow with the number of photos.

    python -m benchmarks.growth --photos=1000,10000 --out=growth

A hundred drawn photos of 96x96 px are listed again and again, and searched by a tiny network:
what is measured is all around the network. `evaluate` draws its 100 episodes from more and more
photos. Each command is a process of its own; its seconds, its processor time and the most
memory it ever had are printed as a table, and drawn in `growth.svg`.
"""

import itertools
import os
import pathlib
import subprocess
import sys
import time

from absl import flags
from matplotlib.figure import Figure

from benchmarks import many_photos
from crnet_tf.common import cli, tables
from pipelines.build_voc import build_voc

EPISODES = 100
HEAD = (
    "command",
    "photos",
    "s",
    "processor s",
    "photos a second",
    "most memory, MB",
    "index, MB",
)


def measure(command: str, arguments: list[str], count: int, index: pathlib.Path) -> tuple:
    """Runs a command of `crnet`; a row of the table."""
    started = time.monotonic()
    words = [sys.executable, "-m", "crnet", *command.split(), *arguments]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: expected status 0 of {words}, received {process.returncode}.")
    seconds, memory = time.monotonic() - started, used.ru_maxrss / 1e3
    processor, size = used.ru_utime + used.ru_stime, index.stat().st_size / 1e6
    numbers = (f"{seconds:.0f}", f"{processor:.0f}", f"{count / seconds:.0f}")
    return command, f"{count:,}", *numbers, f"{memory:.0f}", f"{size:.2f}"


def measured(command: str, root: pathlib.Path, count: int, engine: str) -> tuple:
    """The row of a command and a number of photos."""
    place = root / f"{command.replace(' ', '-')}-{count}"
    if command == "find":
        many_photos.write_list(root / f"{count}.txt", root / "drawn", count)
        given = [f"--model={root / 'thing.crnet'}", f"--photos={root / f'{count}.txt'}"]
        given += [f"--engine={engine}"]
        index = place / "index.csv"
    elif command == "evaluate":
        voc, records = place.with_suffix(".voc"), place.with_suffix(".records")
        many_photos.write_voc(voc, root / "drawn", count, large="val")
        build_voc(voc, records)
        given = [f"--checkpoint={root / 'tiny.keras'}", f"--records={records}"]
        given += [f"--episodes={EPISODES}", "--nobaselines"]
        index = records / "index.json"
    else:
        many_photos.write_voc(place.with_suffix(".voc"), root / "drawn", count)
        given, index = [f"--voc_dir={place.with_suffix('.voc')}"], place / "index.json"
    return measure(command, [*given, f"--out={place}"], count, index)


def draw(rows: list[tuple], path: pathlib.Path) -> None:
    """Rows of the table as a picture: processor seconds and memory against photos."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    seconds, memory = figure.subplots(1, 2)
    for command in dict.fromkeys(row[0] for row in rows):
        of_it = [row for row in rows if row[0] == command]
        counts = [int(row[1].replace(",", "")) for row in of_it]
        seconds.loglog(counts, [float(row[3]) for row in of_it], "o-", label=command)
        memory.semilogx(counts, [float(row[5]) for row in of_it], "o-", label=command)
    memory.set_ylim(bottom=0)
    for axes, what in ((seconds, HEAD[3]), (memory, HEAD[5])):
        axes.set(xlabel=HEAD[1], title=what)
        axes.grid(alpha=0.3)
    seconds.legend()
    figure.savefig(path, metadata={"Date": None})


def define_flags():
    flags.DEFINE_list("photos", ["1000", "10000"], "How many photos.")
    flags.DEFINE_string("out", None, "Folder for photos and results.", required=True)
    flags.DEFINE_string("engine", "litert", "Of find.")
    flags.DEFINE_list("commands", ["find", "build voc", "evaluate"], "Which of these.")


def main():
    args, rows = flags.FLAGS, []
    root = pathlib.Path(args.out).absolute()
    many_photos.write_model(root, many_photos.draw(root / "drawn")[0])
    for command, count in itertools.product(args.commands, map(int, args.photos)):
        rows.append(measured(command, root, count, args.engine))
        print(tables.markdown(HEAD, rows[-1:]).splitlines()[-1], flush=True)
    print(tables.markdown(HEAD, rows))
    draw(rows, root / "growth.svg")


if __name__ == "__main__":
    cli.run(main, define_flags)
