"""Builds that end badly, each in a fork of one process: TensorFlow is imported once.

    python tests/helpers/failing_builds.py SOURCE WORK

SOURCE are class folders, WORK an empty folder. Prints what was seen: {scenario: ...} as JSON.
Run under `unshare -rm` it may mount small and read-only disks; without, those are null.
"""

import hashlib
import itertools
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from crnet_tf.annotations import class_folders
from crnet_tf.common import disk
from crnet_tf.data import records
from pipelines import build_folder

SOURCE, WORK = map(pathlib.Path, sys.argv[1:])
LISTING = class_folders.list_photos(SOURCE)
FEW = LISTING._replace(photos=LISTING.photos[::10])
RANDOM_KILLS = 6


def build(out, listing=LISTING, read_label=class_folders.read_label):
    build_folder.build_folder(listing, read_label, out, source="x", name="mine", overwrite=True)


def in_child(function, *arguments):
    """What became of a function in a fork: its signal (0: none) and its error ("": none)."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        error = ""
        try:
            function(*arguments)
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
        os.write(writer, error.encode()[:4000])
        os._exit(0)
    os.close(writer)
    status = os.waitpid(child, 0)[1]
    with os.fdopen(reader) as file:
        return {"signal": os.WTERMSIG(status), "error": file.read()}


def found(out):
    """What a reader finds: "nothing", "broken", or the digest of records that are whole."""
    if not out.exists():
        return "nothing"
    digest = hashlib.sha256((out / records.INDEX_NAME).read_bytes())
    for split, content in records.load_index(out).splits.items():
        for file in (f for stream in content["classes"].values() for f in stream["files"]):
            if disk.sha256_of(out / split / file["name"]) != file["sha256"]:
                return "broken"
    return digest.hexdigest()


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def after(seconds, out):
    """A build whose alarm ends it, whatever it is doing then."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    build(out)


def at_rename(number, out):
    """A build that is killed before its nth rename: of a shard, or of the folder."""
    counted, rename = itertools.count(1), os.replace

    def counting(source, target):
        if next(counted) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)

    os.rename = os.replace = counting
    build(out)


def killed(function, moment, fresh):
    """A first build, or one over other records, killed; then built again."""
    out = WORK / "killed" / "out"
    shutil.rmtree(out.parent, ignore_errors=True)
    if not fresh:
        build(out, FEW)
    seen = in_child(function, moment, out) | {"moment": moment, "fresh": fresh}
    seen["left"] = names(out.parent)
    seen["found"] = found(out)
    build(out)
    seen["rerun"] = found(out)
    seen["beside"] = names(out.parent)
    return seen


def kills():
    start = time.monotonic()
    build(WORK / "undisturbed")
    duration = time.monotonic() - start
    moments = random.Random(0)
    at_random = [
        killed(after, moments.uniform(0.001, 1) * duration, fresh=number % 2 == 0)
        for number in range(RANDOM_KILLS)
    ]
    # 3 classes in 2 splits, then the old folder aside, then the new one to its place.
    at_renames = [killed(at_rename, number, fresh=False) for number in (1, 4, 7, 8)]
    build(WORK / "few", FEW)
    return {
        "whole": found(WORK / "undisturbed"),
        "before": found(WORK / "few"),
        "random": at_random,
        "renames": at_renames,
    }


def limited(size, out):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    build(out)


def failing(out, function, *arguments):
    """A build over other records that fails: nothing changes."""
    out.parent.mkdir()
    build(out, FEW)
    before = found(out)
    seen = in_child(function, *arguments)
    seen["kept"] = found(out) == before
    return seen | {"left": names(out.parent)}


def mount(folder, *options):
    command = ["mount", "-t", "tmpfs", *options, "none", str(folder)]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def full_disk(size):
    folder = WORK / f"disk{size}"
    folder.mkdir()
    if not mount(folder, "-o", f"size={size}"):
        return None
    out = folder / "here" / "out"
    seen = failing(out, build, out)
    for option in ("ro", "rw"):  # then with what fits, on a disk that only reads
        subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)
        seen[option] = in_child(build, out, FEW)["error"]
    return seen


def mounted_out():
    out = WORK / "mounted"
    out.mkdir()
    return in_child(build, out) if mount(out) else None


def two_builders():
    """One waits in the midst of its work until the other one has ended."""
    out = WORK / "both" / "out"
    out.parent.mkdir()
    begun, begin = os.pipe()
    released, release = os.pipe()
    waits = iter([True])

    def read_label(photo):
        if next(waits, False):
            os.write(begin, b"x")
            os.read(released, 1)
        return class_folders.read_label(photo)

    first = os.fork()
    if not first:
        build(out, read_label=read_label)
        os._exit(0)
    os.read(begun, 1)
    second = in_child(build, out)
    os.write(release, b"x")
    status = os.waitpid(first, 0)[1]
    return {"first": status, "pid": first, "found": found(out), **second}


if __name__ == "__main__":
    answer, sys.stdout = sys.stdout, sys.stderr  # builders print
    seen = kills()
    seen["limits"] = {
        size: failing(WORK / f"limit{size}" / "out", limited, size, WORK / f"limit{size}/out")
        for size in (2, 1000, 30_000)
    }
    seen["full"] = {size: full_disk(size) for size in ("128k", "300k")}
    seen["mounted"] = mounted_out()
    seen["two"] = two_builders()
    json.dump(seen, answer)
