"""Two evaluations compared on the same episodes."""

import json

import numpy as np
import pytest
from helpers import commands

from crnet_tf import evaluate as command
from crnet_tf.evaluation import comparing

COUNT = 40


def write(folder, fold, intersections, kshot="fusion", seed=0, **changes):
    """An evaluation of 40 episodes of two classes, each with a union of 100."""
    folder.mkdir(parents=True)
    names = {str(5 * fold + n): f"class {5 * fold + n}" for n in (1, 2)}
    about = {"fold": fold, "class_names": names}
    (folder / "evaluation.json").write_text(json.dumps(about))
    lines = [
        {
            "seed": seed, "class_id": 5 * fold + 1 + n % 2, "support": [f"s{n}"],
            "query": f"q{n}", "areas": [[900, 1000], [int(found), 100]], "protocol": "crnet",
            "shot": 1, "kshot": kshot,
        } | changes
        for n, found in enumerate(intersections)
    ]  # fmt: skip
    (folder / "episodes.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(30, 70, COUNT)


def rows(table):
    """{name: cells} of a table of Markdown."""
    cells = (line.strip("|").split("|") for line in table.splitlines() if line.startswith("|"))
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in cells}


def test_what_all_episodes_share_cancels_out(tmp_path, noise):
    write(tmp_path / "a", 0, noise + 5)
    write(tmp_path / "b", 0, noise)
    found = rows(comparing.compare(str(tmp_path / "a"), str(tmp_path / "b")))
    assert {"class 1", "class 2", "all"} < {*found} and "fold 0" not in found
    episodes, first, second, difference = found["all"]
    assert episodes == "40" and difference == "+5.0 (+5.0 to +5.0)"
    assert float(first) - float(second) == pytest.approx(5)


def test_a_difference_by_chance_has_an_interval_around_0(tmp_path, noise):
    write(tmp_path / "a", 0, noise)
    write(tmp_path / "b", 0, noise[::-1])
    found = rows(comparing.compare(str(tmp_path / "a"), str(tmp_path / "b")))
    assert "(-" in found["all"][-1] and "to +" in found["all"][-1]


def test_folds_are_matched_by_a_pattern_and_each_has_its_row(tmp_path, noise):
    for fold, gain in ((0, 2), (1, 6)):
        write(tmp_path / f"a{fold}", fold, noise + gain, kshot="mean")
        write(tmp_path / f"b{fold}", fold, noise)
    found = rows(comparing.compare(str(tmp_path / "a*"), str(tmp_path / "b*")))
    gains = {name: found[name][-1].split()[0] for name in ("fold 0", "fold 1", "all")}
    assert gains == {"fold 0": "+2.0", "fold 1": "+6.0", "all": "+4.0"}


def test_episodes_of_a_manifest_are_those_that_were_drawn(tmp_path, noise):
    write(tmp_path / "a", 0, noise)
    write(tmp_path / "b", 0, noise, seed="manifest-0")
    assert "+0.0" in comparing.compare(str(tmp_path / "a"), str(tmp_path / "b"))


def test_other_episodes_are_refused(tmp_path, noise):
    write(tmp_path / "a", 0, noise)
    write(tmp_path / "b", 0, noise, support=["another"])
    with pytest.raises(ValueError, match="same episodes.*40 and 40.*80 are in one alone"):
        comparing.compare(str(tmp_path / "a"), str(tmp_path / "b"))
    write(tmp_path / "c", 0, noise, shot=5)
    with pytest.raises(ValueError, match="1-shot crnet in .*5-shot crnet"):
        comparing.compare(str(tmp_path / "a"), str(tmp_path / "c"))
    with pytest.raises(FileNotFoundError, match="evaluation.json"):
        comparing.compare(str(tmp_path / "a"), str(tmp_path / "nothing"))


def test_an_evaluation_of_before_has_no_areas(tmp_path, noise):
    write(tmp_path / "a", 0, noise)
    (tmp_path / "a/episodes.jsonl").write_text('{"class_id": 1, "shot": 1}\n')
    with pytest.raises(ValueError, match="areas.*Evaluate again"):
        comparing.compare(str(tmp_path / "a"), str(tmp_path / "a"))


def test_the_command_needs_two_folders_and_nothing_else(tmp_path, noise, capsys):
    for name in ("a", "b"):
        write(tmp_path / name, 0, noise)
    commands.run(command, f"--compare={tmp_path / 'a'},{tmp_path / 'b'}")
    assert "+0.0 (+0.0 to +0.0)" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--compare: expected two"):
        commands.run(command, f"--compare={tmp_path / 'a'}")
    with pytest.raises(ValueError, match="--records"):
        commands.run(command)
