"""How every command of this project starts."""

import logging as standard_logging
import pathlib
import sys
import traceback
from collections.abc import Callable

from absl import app, flags, logging

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("crnet_tf", "pipelines", "export", "benchmarks")


def run(main: Callable[[], None]) -> None:
    """Parses the flags and calls `main`; a user's mistake becomes one line.

    Files that cannot be read or written, and what this project raises itself, which always
    says what to do, are mistakes; anything else keeps its traceback. The traceback of a
    mistake is shown with `--verbosity=1`.
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
        except Exception as error:
            if not is_mistake(error):
                raise
            logging.debug("Where it came from:", exc_info=True)
            raise SystemExit(f"error: {error}") from error

    app.run(guarded)


def _hush_libraries():
    """TensorFlow tells of its own steps, as of saving, and warns of graphs that it traces
    again, as for other numbers of supports; absl shows both unless told not to."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
        standard_logging.getLogger("tensorflow").setLevel(standard_logging.ERROR)


def integers(name: str, values: list[str]) -> list[int]:
    """Numbers from 1 on of a comma-separated flag.

    Raises:
        ValueError: something else is among them.
    """
    if not all(value.strip().isdecimal() and int(value) > 0 for value in values):
        raise ValueError(
            f"--{name}: expected numbers from 1 on such as 1,5,10, received "
            f"{','.join(values)!r}."
        )
    return [int(value) for value in values]


def is_mistake(error: Exception) -> bool:
    """Whether an error is about the user's files, or was raised by this project's code."""
    if isinstance(error, OSError):
        return True
    origin = pathlib.Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    # Installed, the packages lie beside the libraries.
    ours = origin.is_relative_to(ROOT) and origin.relative_to(ROOT).parts[0] in PACKAGES
    return ours and isinstance(error, ValueError | RuntimeError | FloatingPointError)
