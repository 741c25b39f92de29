"""How every command of this project starts."""

import logging as standard_logging
import pathlib
import sys
from collections.abc import Callable

from absl import app, flags, logging

from crnet_tf.common import backend
from crnet_tf.common.errors import InputError, UserError

MISTAKES = (UserError, OSError)  # of the user, or of what lies on the disk
_PACKAGES = ("crnet_tf", "pipelines", "export")


def _check_backend(program: pathlib.Path) -> None:
    """Ends a command of this project where Keras cannot be used: when this file is imported,
    as its other imports take Keras with them."""
    if program.parent.name in _PACKAGES and (said := backend.complaint(program.stem)):
        raise SystemExit(f"error: {said}")


_check_backend(pathlib.Path(sys.argv[0]))


def run(main: Callable[[], None]) -> None:
    """Parses the flags and calls `main`; a user's mistake becomes one line.

    Files that cannot be read or written, and every `UserError`, which says what to do, are
    mistakes; anything else keeps its traceback. The traceback of a mistake is shown with
    `--verbosity=1`.
    """

    def guarded(argv):
        if argv[1:]:
            raise SystemExit(
                "error: expected flags such as --name=value (--name or --noname to switch one "
                f"on or off), received the words {' '.join(argv[1:])!r} beside them. Join "
                "each to its flag by '='."
            )
        if hasattr(sys.stdout, "reconfigure"):  # not where a test or a notebook captures it
            sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text
        _hush_libraries()
        try:
            main()
        except KeyboardInterrupt:
            raise SystemExit("Interrupted.") from None
        except MISTAKES as error:
            logging.debug("Where it came from:", exc_info=True)
            raise SystemExit(f"error: {error}") from error

    app.run(guarded)


def _hush_libraries():
    """TensorFlow tells of its own steps, as of saving; absl shows them unless told not to."""
    if not flags.FLAGS["verbosity"].present:
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
