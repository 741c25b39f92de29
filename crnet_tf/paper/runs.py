"""Where the networks and evaluations behind the paper's tables lie, and what of them is done.

    runs/pascal5i/full-fold1/                      a training run (run.json, best.keras ...)
    runs/pascal5i/features-resnet50/               its --feature_store, shared where possible
    runs/pascal5i/full-fold1-evaluations/SETTINGS/ evaluation.json ...

A network is trained once for each set of structural flags and fold, however many rows and
tables use it. Only what is on disk counts, so nothing needs to be remembered.
"""

import dataclasses
import hashlib
import json
import pathlib
import re
import sys
import zipfile

from crnet_tf import config
from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.paper.tables import Row, Table, network_name
from crnet_tf.training import runs

STRUCTURE = ("backbone", "condition", "cross_reference", "mask_refinement", "multi_level")
SET_BY_TABLE = {
    "train_flags": (
        "fold", "calibration_fold", "records", "out", "feature_store", *STRUCTURE[1:]
    ),
    "eval_flags": ("checkpoint", "records", "out", "shot", "way", "kshot", "test_scales"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Workplace:
    """The runs of one table.

    Args:
        records: folder of records; records_sha256: hash of its index.
        directory: --runs.
        train_flags, eval_flags: passed on; "{backbone}" in a training flag becomes its name.
        taken: {(network of the row, fold): checkpoint} to use in place of training.

    Raises:
        ValueError: a flag that the table sets itself, or a checkpoint of another network.
    """

    table: Table
    records: pathlib.Path
    records_sha256: str
    directory: pathlib.Path
    train_flags: tuple[str, ...] = ()
    eval_flags: tuple[str, ...] = ()
    taken: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        by_rows = [_name(flag) for row in self.table.own_rows() for flag in row.network]
        _refuse("train_flags", self.train_flags, by_rows)
        _refuse("eval_flags", self.eval_flags, [])
        several = [f for f in self.eval_flags if _name(f) == "protocol" and "," in f]
        if several:
            raise InputError(
                "eval_flags: expected one protocol, because a cell of a table is one number, "
                f"received {several[0]}. Give one of them."
            )
        for network, fold in self.taken:
            self._check_taken(network, fold)

    def name(self, row: Row, fold: int) -> str:
        """Name of the network of a row and fold: "full-fold1"."""
        backbone = [flag for flag in self.train_flags if _name(flag) == "backbone"]
        return f"{network_name((*row.network, *backbone))}-fold{fold}"

    def run_dir(self, row: Row, fold: int) -> pathlib.Path:
        """Folder that the network of a row is trained in."""
        return self._place(self.name(row, fold))

    def checkpoint(self, row: Row, fold: int) -> pathlib.Path:
        """The .keras file that is evaluated for a row, there or not."""
        return self.taken.get((row.network, fold)) or self.run_dir(row, fold) / runs.BEST

    def training_command(self, row: Row, fold: int) -> list[str]:
        """`python -m crnet_tf.train ...` of a row's network."""
        backbone = structure((*self.train_flags, *row.network))["backbone"]
        passed_on = [flag.replace("{backbone}", backbone) for flag in self.train_flags]
        command = _command(
            "train", fold=fold, records=self.records, out=self.run_dir(row, fold)
        )
        if any(re.match(r"--?feature_views=0*[1-9]", flag) for flag in passed_on):
            # What else a row leaves out lies behind the encoder.
            levels = "-nomulti_level" if "--nomulti_level" in row.network else ""
            store = self._place(f"features-{backbone}{levels}")
            passed_on.append(f"--feature_store={store}")
        return [*command, *row.network, *passed_on]

    def evaluation_command(self, row: Row, shot: int, fold: int) -> list[str]:
        """`python -m crnet_tf.evaluate ...` of a row with `shot` supports."""
        out = self.evaluation_dir(row, shot, fold)
        command = _command(
            "evaluate", checkpoint=self.checkpoint(row, fold), records=self.records, out=out
        )
        return [*command, *row.evaluation(shot), *self.eval_flags]

    def evaluation_dir(self, row: Row, shot: int, fold: int) -> pathlib.Path:
        """Folder of an evaluation; every setting is in its name."""
        network, taken = self.name(row, fold), self.taken.get((row.network, fold))
        if taken:
            network += "-" + hashlib.sha256(str(taken.resolve()).encode()).hexdigest()[:8]
        settings = (*row.evaluation(shot), *sorted(self.eval_flags))
        name = re.sub(r"[^\w.+=-]+", "_", ",".join(flag.lstrip("-") for flag in settings))
        return self._place(f"{network}-evaluations") / name

    def is_trained(self, row: Row, fold: int, as_asked: bool = False) -> bool:
        """Whether a row's checkpoint is final; `as_asked`: made by the very command."""
        checkpoint = self.checkpoint(row, fold)
        if (row.network, fold) in self.taken:
            return True
        if not checkpoint.exists() or self._differing(row.network, fold, checkpoint):
            return False
        sessions = files.read_json(self.run_dir(row, fold) / "run.json", {}).get("sessions", [])
        if not sessions or "seconds" not in sessions[-1]:  # killed, or still at it
            return False
        asked = self.training_command(row, fold)[3:]
        return not as_asked or sorted(sessions[-1]["command"][1:]) == sorted(asked)

    def report(self, row: Row, shot: int, fold: int) -> dict | None:
        """evaluation.json of a finished evaluation, with the network's own row as "score".

        None where there is none that holds: of the final checkpoint and of these records.
        """
        file = self.evaluation_dir(row, shot, fold) / "evaluation.json"
        checkpoint = self.checkpoint(row, fold)
        if not file.exists() or not self.is_trained(row, fold):
            return None
        if file.stat().st_mtime < checkpoint.stat().st_mtime:
            return None
        report = files.read_json(file)
        wanted = {"fold": fold, "records_sha256": self.records_sha256}
        if any(report.get(key) != value for key, value in wanted.items()):
            return None
        scores = [
            score
            for score in report.get("rows", [])
            if (score["method"], score["shot"]) == ("crnet", shot)
            and (shot == 1 or score["kshot"] == row.kshot)
        ]
        return report | {"score": scores[0]} if len(scores) == 1 else None

    def _place(self, name):
        return self.directory / self.table.dataset / name

    def _check_taken(self, network, fold):
        path = self.taken[network, fold]
        differing = self._differing(network, fold, path)
        if differing:
            raise InputError(
                f"checkpoints: {path} is not network {network_name(network)!r} of fold {fold}: "
                + "; ".join(differing)
                + ". Give another checkpoint, or leave it out to train one."
            )

    def _differing(self, network, fold, checkpoint):
        """In what a checkpoint is not the network that a row asks for."""
        values = {"calibration_fold": -1} | checkpoint_config(checkpoint)  # younger than some
        wanted = structure((*self.train_flags, *network))
        wanted |= {"dataset": self.table.dataset, "fold": fold, "calibration_fold": -1}
        return [
            f"{name}: expected {value!r}, received {values.get(name)!r}"
            for name, value in wanted.items()
            if values.get(name) != value
        ]


def structure(flags: tuple[str, ...]) -> dict:
    """What training flags say of the network's structure: {field of Config: value}."""
    values = {name: getattr(config.Config(), name) for name in STRUCTURE}
    for flag in flags:
        name, value = _name(flag), flag.partition("=")[2]
        if name in values:
            values[name] = value if value else not flag.lstrip("-").startswith("no")
    return values


def checkpoint_config(path: pathlib.Path) -> dict:
    """The fields of the `Config` that a .keras file was saved with, read without the network.

    Raises:
        FileNotFoundError: there is no such file. ValueError: it is no checkpoint of CRNet.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"No checkpoint {str(path)!r}: expected a .keras file written by training."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))["config"]["config"]
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected a .keras file written by training, received another file "
            f"({type(error).__name__}: {error})."
        ) from error


def _command(module, **flags):
    given = [f"--{name}={value}" for name, value in flags.items()]
    return [sys.executable, "-m", f"crnet_tf.{module}", *given]


def _name(flag):
    """Name of a flag: "--nocondition", "--condition=false" -> "condition"."""
    name = flag.lstrip("-").partition("=")[0]
    return name[2:] if name.startswith("no") and name[2:] in STRUCTURE else name


def _refuse(what, given, more):
    taken = sorted({_name(flag) for flag in given} & {*SET_BY_TABLE[what], *more})
    if taken:
        raise InputError(
            f"{what}: expected flags that the table leaves open, received {', '.join(taken)}. "
            "Leave them out: each row sets its own."
        )
    bare = [flag for flag in given if not flag.startswith("-")]
    if bare:
        raise InputError(
            f'{what}: expected flags such as "--seed=1 --precision=float32", received '
            f"{bare[0]!r}. Write --name=value."
        )
