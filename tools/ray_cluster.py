"""Tries `crnet find` and `crnet build voc` on a Ray cluster of this machine and kills parts.

    ENVIRONMENT/bin/python tools/ray_cluster.py --out=trial

The environment has the extra `ray`. A head without workers and two nodes of one worker each
are started on this machine. Searches and builds are compared, byte for byte, with those of a
single process: as they are; with a worker killed by SIGKILL in the midst; with a node killed;
with a photo that takes long. Seconds, and the memory of workers on a short and a 20 times
longer list, are printed. All is stopped at the end.
"""

import pathlib
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from absl import app, flags

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import many_photos  # noqa: E402
from crnet_tf.images import png_files  # noqa: E402
from tools import ray_nodes  # noqa: E402

SHARD = "--shard_photos=50"


# === Commands ===


class Trial:
    """Commands of `crnet` on the photos of a folder, and where their results are."""

    def __init__(self, root: pathlib.Path, searched: int, built: int):
        self.root = root
        drawn = many_photos.draw(root / "drawn")
        self.model = many_photos.write_model(root, drawn[0])
        self.lists = {}
        for count in (10, searched, 20 * searched):
            self.lists[count] = root / f"{count}.txt"
            many_photos.write_list(self.lists[count], root / "drawn", count)
        if not (root / "voc").exists():
            many_photos.write_voc(root / "voc", root / "drawn", built)
        self.searched = searched

    def find(self, name: str, photos: object, *more: str) -> subprocess.Popen:
        """A search that begins now."""
        given = [f"--model={self.model}", f"--photos={photos}", "--engine=litert", SHARD]
        return self._begun("find", name, *given, *more)

    def build(self, name: str, *more: str) -> subprocess.Popen:
        """A build that begins now."""
        return self._begun(
            "build voc", name, f"--voc_dir={self.root / 'voc'}", "--shard_mb=1", *more
        )

    def _begun(self, command, name, *arguments):
        words = [*command.split(), *arguments, f"--out={self.root / name}"]
        with open(self.root / f"{name}.log", "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "crnet", *words],
                env=ray_nodes.ENVIRONMENT,
                stdout=log,
                stderr=log,
            )

    def contents(self, name: str) -> dict[str, bytes]:
        """Files of a result but what depends on the run."""
        out = self.root / name
        files = [p for p in out.rglob("*") if p.is_file() and p.name != "metrics.json"]
        return {str(path.relative_to(out)): path.read_bytes() for path in files}

    def compare(self, name: str, other: str) -> None:
        """Ends the program unless two results are the same."""
        ours, theirs = self.contents(name), self.contents(other)
        if ours != theirs:
            differ = [path for path in {*ours, *theirs} if ours.get(path) != theirs.get(path)]
            raise SystemExit(f"error: {name} is not as {other}: {', '.join(sorted(differ))}.")
        print(f"{name}: the {len(ours)} files of {other}, byte for byte", flush=True)


def ended(process: subprocess.Popen, watch: Callable[[], None] = lambda: None) -> float:
    """Seconds until a command has ended well; `watch` is called ever again until then."""
    started = time.monotonic()
    while process.poll() is None:
        watch()
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"error: status {process.returncode} of {process.args}, see its log.")
    return time.monotonic() - started


# === Trials ===


def try_bytes(trial, there):
    """Results by workers are those of a single process, which the other trials compare with."""
    ended(trial.find("find-here", trial.lists[trial.searched]))
    ended(trial.build("build-here"))
    ended(trial.find("find-ray", trial.lists[trial.searched], f"--ray={there.address}"))
    ended(trial.build("build-ray", f"--ray={there.address}"))
    trial.compare("find-ray", "find-here")
    trial.compare("build-ray", "build-here")


def try_worker(trial, there):
    """A worker process is killed while it does a piece."""
    _interrupted(trial, there, "worker", lambda node: ray_nodes.killed(ray_nodes.working(node)))


def try_node(trial, there):
    """A node is killed; another one takes its place for the next trial."""

    def kill(node):
        there.kill(node)
        there.nodes.remove(node)

    _interrupted(trial, there, "node", kill, there.add)


def _interrupted(trial, there, name, kill, after=lambda: None):
    begin = {
        "find": lambda to, ray: trial.find(to, trial.lists[trial.searched], ray),
        "build": trial.build,
    }
    for command, start in begin.items():
        left = [kill]

        def in_the_midst(command=command, left=left):
            busy = [node for node in there.nodes if ray_nodes.working(node)]
            if left and busy and _halfway(trial.root / f"{command}-{name}", command):
                left.pop()(busy[-1])
                print(f"{command}: a {name} killed in the midst", flush=True)

        ended(start(f"{command}-{name}", f"--ray={there.address}"), in_the_midst)
        if left:
            print(f"{command}: ended before a {name} was killed")
        trial.compare(f"{command}-{name}", f"{command}-here")
        after()


def _halfway(out, command):
    """Whether some pieces are done and some are not."""
    if command == "find":
        return len(list(out.glob("answers-*"))) > 3
    return len(list(out.with_name(f".{out.name}.building").glob(".*.read/0*"))) > 5


def try_slow(trial, there):
    """A photo that takes long, the first of the list, does not stop the others."""
    large = trial.root / "large.png"
    noise = np.random.default_rng(0).integers(0, 256, (9000, 9000, 3), np.uint8)
    png_files.write_png(large, noise, png_files.FAST)
    listed = trial.root / "slow.txt"
    listed.write_text(f"{large}\n" + trial.lists[trial.searched].read_text())
    ended(trial.find("find-slow", listed, f"--ray={there.address}"))
    done = sorted((trial.root / "find-slow").glob("answers-*"), key=lambda p: p.stat().st_mtime)
    place = [path.name.split("-")[1] for path in done].index("00000")
    print(f"slow: the piece of the slow photo ended as number {place + 1} of {len(done)}")


def try_memory(trial, there):
    """Most memory of any worker, on a list and on one that is 20 times as long."""
    for count in (trial.searched, 20 * trial.searched):
        most = {"workers": 0.0, "caller": 0.0}
        process = trial.find(
            f"find-memory-{count}", trial.lists[count], f"--ray={there.address}"
        )

        def watch(most=most, caller=process.pid):
            own = [
                ray_nodes.megabytes(pid)
                for node in there.nodes
                for pid in ray_nodes.working(node)
            ]
            most["workers"] = max(most["workers"], *own, 0)
            most["caller"] = max(most["caller"], ray_nodes.megabytes(caller))

        seconds = ended(process, watch)
        print(
            f"memory: {count:,} photos, {seconds:.0f} s, most MB: a worker "
            f"{most['workers']:.0f}, the caller {most['caller']:.0f}",
            flush=True,
        )


def try_speed(trial, there):
    """Seconds with one and two workers and without Ray, of little and of more work."""
    for workers in (2, 1):
        if workers == 1:
            there.kill(there.nodes.pop())
            time.sleep(10)
        _timed(trial, f"{workers}-workers", f"--ray={there.address}")
    _timed(trial, "no-ray")


def _timed(trial, name, *ray):
    for count in (10, trial.searched, trial.searched):
        out = f"find-{name}-{count}-{time.monotonic_ns()}"
        print(f"speed: {name}, {count:,} photos: ", end="")
        print(f"{ended(trial.find(out, trial.lists[count], *ray)):.1f} s", flush=True)
    seconds = ended(trial.build(f"build-{name}", *ray))
    print(f"speed: {name}, build: {seconds:.1f} s", flush=True)


TRIALS = {
    "bytes": try_bytes,
    "worker": try_worker,
    "node": try_node,
    "slow": try_slow,
    "memory": try_memory,
    "speed": try_speed,
}


def main(_):
    args = flags.FLAGS
    root = pathlib.Path(args.out).absolute()
    root.mkdir(parents=True, exist_ok=True)
    ray_nodes.ENVIRONMENT["CRNET_CACHE"] = str(root / "cache")
    trial = Trial(root, args.photos_searched, args.photos_built)
    with ray_nodes.cluster(root) as there:
        for name in args.trials:
            TRIALS[name](trial, there)


def define_flags():
    flags.DEFINE_string("out", None, "Folder for photos and results.", required=True)
    flags.DEFINE_integer("photos_searched", 1000, "Photos of a search, small ones.")
    flags.DEFINE_integer("photos_built", 4000, "Photos of a build.")
    trials = ["bytes", "worker", "node", "slow", "memory", "speed"]
    flags.DEFINE_list("trials", trials, "Which.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
