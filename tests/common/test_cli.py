"""A command starts: its flags are read, a mistake is one line, a bug keeps its traceback."""

import json
import logging as standard_logging
import sys

import pytest
from absl import flags, logging

from crnet_tf.common import cli
from crnet_tf.common.errors import BlockedError, DivergedError, InputError


@pytest.fixture(autouse=True)
def arguments(monkeypatch):
    """The command line that the process was started with; it belongs to pytest."""
    monkeypatch.setattr(sys, "argv", ["command"])
    yield sys.argv
    flags.FLAGS.unparse_flags()


@pytest.fixture
def defined():
    """Flags of a command, for as long as a test takes."""
    known = set(flags.FLAGS)
    flags.DEFINE_integer("count", 1, "How many.")
    flags.DEFINE_bool("loud", True, "Whether.")
    flags.DEFINE_list("names", None, "Who.")
    flags.DEFINE_multi_string("option", [], "Of several.")
    yield flags.FLAGS
    for name in set(flags.FLAGS) - known:
        delattr(flags.FLAGS, name)


def read(*given):
    cli.read_flags(["command", *given], "crnet show")


def run(main):
    cli.run(main, lambda: None)


def failing(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize("kind", [InputError, BlockedError, DivergedError, FileNotFoundError])
def test_a_mistake_is_one_line(kind):
    with pytest.raises(SystemExit, match="^error: expected this, received that$"):
        run(failing(kind("expected this, received that")))


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
        run(main)


def test_an_interrupt_is_quiet():
    with pytest.raises(SystemExit, match="Interrupted"):
        run(failing(KeyboardInterrupt()))


def test_words_beside_the_flags_are_not_swallowed(arguments):
    """`--calibrate false` would leave the flag on."""
    arguments += ["false", "steps=100"]
    ran = []
    with pytest.raises(SystemExit, match="--noname.*received the words 'false steps=100'"):
        run(lambda: ran.append(True))
    assert not ran


@pytest.mark.parametrize("asked", ["--help", "-h", "--helpshort", "--helpfull"])
def test_help_is_printed_and_nothing_is_done(arguments, asked, capsys):
    arguments += ["--nothing_like_it", asked]
    run(lambda: pytest.fail("it runs"))
    assert capsys.readouterr().out.startswith("A command starts: its flags are read")


@pytest.mark.parametrize(
    ("given", "received"),
    [
        (["--count=2", "--count=3"], "--count: expected it once, received 2 and 3"),
        (["--count=2", "--count", "2"], "--count: expected it once, received 2 and 2"),
        (["--loud", "--noloud"], "--loud: expected it once, received true and false"),
    ],
)
def test_a_flag_given_twice_is_an_error(defined, given, received):
    with pytest.raises(InputError, match=received):
        read(*given)


def test_a_list_may_be_given_one_by_one(defined):
    read("--names=cat,dog", "--names=cow", "--option=a=1", "--option=b=2")
    assert defined.names == ["cat", "dog", "cow"] and defined.option == ["a=1", "b=2"]


def test_every_command_line_counts_anew(defined):
    read("--count=2")
    read("--count=3")
    assert defined.count == 3


def test_a_mistyped_flag_names_the_nearest(defined):
    with pytest.raises(InputError, match="`crnet show`, received --cuont. Did you mean --c"):
        read("--cuont=2")
    with pytest.raises(InputError, match="received --xyz. `crnet show --help` lists all"):
        read("--xyz")


def test_missing_flags_are_named_together(defined):
    flags.DEFINE_string("from", None, "Whence.", required=True)
    flags.DEFINE_string("to", None, "Whither.", required=True)
    with pytest.raises(InputError, match="^expected --from, --to, received none"):
        read("--count=2")
    with pytest.raises(InputError, match="^expected --to, received none"):
        read("--from=here")
    with pytest.raises(InputError, match="--count=many"):  # and not what was not read yet
        read("--count=many", "--from=here", "--to=there")


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
        run(main)
    finally:
        logging.set_verbosity(before)
        tensorflow.setLevel(level)
    assert [*map(str, caplog.messages)] == [
        "5 out of the last 5 calls triggered retracing",
        "Something is wrong",
    ]
