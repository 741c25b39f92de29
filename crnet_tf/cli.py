"""How every command of this project starts."""

from collections.abc import Callable

from absl import app, logging

# What this project raises for a user's mistake, always with what to do about it.
MISTAKES = (ValueError, OSError, FloatingPointError, RuntimeError)


def run(main: Callable[[], None]) -> None:
    """Parses the flags and calls `main`; a mistake becomes one line instead of a traceback.

    The traceback is still there with `--verbosity=1`.
    """

    def guarded(_):
        try:
            main()
        except MISTAKES as error:
            logging.debug("Where it came from:", exc_info=True)
            raise SystemExit(f"error: {error}") from error
        except KeyboardInterrupt:
            raise SystemExit("Interrupted.") from None

    app.run(guarded)
