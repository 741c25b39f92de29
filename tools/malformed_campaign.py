"""Gives everything that reads a file or a request thousands of damaged and hostile ones.

    python tools/malformed_campaign.py --cases=10000

Each reader of tools/malformed_targets.py is asked in forks of this process, a few hundred cases
in each: right files with bytes flipped, cut, repeated and blanked, and with parts replaced as
their structure has them (JSON, Examples, members of archives). A case must be answered, or end
with an error that says what to do. What else is raised, a crash, a case of more than 20 s, or a
file outside its folder is a fault. Then come the bombs of tools/malformed_bombs.py. Prints
tables; exits with 1 where there was a fault. A seed gives the same cases again.
"""

import argparse
import collections
import gc
import json
import pathlib
import signal
import sys
import tempfile
import traceback
import warnings

import hypothesis
from hypothesis import HealthCheck, Phase

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

from helpers.forks import in_fork, resident

from crnet_tf.common import tables
from tools import malformed_bombs
from tools.malformed_targets import TARGETS, Target

MOST_S = 20  # of a case: what takes longer hangs
BATCH = 300  # cases of a fork
MIB = 2**20


def ask(target: Target, count: int, seed: int, folder: pathlib.Path) -> None:
    """Asks a target so many cases, in the fork; prints as JSON lines what came of it."""
    warnings.simplefilter("ignore")  # Pillow's, of damaged EXIF data and large photos
    prepared, seen = target.prepare(folder), collections.Counter()
    memory = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=target.cases(prepared))
    def each(case):
        folder.with_name("case").write_text(repr(case)[:10_000])  # what a crash leaves behind
        signal.alarm(MOST_S)
        try:
            seen["answered" if target.ask(prepared, folder, case) else "refused"] += 1
        except Exception as error:
            seen["faults"] += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{pathlib.Path(place.filename).name}:{place.lineno}"
            told = f"{type(error).__name__} at {where}: {error}"[:400]
            print(json.dumps({"fault": told, "case": repr(case)[:300]}))
        signal.alarm(0)
        if len(memory) % 25 == 0:
            gc.collect()  # a network's parts refer to each other
        memory.append(resident())

    each()
    gc.collect()
    grown = resident() - memory[len(memory) // 3 // 25 * 25]  # caches are filled by then
    print(json.dumps({"seen": seen, "grown": grown}), flush=True)


def asked(target: Target, count: int, seed: int) -> dict:
    """What came of so many cases, in as many forks as it takes."""
    row, grown = collections.Counter(), []
    for start in range(0, count, BATCH):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder, "in")
            folder.mkdir()
            ended = in_fork(ask, target, min(BATCH, count - start), seed + start, folder)
            lines = [json.loads(x) for x in ended.output.splitlines() if x.startswith("{")]
            for line in lines:
                row.update(line.get("seen", {}))
                if "grown" in line:
                    grown.append(line["grown"])
                if "fault" in line:
                    show(target, line["fault"], line["case"])
            if not lines or "seen" not in lines[-1]:
                row["crashes"] += 1
                case = folder.with_name("case")
                last = case.read_text() if case.exists() else "before the first case"
                show(target, f"ended with {ended.status}: {ended.output[-1500:]}", last[:300])
    return {**row, "name": target.name, "grown": max(grown, default=0)}


_SHOWN = collections.Counter()


def show(target, fault, case):
    """Each kind of fault three times at most."""
    kind = target.name, fault[:60]
    _SHOWN[kind] += 1
    if _SHOWN[kind] <= 3:
        print(f"FAULT in {target.name}: {fault}\n  case: {case}", flush=True)


def table(rows: list[dict]) -> str:
    """Markdown."""
    columns = ("answered", "refused", "faults", "crashes")
    sums = {key: sum(row.get(key, 0) for row in rows) for key in columns}
    sums |= {"name": "together", "grown": max(row["grown"] for row in rows)}
    cells = (
        (row["name"], *(f"{row.get(key, 0):,}" for key in columns), f"{row['grown'] / MIB:.1f}")
        for row in [*rows, sums]
    )
    return tables.markdown(("what was read", *columns, "memory grown by at most, MiB"), cells)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", default="", help="those whose names hold this; bombs")
    args = parser.parse_args()
    chosen = [target for target in TARGETS if args.target in target.name]
    share = sum(target.share for target in chosen)
    rows, bombs = [], []
    for bomb in malformed_bombs.BOMBS if args.target in "bombs" else ():
        bombs.append(malformed_bombs.explode(bomb))
        print(bombs[-1], flush=True)
    for target in chosen:
        rows.append(asked(target, round(args.cases * target.share / share), args.seed))
        print(rows[-1], flush=True)
    if rows:
        print(f"\n{table(rows)}")
    print(f"\n{malformed_bombs.table(bombs)}")
    faults = [row for row in rows if row.get("faults") or row.get("crashes")]
    sys.exit(bool(faults or [bomb for bomb in bombs if bomb["fault"]]))


if __name__ == "__main__":
    main()
