"""The console command leads to every other command, with that one's own flags."""

import subprocess
import sys

import pytest
from absl import flags

import crnet_tf
from crnet import __main__ as crnet
from tools.floors import FLOORS, sources


@pytest.fixture
def typed(monkeypatch):
    """Runs `crnet` with some words."""
    known = set(flags.FLAGS)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["crnet", *words])
        crnet.main()

    yield run
    for name in set(flags.FLAGS) - known:
        delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()


def test_every_command_has_words():
    commands = {
        f"{package}.{name}"
        for package, rooms in FLOORS.items()
        for name in rooms[-1].split()
        if package != "crnet"
    }
    assert set(crnet.MODULES.values()) == commands | {"export.client.__main__"}
    assert set(crnet.MODULES.values()) <= sources().keys()


@pytest.mark.parametrize("words", [[], ["--help"], ["help"], ["-h"]])
def test_the_overview_has_a_line_for_every_command(typed, capsys, words):
    typed(*words)
    said = capsys.readouterr().out
    for name in crnet.MODULES:
        assert f"\n  {name} " in said
    assert "    crnet predict --support=" in said and max(map(len, said.splitlines())) <= 96


def test_the_version(typed, capsys):
    typed("--version")
    assert capsys.readouterr().out == f"crnet {crnet_tf.__version__}\n"


@pytest.mark.parametrize(
    "words", ["build voc", "build_fss1000", "export saved-model", "client"]
)
def test_a_command_explains_itself_by_the_words_that_were_typed(typed, capsys, words):
    typed(*words.split(), "--help")
    said = capsys.readouterr().out
    name = words.replace("d_f", "d f").replace("_", "-")
    assert f"crnet {name} --" in said
    assert f"python -m {crnet.MODULES[name].removesuffix('.__main__')} " not in said


def test_flags_are_those_of_the_module(typed, capsys):
    typed("train", "--help")
    command = [sys.executable, "-m", "crnet_tf.train", "--help"]
    told = subprocess.run(command, capture_output=True, text=True).stdout
    assert told.replace("python -m crnet_tf.train", "crnet train") == capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predcit"], "received 'predcit'. Did you mean predict"),
        (["predcit", "--out=x"], "received 'predcit'. Did you mean predict"),
        (["export", "tflight"], "received 'export tflight'. There are export saved-model, "),
        (["build"], "There are build voc, .*build episodes"),
        (["--out=x"], "received '--out=x'. `crnet --help` lists all"),
    ],
)
def test_a_mistyped_command_names_the_nearest(typed, words, said):
    with pytest.raises(SystemExit, match=said):
        typed(*words)


def test_a_mistyped_flag_names_the_nearest(typed):
    with pytest.raises(SystemExit, match="`crnet predict`, received --suport. Did you mean"):
        typed("predict", "--suport=a.jpg")
