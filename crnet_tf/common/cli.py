"""How every command of this project starts.

A command is a module with `define_flags` and `main`, and nothing at its top imports TensorFlow:
`main` imports what works, after the flags were read. So --help and a wrong flag are answered
at once.
"""

import contextlib
import difflib
import faulthandler
import functools
import logging as standard_logging
import os
import sys
from collections.abc import Callable, Iterable

from absl import flags, logging

from crnet_tf.common import backend, help_text, quiet
from crnet_tf.common.errors import InputError, UserError

MISTAKES = (UserError, OSError)  # of the user, or of what lies on the disk
HELP = ("--help", "-help", "-h", "--helpshort", "--helpfull")


def run(
    main: Callable[[], None], define_flags: Callable[[], None], command: str | None = None
) -> None:
    """Reads the flags and calls `main`; a user's mistake becomes one line.

    Files that cannot be read or written, and every `UserError`, which says what to do, are
    mistakes; anything else keeps its traceback. The traceback of a mistake is shown with
    `--verbosity=1`.

    Args:
        command: what the user typed to come here; default: `python -m` and the module.
    """
    module = sys.modules[main.__module__]
    typed = f"python -m {_name(module)}"
    command = command or typed
    define_flags()
    if hasattr(sys.stdout, "reconfigure"):  # not where a test or a notebook captures it
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text
    if any(argument in HELP for argument in sys.argv[1:]):
        return show(help_text.text((module.__doc__ or "").replace(typed, command)))
    if said := backend.complaint(_name(module).rpartition(".")[2]):
        raise SystemExit(f"error: {said}")
    _start(command)
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Interrupted.") from None
    except MISTAKES as error:
        logging.debug("Where it came from:", exc_info=True)
        raise SystemExit(f"error: {error}") from error


def read_flags(argv: list[str], command: str) -> None:
    """Reads the flags of a command line into `flags.FLAGS`.

    A flag stands once; of a list, values given one by one come together.

    Raises:
        ValueError: an unknown flag, one twice, a value that is none, one that is missing, or
            words beside the flags.
    """
    flags.FLAGS.set_gnu_getopt(True)  # reads on after a word, to name all that is wrong
    try:
        with _each_once():
            words = flags.FLAGS(argv)[1:]
    except flags.UnrecognizedFlagError as error:
        name = error.flagname
        raise InputError(
            f"expected a flag of `{command}`, received --{name}. "
            f"{nearest(f'--{name}', [f'--{known}' for known in help_text.names()])}"
            f"`{command} --help` lists all."
        ) from None
    except flags.Error as error:
        missing = ", ".join(f"--{name}" for name in help_text.missing())
        if not missing or "other than None" not in str(error):
            raise InputError(str(error)) from None
        raise InputError(
            f"expected {missing}, received none. `{command} --help` has an example."
        ) from None
    if words:
        raise InputError(
            "expected flags such as --name=value (--name or --noname to switch one on or off), "
            f"received the words {' '.join(words)!r} beside them. Join each to its flag by '='."
        )


def show(text: str) -> None:
    """Prints a long text, of which `| head` may take only the beginning."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def nearest(word: str, known: Iterable[str]) -> str:
    """ "Did you mean ...? " where one of the known words is like it; "" otherwise."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean {close[0]}? " if close else ""


def _name(module):
    """What stands after `python -m`."""
    spec = module.__spec__  # knows the name of a module that runs as __main__
    return (spec.name if spec else module.__name__).removesuffix(".__main__")


@contextlib.contextmanager
def _each_once():
    """Within it, absl reads a flag once, or as a list."""
    known = {id(flag): flag for flag in map(flags.FLAGS.__getitem__, flags.FLAGS)}  # by names
    single = [flag for flag in known.values() if not isinstance(flag, flags.MultiFlag)]
    for flag in single:
        flag.parse = functools.partial(_parse_once, flag, flag.parse, [])
    try:
        yield
    finally:
        for flag in single:
            del flag.parse  # its class has it


def _parse_once(flag, parse, given, argument):
    given.append(argument)
    if flag.flag_type().startswith("comma separated"):
        parse(",".join(given))
    elif len(given) > 1:
        raise InputError(
            f"--{flag.name}: expected it once, received {' and '.join(given)}. "
            "Leave all but one of them out."
        )
    else:
        parse(argument)


def _start(command):
    """Flags, logging and silence, in this order."""
    logging.use_absl_handler()
    faulthandler.enable()
    try:
        read_flags(sys.argv, command)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
    quiet.hide_start_up_lines()
    if not flags.FLAGS["verbosity"].present:
        # TensorFlow tells of its own steps, as of saving; absl shows them unless told not to.
        logging.set_verbosity(logging.WARNING)
        standard_logging.getLogger("tensorflow").setLevel(standard_logging.WARNING)


def integers(name: str, values: list[str]) -> list[int]:
    """Numbers from 1 on of a comma-separated flag.

    Raises:
        ValueError: something else is among them.
    """
    if not all(value.strip().isdecimal() and int(value) > 0 for value in values):
        raise InputError(
            f"--{name}: expected numbers from 1 on such as 1,5,10, received "
            f"{','.join(values)!r}."
        )
    return [int(value) for value in values]
