"""Errors that are the user's to mend: commands show them in one line, without a traceback.

The message says what was expected, what was received, and what to do. Anything else that is
raised is a fault of this project, and keeps its traceback.
"""


class UserError(Exception):
    """Base of the errors below; an OSError counts as one too (`cli.run`)."""


class InputError(UserError, ValueError):
    """A flag, a file or an argument that a user gave is not as it must be."""


class BlockedError(UserError, RuntimeError):
    """It cannot be done now: another process is at it, a package is missing ..."""


class DivergedError(UserError, FloatingPointError):
    """A training whose loss or weights became infinite or NaN."""
