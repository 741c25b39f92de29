"""A mistake is one line; a bug keeps its traceback."""

import json
import logging as standard_logging
import pathlib
import sys

import pytest
from absl import app, logging

from crnet_tf import cli


@pytest.fixture(autouse=True)
def run_at_once(monkeypatch):
    """absl's start-up without its flags, which belong to pytest here."""
    monkeypatch.setattr(app, "run", lambda main: main(sys.argv[:1]))
    monkeypatch.setattr(cli, "PACKAGES", (*cli.PACKAGES, "tests"))  # what raises here


def failing(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize("kind", [ValueError, FileNotFoundError, FloatingPointError])
def test_a_mistake_is_one_line(kind):
    with pytest.raises(SystemExit, match="^error: expected this, received that$"):
        cli.run(failing(kind("expected this, received that")))


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.run(failing(ZeroDivisionError()))
    with pytest.raises(json.JSONDecodeError):  # a ValueError of the library's own code
        cli.run(lambda: json.loads("{"))


def test_a_library_beside_the_installed_packages_is_not_ours(monkeypatch):
    monkeypatch.setattr(cli, "ROOT", pathlib.Path(json.__file__).parents[1])
    with pytest.raises(json.JSONDecodeError):
        cli.run(lambda: json.loads("{"))


def test_an_interrupt_is_quiet():
    with pytest.raises(SystemExit, match="Interrupted"):
        cli.run(failing(KeyboardInterrupt()))


def test_words_beside_the_flags_are_not_swallowed(monkeypatch):
    """`--calibrate false` would leave the flag on."""
    monkeypatch.setattr(app, "run", lambda main: main(["train", "false", "steps=100"]))
    ran = []
    with pytest.raises(SystemExit, match="--noname.*received the words 'false steps=100'"):
        cli.run(lambda: ran.append(True))
    assert not ran


def test_libraries_do_not_tell_of_their_steps(caplog):
    """TensorFlow names the hidden folder that an export is written to, and more."""
    before, tensorflow = logging.get_verbosity(), standard_logging.getLogger("tensorflow")
    level = tensorflow.level

    def main():
        logging.info("Assets written to: .1.building")
        tensorflow.info("Assets written to: .1.building")
        tensorflow.warning("5 out of the last 5 calls triggered retracing")
        logging.warning("Something is wrong")

    try:
        caplog.set_level(standard_logging.INFO)
        logging.set_verbosity(logging.INFO)  # as absl does, where no --verbosity is given
        cli.run(main)
    finally:
        logging.set_verbosity(before)
        tensorflow.setLevel(level)
    assert caplog.messages == ["Something is wrong"]
