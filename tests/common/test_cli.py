"""A mistake is one line; a bug keeps its traceback."""

import json
import logging as standard_logging
import sys

import pytest
from absl import app, logging

from crnet_tf.common import cli
from crnet_tf.common.errors import BlockedError, DivergedError, InputError


@pytest.fixture(autouse=True)
def run_at_once(monkeypatch):
    """absl's start-up without its flags, which belong to pytest here."""
    monkeypatch.setattr(app, "run", lambda main: main(sys.argv[:1]))


def failing(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize("kind", [InputError, BlockedError, DivergedError, FileNotFoundError])
def test_a_mistake_is_one_line(kind):
    with pytest.raises(SystemExit, match="^error: expected this, received that$"):
        cli.run(failing(kind("expected this, received that")))


def test_errors_of_users_are_pythons_own_kinds_too():
    assert issubclass(InputError, ValueError) and issubclass(BlockedError, RuntimeError)
    assert issubclass(DivergedError, FloatingPointError)


@pytest.mark.parametrize(
    "main",
    [
        lambda: json.loads("{"),
        lambda: list(zip([1], [], strict=True)),  # a ValueError of our own code
        failing(ValueError("areas: expected a prediction of the mask's size")),
        failing(RuntimeError("a state that cannot be")),
    ],
)
def test_a_bug_keeps_its_traceback(main):
    with pytest.raises((ValueError, RuntimeError)):
        cli.run(main)


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
    """TensorFlow names the hidden folder that an export is written to; its warnings stay."""
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
    assert [*map(str, caplog.messages)] == [
        "5 out of the last 5 calls triggered retracing",
        "Something is wrong",
    ]
