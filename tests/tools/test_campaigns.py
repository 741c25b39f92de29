"""What the campaigns of tools/ are made of sees what it is for."""

import json
import os
import pathlib
import signal
import time
import zipfile

import pytest
from helpers.forks import in_fork, resident
from hypothesis import strategies as st

from tools import kill_commands, malformed_bombs, malformed_campaign, soak
from tools.kill_watch import Watch
from tools.malformed_targets import Target


def raises():
    raise ValueError("a fault")


@pytest.mark.parametrize(
    ("function", "status", "said"),
    [
        (lambda: print("done"), 0, "done"),
        (lambda: os._exit(3), 3, ""),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), -signal.SIGSEGV, ""),
        (raises, 1, "ValueError: a fault"),
    ],
)
def test_how_a_fork_ends_is_seen(function, status, said):
    ended = in_fork(function)
    assert ended.status == status and said in ended.output
    assert ended.crashed == (status < 0 or function is raises)


def test_a_fork_is_killed_in_time():
    ended = in_fork(time.sleep, 60, kill_after=0.1)
    assert ended.status == -signal.SIGKILL and ended.seconds < 30


def writes(folder, watch):
    """Two changes that readers see, and one beside the folder."""
    watch.begin()
    (folder / ".a.json").write_text("{}")
    (folder / ".a.json").rename(folder / "a.json")
    (folder.parent / "elsewhere").write_text("")
    (folder / "b").write_text("b")


@pytest.mark.parametrize(
    ("last", "left"), [(1, []), (2, [".a.json"]), (3, ["a.json"]), (4, ["a.json", "b"])]
)
def test_a_fork_is_killed_just_before_a_change(tmp_path, last, left):
    folder = tmp_path / "in"
    folder.mkdir()
    ended = in_fork(writes, folder, Watch(folder, last=last))
    assert ended.status == (0 if last == 4 else -signal.SIGKILL), ended.output
    assert sorted(path.name for path in folder.iterdir()) == left


def test_what_stood_at_a_place_for_a_while_is_noted(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    in_fork(writes, folder, Watch(folder, log=tmp_path / "log"))
    seen = json.loads((tmp_path / "log").read_text())
    assert seen["count"] == 3
    assert seen["states"] == [["a.json", kill_commands.states(folder)["a.json"]]]


def write_checkpoint(path, date, weights):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", date)
        archive.writestr("model.weights.h5", weights)


def test_two_files_are_alike_up_to_their_dates(tmp_path):
    path = tmp_path / "a.keras"
    found = set()
    for date, weights in (("1", b"w"), ("2", b"w"), ("2", b"v")):
        write_checkpoint(path, date, weights)
        found.add(kill_commands.states(tmp_path)["a.keras"])
    assert len(found) == 2
    path.write_bytes(path.read_bytes()[:-5])
    assert kill_commands.states(tmp_path)["a.keras"] not in found
    reports = []
    for date, score in (("2026-01-01T10:00:00", 1), ("2026-01-01T11:00:00", 1), ("", 2)):
        (tmp_path / "evaluation.json").write_text(json.dumps({"at": date, "score": score}))
        reports.append(kill_commands.states(tmp_path)["evaluation.json"])
    assert reports[0] == reports[1] != reports[2]


def test_a_campaign_counts_answers_refusals_faults_and_crashes(tmp_path, capsys):
    def ask(_, folder, case):
        if case == 3:
            raise KeyError("no clear error")
        return case < 2

    target = Target("mine", 1, lambda _: st.sampled_from(range(4)), ask)
    row = malformed_campaign.asked(target, 4, seed=0)
    assert (row["answered"], row["refused"], row["faults"]) == (2, 1, 1)
    assert "KeyError at test_campaigns.py" in capsys.readouterr().out
    fatal = Target("fatal", 1, target.cases, lambda *_: os._exit(9))
    assert malformed_campaign.asked(fatal, 4, seed=0)["crashes"] == 1


@pytest.mark.parametrize(
    ("read", "fault"),
    [(pathlib.Path.read_bytes, False), (lambda _: len(b"x" * 300 * 2**20), True)],
)
def test_a_bomb_is_one_that_takes_much(read, fault):
    row = malformed_bombs.explode(malformed_bombs.Bomb("mine", lambda: b"content", read))
    assert row["fault"] == fault and row["size"] == 7, row


def test_growing_memory_is_seen():
    samples = [(second, 2**20 * (100 + second // 60)) for second in range(0, 3600, 10)]
    grows, interval = soak.slope(samples)
    assert abs(grows - 60) < 1 and 0 < interval < 1
    assert resident() > 2**20
