"""`run.json`: what a training run was, so that its numbers can be made again."""

import contextlib
import dataclasses
import json
import pathlib
import resource
import sys
import time
from collections.abc import Iterator

from crnet_tf.common import disk, files, provenance
from crnet_tf.common.errors import InputError
from crnet_tf.common.locks import locked
from crnet_tf.config import Config
from crnet_tf.data.index import Index

# What may change when a run is taken up again.
RESUMABLE = ("steps", "val_episodes")
LAST, BEST = "last.keras", "best.keras"
INIT_HELP = "Checkpoint whose weights, also those of its encoder, a new run starts from."
FEATURES_GB = 100.0  # the largest store of features, unless told otherwise


def directory(given: str | None, settings: Config) -> pathlib.Path:
    """Folder of a run, made where it is missing: --out, or one named for its folds."""
    folds = "-calibration".join(map(str, settings.unseen_folds))
    out = pathlib.Path(given or f"runs/{settings.dataset}-fold{folds}")
    files.make_folder(out)
    return out


@contextlib.contextmanager
def session(
    out: pathlib.Path, settings: Config, index: Index, notice: str = "", init=None
) -> Iterator[dict]:
    """Keeps other processes out of a run, and gives the dict that `run.json` says of this
    session; what is put into it, the time and the memory are written when it ends well.

    Raises:
        RuntimeError: another process trains in `out`. ValueError: see `open_run`.
    """
    with locked(out, "trains in"):
        run = open_run(out, settings, index, notice, init)
        names = ", ".join(run["test_classes"])
        said = f"Fold {settings.fold} of {index.dataset}: held out are {names}. Run: {out}"
        print(said, flush=True)
        started, told = time.time(), run["sessions"][-1]
        yield told
        told["seconds"] = round(time.time() - started, 1)
        unit = 2**20 if sys.platform == "darwin" else 2**10
        told["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
        write_run(out, run)


def open_run(
    out: pathlib.Path, settings: Config, index: Index, notice: str = "", init=None
) -> dict:
    """What `run.json` says of a run; a run that is there already is gone on with.

    Raises:
        FileNotFoundError: there is no checkpoint `init`.
        ValueError: the run in `out` has another configuration, start or other records.
    """
    run_file = out / "run.json"
    run = describe_run(settings, index, notice, init)
    # A run that stopped before its first checkpoint has nothing to lose.
    if run_file.exists() and any((out / name).exists() for name in (LAST, BEST)):
        before = files.read_json(run_file)
        _check_same_run(out, before, run)
        run["sessions"] = before["sessions"]
    run["sessions"].append(provenance.describe_session())
    write_run(out, run)
    return run


def _check_same_run(out, before, now):
    # A field that is younger than the run had its default then.
    config = dataclasses.asdict(Config.from_dict(before["config"]))
    was, wanted = (
        values | {key: run.get(key) for key in ("records_sha256", "init_sha256")}
        for values, run in ((config, before), (now["config"], now))
    )
    differing = sorted(
        key
        for key in was.keys() | wanted.keys()
        if was.get(key) != wanted.get(key) and key not in RESUMABLE
    )
    if differing:
        changes = ", ".join(f"{k} was {was.get(k)!r}, now {wanted.get(k)!r}" for k in differing)
        raise InputError(
            f"{out} holds a run of another configuration: {changes}. Give the same flags to "
            "resume it, or another --out for a new run."
        )


def describe_run(settings: Config, index: Index, notice: str = "", init=None) -> dict:
    """Configuration and records of a run, without its sessions."""
    return {
        "notice": notice,
        "config": dataclasses.asdict(settings),
        "dataset": index.dataset,
        "records": str(index.directory),
        "records_sha256": index.sha256,
        "test_classes": [
            index.class_names[c - 1] for c in index.test_classes(*settings.unseen_folds)
        ],
        "init": str(init) if init else None,
        "init_sha256": _sha256_of(init) if init else None,
        "sessions": [],
    }


def _sha256_of(init):
    if not pathlib.Path(init).is_file():
        raise FileNotFoundError(
            f"init: expected a .keras file written by training, received {str(init)!r}, where "
            "there is none. Check the path."
        )
    return disk.sha256_of(init)


def write_run(out: pathlib.Path, run: dict) -> None:
    """Writes `run.json`."""
    files.write_text(out / "run.json", json.dumps(run, indent=1))
