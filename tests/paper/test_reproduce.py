"""Tables of the paper from runs: what is run, what is taken up again, what the table says."""

import dataclasses
import fcntl
import importlib
import json
import os
import pathlib
import re
import sys
import threading
import time
import types
import zipfile

import pytest
from helpers import commands

from crnet_tf import config, reproduce
from crnet_tf.data import records
from crnet_tf.paper import reproduction
from crnet_tf.paper.report import render
from crnet_tf.paper.runs import Workplace, structure
from crnet_tf.paper.tables import TABLES

ROOT = pathlib.Path(__file__).parents[2]
INDEX = records.Index(
    directory=pathlib.Path("records/voc"),
    dataset="pascal5i",
    filter="oslsm",
    class_names=(),
    splits={
        "train": {"classes": {"1": {"records": 1000}, "2": {"records": 661}}},
        "val": {"classes": {"1": {"records": 537}}},
    },
    sha256="abc123",
)


def workplace(tmp_path, table=2, **options):
    defaults = {"records": INDEX.directory, "records_sha256": INDEX.sha256}
    return Workplace(TABLES[table], directory=tmp_path / "runs", **defaults | options)


def values_of(command):
    flags = [flag.lstrip("-") for flag in command[3:]]
    return dict(flag.split("=", 1) for flag in flags if "=" in flag)


def write_checkpoint(path, **fields):
    values = dataclasses.asdict(config.Config()) | {"dataset": "pascal5i"} | fields
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"config": values}}))
    return path


class Commands:
    """In place of the two commands: notes them and leaves the files that they would."""

    def __init__(self, mean_iou=0.488, dies=lambda command: False):
        self.commands, self.mean_iou, self.dies = [], mean_iou, dies

    def __call__(self, command, log):
        self.commands.append(command)
        log.parent.mkdir(parents=True, exist_ok=True)
        if self.dies(command):
            log.write_text("$ command\nstep 1\nerror: memory | ran out. Buy some.\n")
            return 1
        values, out = values_of(command), pathlib.Path(values_of(command)["out"])
        out.mkdir(parents=True, exist_ok=True)
        if command[2] == "crnet_tf.train":
            self.train(command, values, out)
        else:
            self.evaluate(values, out)
        return 0

    def train(self, command, values, out):
        fields = structure(command[3:]) | {"fold": int(values["fold"]), "channels": 128}
        write_checkpoint(out / "best.keras", **fields, steps=int(values.get("steps", 20000)))
        session = {"command": ["train.py", *command[3:]], "git": "f00d", "seconds": 5400.0}
        run = {"config": {"steps": 1200}, "sessions": [session]}
        (out / "run.json").write_text(json.dumps(run))

    def evaluate(self, values, out):
        shot = int(values["shot"])
        score = {
            "method": "crnet", "protocol": "crnet", "deviations": ["a subset"], "shot": shot,
            "kshot": values.get("kshot", "fusion"), "seeds": [0], "episodes": 300,
            "manifest_sha256": ["43ac7d80cb67ffff"], "mean_iou": self.mean_iou, "fb_iou": 0.728,
            "mean_iou_std": None,
        }  # fmt: skip
        report = {
            "fold": int(re.findall(r"fold(\d)", values["checkpoint"])[-1]),
            "records_sha256": INDEX.sha256,
            "options": {"kshot": "fusion", "finetune_steps": 20, "weighted_fusion": True},
            "classes": "novel", "seconds": 1800.0,
            "rows": [score | {"method": "prototype", "mean_iou": 0.9}, score],
        }  # fmt: skip
        (out / "evaluation.json").write_text(json.dumps(report))

    @property
    def modules(self):
        return [command[2].removeprefix("crnet_tf.") for command in self.commands]


def make(place, tmp_path, run, folds=(1,), only=()):
    cells = reproduction.chosen_cells(place.table, list(folds), list(only))
    failures = reproduction.reproduce(place, INDEX, cells, tmp_path / "out", run)
    table = tmp_path / "out" / f"table{place.table.number}.md"
    return failures, table.read_text()


def line(text, start):
    return next(found for found in text.splitlines() if found.startswith(start))


def test_a_table_has_the_papers_value_beside_ours(tmp_path):
    run = Commands()
    failures, text = make(workplace(tmp_path), tmp_path, run, folds=[0, 1, 2, 3])
    assert not failures
    assert run.modules.count("train") == run.modules.count("evaluate") == 12
    assert line(text, "| Condition") == (
        "| Condition | Cross-Reference Module | 1-shot, paper | 1-shot, here |"
    )
    assert "| ✓ | ✓ | 49.1 | 48.8 |" in text
    assert "49.1 is also the first row of Table 3" in text


def test_commands_ask_for_the_rows_network_and_test(tmp_path):
    run = Commands()
    place = workplace(tmp_path, 3, train_flags=("--steps=1200",), eval_flags=("--episodes=9",))
    make(place, tmp_path, run, only=["mask-refinement"])
    train, evaluate = run.commands
    assert train[:3] == [sys.executable, "-m", "crnet_tf.train"]
    assert {"--fold=1", "--records=records/voc", "--nomulti_level", "--steps=1200"} < {*train}
    assert "--nomask_refinement" not in train
    assert {"--shot=1", "--test_scales=0.75,1,1.25", "--episodes=9"} < {*evaluate}
    assert f"--checkpoint={values_of(train)['out']}/best.keras" in evaluate


def test_a_mean_over_some_folds_and_what_was_not_run_are_named(tmp_path):
    place = workplace(tmp_path)
    _, text = make(place, tmp_path, Commands(0.4), folds=[1], only=["both"])
    assert "| ✓ | ✓ | 49.1 | 40.0 (fold 1) |" in text
    assert "| ✓ |  | 36.3 | not run |" in text
    _, text = make(place, tmp_path, Commands(0.5), folds=[3], only=["both"])
    assert "| ✓ | ✓ | 49.1 | 45.0 (folds 1, 3) |" in text
    assert line(text, "| both | 1-shot") == (
        "| both | 1-shot | not run | 40.0 | not run | 50.0 |"
    )


def test_the_table_says_what_was_run(tmp_path):
    _, text = make(workplace(tmp_path), tmp_path, Commands(), only=["both"])
    assert "train 1,661, val 537" in text and "cannot be compared with the paper's" in text
    network = line(text, "| nomask_refinement-nomulti_level |")
    for part in ("| 1 |", "| 321 |", "20,000", "base", "1.50", "f00d", "channels=128"):
        assert part in network
    evaluation = line(text, "| both | 1 | 1 |")
    for part in ("300", "43ac7d80cb67", "crnet; a subset", "novel", "0.50"):
        assert part in evaluation


def test_what_fine_tuning_was_stands_where_it_matters(tmp_path):
    _, text = make(workplace(tmp_path, 4), tmp_path, Commands(), only=["fusion", "finetune"])
    assert "| finetune | 1 | finetune_steps=20, weighted_fusion=True |" in text
    assert "| fusion | 1 | weighted_fusion=True |" in text
    assert len([found for found in text.splitlines() if "43ac7d80cb67" in found]) == 5


def test_a_complete_data_set_is_comparable(tmp_path):
    splits = {
        split: {"classes": {"1": {"records": count}}}
        for split, count in (("train", 13_682), ("val", 1_866))
    }
    text = render(workplace(tmp_path), dataclasses.replace(INDEX, splits=splits), {})
    assert "cannot be compared" not in text and "not run" in text


def test_a_finished_cell_is_not_run_again(tmp_path):
    place = workplace(tmp_path)
    make(place, tmp_path, Commands())
    again = Commands()
    make(place, tmp_path, again)
    assert not again.commands


def test_a_killed_training_goes_on(tmp_path):
    place = workplace(tmp_path)
    make(place, tmp_path, Commands(), only=["both"])
    file = place.run_dir(TABLES[2].rows[2], 1) / "run.json"
    run = json.loads(file.read_text())
    del run["sessions"][0]["seconds"]
    file.write_text(json.dumps(run))
    assert "49.1 | not run" in render(place, INDEX, {})
    again = Commands()
    make(place, tmp_path, again, only=["both"])
    assert again.modules == ["train", "evaluate"]


def test_other_settings_are_not_taken_for_the_same(tmp_path):
    make(workplace(tmp_path), tmp_path, Commands(), only=["both"])
    more = Commands(0.6)
    place = workplace(tmp_path, eval_flags=("--episodes=1000",))
    _, text = make(place, tmp_path, more, only=["both"])
    assert more.modules == ["evaluate"] and "60.0 (fold 1)" in text
    longer = Commands()
    make(workplace(tmp_path, train_flags=("--steps=9",)), tmp_path, longer, only=["both"])
    assert longer.modules == ["train", "evaluate"]


def test_an_evaluation_of_an_older_checkpoint_or_of_other_records_does_not_count(tmp_path):
    place = workplace(tmp_path)
    make(place, tmp_path, Commands(), only=["both"])
    both = TABLES[2].rows[2]
    assert place.report(both, 1, 1)
    assert dataclasses.replace(place, records_sha256="other").report(both, 1, 1) is None
    later = time.time() + 100
    os.utime(place.checkpoint(both, 1), (later, later))
    assert place.report(both, 1, 1) is None


def test_rows_and_tables_share_a_trained_network(tmp_path):
    make(workplace(tmp_path, 3), tmp_path, first := Commands())
    assert first.modules.count("train") == 3 and first.modules.count("evaluate") == 4
    make(workplace(tmp_path, 2), tmp_path, second := Commands(), only=["both"])
    assert not second.commands  # the baseline of table 3, tested alike
    make(workplace(tmp_path, 4), tmp_path, third := Commands())
    assert third.modules == ["evaluate"] * 6  # k = 1 by fusion is the same once more
    make(workplace(tmp_path, 5), tmp_path, fourth := Commands())
    assert fourth.modules == ["train", "evaluate"]  # VGG-16


def test_published_rows_and_missing_values_stay_what_they_are(tmp_path):
    _, text = make(workplace(tmp_path, 5), tmp_path, run := Commands(), only=["crnet-vgg16"])
    assert "| PGNet (published) | ResNet-50 | 56.0 |  | 69.9 |  |" in text
    assert "| PL (published) | VGG16 | - |  | 61.2 |  |" in text
    assert "| CRNet | VGG16 | 55.2 | 48.8 (fold 1) | 66.4 | 72.8 (fold 1) |" in text
    assert "--backbone=vgg16" in run.commands[0] and run.modules == ["train", "evaluate"]
    _, text = make(workplace(tmp_path, 4), tmp_path, Commands(), only=["finetune"])
    assert line(text, "| Finetune |").startswith(
        "| Finetune | N/A | N/A | 57.5 | 48.8 (fold 1)"
    )


def test_a_failing_cell_is_told_and_the_others_go_on(tmp_path):
    run = Commands(dies=lambda command: "--nocondition" in command)
    failures, text = make(workplace(tmp_path), tmp_path, run)
    assert list(failures) == [("cross-reference", "1-shot", 1)]
    assert "|  | ✓ | 43.3 | failed (fold 1) |" in text
    assert "| cross-reference | 1-shot | not run | failed | not run | not run |" in text
    assert "`error: memory | ran out. Buy some. (exit status 1; " in text
    assert "| ✓ | ✓ | 49.1 | 48.8 (fold 1) |" in text


def test_a_cell_that_fails_now_does_not_show_an_older_value(tmp_path):
    place = workplace(tmp_path)
    make(place, tmp_path, Commands(), folds=[0, 1], only=["both"])
    text = render(place, INDEX, {("both", "1-shot", 1): "error: no"})
    assert "49.1 | 48.8 (fold 0); failed (fold 1) |" in text


def test_what_failed_is_tried_once_for_all_its_cells(tmp_path):
    run = Commands(dies=lambda command: command[2] == "crnet_tf.train")
    failures, _ = make(workplace(tmp_path, 4), tmp_path, run)
    assert len(failures) == 7 and run.modules == ["train"]


def test_an_evaluation_that_is_not_what_was_asked_for_is_a_failure(tmp_path):
    run = Commands()
    run.evaluate = lambda values, out: (out / "evaluation.json").write_text("{}")
    failures, _ = make(workplace(tmp_path), tmp_path, run, only=["both"])
    assert "is not what was asked for" in failures["both", "1-shot", 1]


def test_a_killed_reproduction_leaves_a_true_table(tmp_path):
    def killed(command):
        if "--nocondition" in command:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        make(workplace(tmp_path), tmp_path, Commands(dies=killed))
    text = (tmp_path / "out" / "table2.md").read_text()
    assert "36.3 | 48.8 (fold 1) |" in text and "43.3 | not run |" in text


def test_a_given_checkpoint_is_taken_in_place_of_training(tmp_path):
    path = write_checkpoint(
        tmp_path / "fold1" / "best.keras", fold=1, mask_refinement=False, multi_level=False
    )
    taken = reproduction.taken_checkpoints(TABLES[3], [f"baseline:1={path}"])
    run = Commands()
    place = workplace(tmp_path, 3, taken=taken)
    _, text = make(place, tmp_path, run, only=["baseline", "multi-scale"])
    assert run.modules == ["evaluate", "evaluate"]
    assert all(f"--checkpoint={path}" in command for command in run.commands)
    assert "unknown" in line(text, "| nomask_refinement-nomulti_level |")
    assert "48.8" not in render(
        workplace(tmp_path, 3), INDEX, {}
    )  # its own network is untrained


@pytest.mark.parametrize("fields", [{"fold": 2}, {"fold": 1}, {"fold": 1, "dataset": "demo"}])
def test_a_checkpoint_of_another_network_is_refused(fields, tmp_path):
    levels = {"multi_level": False} if "dataset" in fields else {}
    path = write_checkpoint(tmp_path / "best.keras", mask_refinement=False, **levels, **fields)
    taken = reproduction.taken_checkpoints(TABLES[2], [f"both:1={path}"])
    with pytest.raises(ValueError, match="(fold|multi_level|dataset): expected"):
        workplace(tmp_path, taken=taken)


def test_a_network_trained_with_other_structure_does_not_count(tmp_path):
    place = workplace(tmp_path)
    make(place, tmp_path, Commands(), only=["both"])
    write_checkpoint(place.checkpoint(TABLES[2].rows[2], 1), fold=1)
    assert not place.is_trained(TABLES[2].rows[2], 1)


def test_stored_features_are_shared_by_networks_with_the_same_encoder(tmp_path):
    place = workplace(tmp_path, train_flags=("--feature_views=2",))
    table = TABLES[2]
    stores = {
        values_of(place.training_command(row, fold))["feature_store"]
        for row in table.rows
        for fold in table.folds
    }
    assert len(stores) == 1
    whole = workplace(tmp_path, 3, train_flags=("--feature_views=2",))
    full = values_of(whole.training_command(TABLES[3].rows[-1], 1))["feature_store"]
    assert full not in stores
    assert "feature_store" not in values_of(
        workplace(tmp_path).training_command(TABLES[2].rows[2], 1)
    )


def test_weights_can_be_named_for_each_backbone(tmp_path):
    place = workplace(tmp_path, 5, train_flags=("--backbone_weights=w/{backbone}.npz",))
    vgg16, resnet50 = (
        values_of(place.training_command(row, 0))["backbone_weights"]
        for row in TABLES[5].own_rows()
    )
    assert (vgg16, resnet50) == ("w/vgg16.npz", "w/resnet50.npz")


@pytest.mark.parametrize(
    "options, named",
    [
        ({"train_flags": ("--fold=2",)}, "fold"),
        ({"train_flags": ("--nocondition",)}, "condition"),
        ({"table": 5, "train_flags": ("--backbone=tiny",)}, "backbone"),
        ({"eval_flags": ("--test_scales=1",)}, "test_scales"),
        ({"eval_flags": ("episodes=3",)}, "episodes=3"),
        ({"eval_flags": ("--protocol=crnet,pfenet",)}, "--protocol=crnet,pfenet"),
    ],
)
def test_flags_that_a_table_sets_are_refused(options, named, tmp_path):
    with pytest.raises(ValueError, match=f"_flags: expected (flags|one protocol).*{named}"):
        workplace(tmp_path, **options)


@pytest.mark.parametrize("text", ["both=x", "none:1=x", "both:7=x", "both:1="])
def test_checkpoints_of_another_form_are_refused(text):
    with pytest.raises(ValueError, match="expected ROW:FOLD=path"):
        reproduction.taken_checkpoints(TABLES[2], [text])


def test_two_checkpoints_for_one_network_are_refused():
    with pytest.raises(ValueError, match="shares its network"):
        reproduction.taken_checkpoints(TABLES[3], ["baseline:1=x", "multi-scale:1=y"])


def test_unknown_folds_and_rows_are_refused():
    with pytest.raises(ValueError, match="folds: expected some of 0 for table 7"):
        reproduction.chosen_cells(TABLES[7], [1], [])
    with pytest.raises(ValueError, match="only: expected some of crnet-vgg16"):
        reproduction.chosen_cells(TABLES[5], [1], ["PL"])


def test_a_dry_run_lists_every_command_once(tmp_path):
    place = workplace(tmp_path, 4)
    cells = reproduction.chosen_cells(place.table, [0], [])
    listed = reproduction.listed_commands(place, cells)
    assert len(listed) == 8 and sum("crnet_tf.train" in command for command in listed) == 1
    assert not (tmp_path / "runs").exists()
    run = Commands()
    make(place, tmp_path, run, folds=[0])
    assert [" ".join(command) for command in run.commands] == listed
    assert not reproduction.listed_commands(place, cells)


def test_the_list_names_rows_networks_and_tests():
    text = reproduction.listing(TABLES[4])
    assert "finetune+fusion: 1-shot N/A, 5-shot 57.6, 10-shot 58.8" in text
    assert "--nomulti_level --nomask_refinement" in text
    assert "--shot=10 --kshot=finetune+fusion" in text


def test_the_last_error_of_a_log(tmp_path):
    log = tmp_path / "log"
    log.write_text("$ old\nerror: old\n\n$ new\nstep 1\rstep 2\nValueError: bad\nGoodbye\n")
    assert reproduction.last_error(log, 1) == f"ValueError: bad (exit status 1; {log})"
    log.write_text("\n$ new\nstep 1\bstep 2")
    assert reproduction.last_error(log, -9) == f"step 2 (killed by signal 9; {log})"
    assert "no output" in reproduction.last_error(tmp_path / "none", 1)


def test_output_goes_to_the_log_with_its_command(tmp_path):
    log = tmp_path / "a" / "log"
    script = "import os; print(os.environ['PYTHONPATH']); raise SystemExit('error: no')"
    assert reproduction.run_logged([sys.executable, "-c", script], log) == 1
    command, path = log.read_text().split("\n")[1:3]
    assert command.startswith("$ ") and script in command.replace("'\"'\"'", "'")
    assert path.split(os.pathsep)[0] == str(ROOT)  # the package is found from any folder
    assert reproduction.last_error(log, 1).startswith("error: no (")


def test_a_command_waits_for_another_that_writes_its_log(tmp_path, capsys):
    other = open(tmp_path / "log", "ab")
    fcntl.flock(other, fcntl.LOCK_EX)
    threading.Timer(0.3, lambda: (other.write(b"the other\n"), other.close())).start()
    reproduction.run_logged([sys.executable, "-c", "print('this')"], tmp_path / "log")
    text = (tmp_path / "log").read_text()
    assert text.index("the other") < text.index("$ ") < text.rindex("this")
    assert "Waiting for the process" in capsys.readouterr().out


def run_main(monkeypatch, **given):
    """`main` with these flags in place of the command line's."""
    values = {"list": False, "dry_run": False, "out": None, "runs": "runs", "folds": None}
    values |= {"only": [], "checkpoints": [], "train_flags": "", "eval_flags": ""}
    monkeypatch.setattr(reproduce.signal, "signal", lambda *_: None)
    monkeypatch.setattr(reproduce.flags, "FLAGS", types.SimpleNamespace(**values | given))
    reproduce.main()


def test_records_of_another_data_set_are_refused(monkeypatch, records_dir):
    with pytest.raises(ValueError, match="table 7 is of coco40-20-20, received records of pas"):
        run_main(monkeypatch, table="7", records=records_dir)
    with pytest.raises(ValueError, match="expected a folder of records"):
        run_main(monkeypatch, table="7", records=None)


def test_flags_reach_the_commands(monkeypatch, records_dir, capsys):
    run_main(
        monkeypatch, table="2", records=records_dir, dry_run=True, folds=["1"], only=["both"],
        train_flags="--steps=500 --backbone_weights='a b.npz'", eval_flags="--episodes=7",
    )  # fmt: skip
    train, evaluate = capsys.readouterr().out.splitlines()
    assert "--fold=1" in train and "'--backbone_weights=a b.npz'" in train
    assert evaluate.endswith("--episodes=7")
    with pytest.raises(ValueError, match="folds: expected some of 0, 1, 2, 3"):
        run_main(monkeypatch, table="2", records=records_dir, folds=["one"])


def test_failed_cells_fail_the_command(monkeypatch, records_dir, tmp_path):
    run = Commands(dies=lambda command: True)
    monkeypatch.setattr(reproduction, "run_logged", run)
    with pytest.raises(RuntimeError, match="1 of 1 cells failed"):
        run_main(
            monkeypatch, table="2", records=records_dir, folds=["1"], only=["both"],
            out=str(tmp_path), runs=str(tmp_path / "runs"),
        )  # fmt: skip
    assert "failed (fold 1)" in (tmp_path / "table2.md").read_text()


TINY_TRAINING = (
    "--backbone=tiny", "--backbone_weights=none", "--train_backbone", "--image_size=33",
    "--channels=8", "--global_kernel=3", "--aspp_rates=1,2", "--batch_size=2", "--steps=2",
    "--steps_per_epoch=2", "--val_episodes=2",
)  # fmt: skip


@pytest.mark.slow
def test_the_real_commands_fill_a_table(monkeypatch, records_dir, tmp_path):
    """Run here: a process of its own would take most of the time to start."""

    def in_this_process(command, log):
        monkeypatch.setattr(sys, "argv", command[2:])
        commands.run(importlib.import_module(command[2]), *command[3:])
        return 0

    index = records.load_index(records_dir)
    place = workplace(
        tmp_path,
        records=records_dir,
        records_sha256=index.sha256,
        train_flags=TINY_TRAINING,
        eval_flags=("--episodes=2", "--nobaselines"),
    )
    cells = reproduction.chosen_cells(place.table, [1], ["both"])
    assert not reproduction.reproduce(place, index, cells, tmp_path / "out", in_this_process)
    text = (tmp_path / "out" / "table2.md").read_text()
    assert "(fold 1) |" in line(text, "| ✓ | ✓ | 49.1 |")
    assert "backbone=tiny" in text and "| 33 | 2 " in text
    assert not reproduction.listed_commands(place, cells)
