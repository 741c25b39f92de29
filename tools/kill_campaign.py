"""Kills every command that writes, at random moments, runs it again and compares.

    python tools/kill_campaign.py --minutes=20

Each trial is a fork of one process (TensorFlow is imported once) that ends in one of these
ways:

* moment: SIGKILL at a random time after the first change of the disk;
* change: SIGKILL just before a random one of the file operations that Python makes;
* write: killed by the kernel within a write, native ones too, at a random size of a file
  (RLIMIT_FSIZE with the default action of SIGXFSZ);
* limit: the same write fails instead (EFBIG);
* disk: a small disk is full (ENOSPC; where `unshare` may mount a tmpfs).

After it, every file that a reader looks at must be one that the undisturbed run had there at
some time, an error must be one that says what to do, and the same command again must end with
the files of the undisturbed run: byte by byte, but for dates (tools/kill_commands.py). Prints a
table; exits with 1 where something was otherwise.
"""

import argparse
import collections
import contextlib
import importlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

from helpers.forks import Ended, in_fork

from crnet.__main__ import MODULES, run
from crnet_tf.common import tables
from tools import kill_commands
from tools.kill_commands import COMMANDS, Command
from tools.kill_watch import Watch

KILLS, ERRORS = ("moment", "change", "write"), ("limit", "disk")
UNSHARE = ["unshare", "--map-root-user", "--mount"]
HEAVY = [
    "crnet_tf.training.fitting", "crnet_tf.evaluation.run", "crnet_tf.reporting.pages",
    "crnet_tf.training.compact", "export.package.teach", "export.package.tflite",
    "export.package.onnx", "export.package.saved_model", "onnx", "matplotlib.figure",
]  # fmt: skip


class Trial:
    """One command, disturbed again and again.

    Attributes:
        place: folder in which it writes, emptied before each trial.
        whole: states of an undisturbed run's files. known: all that each had on the way.
    """

    def __init__(self, command: Command, data: pathlib.Path, place: pathlib.Path, chance):
        self.command, self.data, self.place, self.chance = command, data, place, chance
        self.out = place / command.out
        self.counts, self.problems, self.leftovers = collections.Counter(), [], set()
        self._undisturbed()

    def _undisturbed(self):
        self._empty()
        log = self.place.with_name("changes.json")
        ended = in_fork(self._run, Watch(self.place, log=log))
        if ended.status:
            raise RuntimeError(f"{self.command.words}: {ended.output[-2000:]}")
        seen = json.loads(log.read_text())
        self.changes, self.first, self.seconds = seen["count"], seen["first"], ended.seconds
        self.whole = kill_commands.states(self.place)
        self.known = collections.defaultdict(set)
        for name, state in [*self.whole.items(), *seen["states"]]:
            self.known[name].add(state)
        sizes = [path.stat().st_size for path in self.place.rglob("*") if path.is_file()]
        self.largest, self.total = max(sizes), sum(sizes)
        name = f"whole-{self.command.words.replace(' ', '-')}"
        self.finished = shutil.copytree(self.place, self.place.with_name(name), symlinks=True)

    def once(self, fault: str) -> None:
        """One fault, and what comes of it."""
        disk = Disk(self.place) if fault == "disk" else contextlib.nullcontext()
        over = self.command.again and self.chance.random() < 0.5
        self._empty()
        with disk:
            if over:
                shutil.copytree(self.finished, self.place, symlinks=True, dirs_exist_ok=True)
            if fault == "disk":
                disk.leave(int(self.total * self.chance.random()))
            ended = getattr(self, f"_{fault}")()
            ended_as = fault if ended.status else "ended well"
            self.counts[ended_as] += 1
            self._check_left(ended_as, ended)
            if fault == "disk":
                disk.leave(1 << 30)
            self._check_again(ended_as)

    # === Faults ===

    def _moment(self):
        return in_fork(self._run, kill_after=self.chance.uniform(self.first, self.seconds))

    def _change(self):
        last = self.chance.randint(1, self.changes)
        return in_fork(self._run, Watch(self.place, last=last))

    def _write(self):
        return in_fork(self._with_limit, self._size(), signal.SIG_DFL)

    def _limit(self):
        return in_fork(self._with_limit, self._size(), signal.SIG_IGN)

    def _disk(self):
        return in_fork(self._run)

    def _size(self):
        return int(self.largest ** self.chance.random())

    def _with_limit(self, size, action):
        signal.signal(signal.SIGXFSZ, action)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        self._run()

    # === What is checked ===

    def _check_left(self, fault, ended: Ended):
        """Nothing that a reader looks at is half a file; errors say what to do."""
        partial = self.command.partial if fault in ERRORS else ()
        for name, state in kill_commands.states(self.place).items():
            if state in self.known[name] or any(map(pathlib.Path(name).match, partial)):
                continue
            self._problem(fault, f"{name} is none of an undisturbed run")
        lines = ended.output.strip().splitlines() or [""]
        if fault in ERRORS and (
            ended.crashed or ended.status and not lines[-1].startswith("error: ")
        ):
            self._problem(fault, f"no clear error: {ended.output.strip()[-300:]}")

    def _check_again(self, fault):
        """The same command again: as if nothing had been."""
        found = kill_commands.states(self.place)
        if self.command.again or found != self.whole:
            ended = in_fork(self._run)
            if ended.status:
                self._problem(fault, f"the next run failed: {ended.output.strip()[-300:]}")
            found = kill_commands.states(self.place)
        for name in sorted(found.keys() | self.whole.keys()):
            if found.get(name) != self.whole.get(name):
                self._problem(fault, f"{name} is another one after the next run")
        hidden = {path.name for path in self.place.rglob(".*")}
        self.leftovers |= hidden

    def _problem(self, fault, text):
        self.problems.append(f"{self.command.words}, {fault}: {text}")
        print(self.problems[-1], flush=True)

    # === In the fork, and before ===

    def _run(self, watch=None):
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)  # tracing takes longer than tiny networks
        if watch:
            watch.begin()
        flags = [flag.format(data=self.data) for flag in self.command.flags]
        sys.argv = ["crnet"]
        run([*self.command.words.split(), *flags, f"--out={self.out}"])

    def _empty(self):
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()


class Disk:
    """A disk of its own, in memory, mounted at a folder within the block."""

    def __init__(self, place: pathlib.Path):
        self.place = place

    def __enter__(self):
        subprocess.run(["mount", "-t", "tmpfs", "none", self.place], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", self.place], check=True)

    def leave(self, size: int) -> None:
        """Makes it as large as what is on it and `size` bytes."""
        found = os.statvfs(self.place)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        option = f"remount,size={used + max(size, 4096)}"
        subprocess.run(["mount", "-o", option, self.place], check=True)


def can_mount() -> bool:
    """Whether this process may mount disks: it is root, if only of its own namespace."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "none", folder]
        if subprocess.run(command, capture_output=True).returncode:
            return False
        subprocess.run(["umount", folder], check=True)
    return True


def preload() -> None:
    """Imports what the commands do, and computes nothing: see `helpers.forks`."""
    for module in (*HEAVY, *(MODULES[command.words] for command in COMMANDS)):
        importlib.import_module(module)


def campaign(commands: list[Command], seconds: float, seed: int) -> list[Trial]:
    """Trials of all commands for so long, each fault in turn, and one of each at least.

    The cheaper a command, the oftener: by the root of the time that a trial of it takes.
    """
    chance, trials = random.Random(seed), []
    faults = [*KILLS, *ERRORS] if can_mount() else [*KILLS, "limit"]
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        data, place = pathlib.Path(folder, "data"), pathlib.Path(folder, "trial")
        os.environ["CRNET_CACHE"] = f"{folder}/cache"
        ended = in_fork(kill_commands.write_data, data)
        if ended.status:
            raise RuntimeError(ended.output)
        for command in commands:
            trials.append(Trial(command, data, place, chance))
            print(f"{command.words}: undisturbed {trials[-1].seconds:.1f} s", flush=True)
        while True:
            trial = min(trials, key=lambda one: one.counts.total() * one.seconds**0.5)
            number = trial.counts.total()
            if number and time.monotonic() - started > seconds:
                return trials
            trial.once(faults[number % len(faults)])
            print(f"{trial.command.words}: {dict(trial.counts)}", flush=True)


def table(trials: list[Trial]) -> str:
    """Markdown: how the trials of each command ended."""
    columns = [*KILLS, *ERRORS, "ended well"]
    counts = sum((trial.counts for trial in trials), collections.Counter())
    problems = sum(len(trial.problems) for trial in trials)
    ended = [(f"`crnet {one.command.words}`", one.counts, len(one.problems)) for one in trials]
    rows = (
        (name, *(found[column] for column in columns), faults)
        for name, found, faults in [*ended, ("together", counts, problems)]
    )
    return tables.markdown(("command", *columns, "faults found"), rows)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", help="of crnet, with commas; default: all", default="")
    parser.add_argument("--as_it_is", action="store_true", help="Try no `unshare`.")
    args = parser.parse_args()  # absl's flags are those of the commands
    if (
        not can_mount()
        and not subprocess.run([*UNSHARE, "true"], capture_output=True).returncode
    ):
        os.execvp(UNSHARE[0], [*UNSHARE, sys.executable, *sys.argv, "--as_it_is"])
    wanted = args.commands.split(",") if args.commands else MODULES
    preload()
    trials = campaign(
        [one for one in COMMANDS if one.words in wanted], 60 * args.minutes, args.seed
    )
    for trial in trials:
        for name in sorted(trial.leftovers):
            print(f"left after {trial.command.words}: {name}")
    print(f"\n{table(trials)}")
    sys.exit(any(trial.problems for trial in trials))


if __name__ == "__main__":
    main()
