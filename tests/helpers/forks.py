"""Functions in forks of this process, which may crash, hang or be killed there: what they need,
as TensorFlow, is imported once. (Computed with TensorFlow before, a fork of it may hang.)"""

import os
import pathlib
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

_BLOCK = 1 << 16


class Ended(NamedTuple):
    """How a fork ended.

    Attributes:
        status: its exit status: 0, 1 after an error; -N: signal N ended it.
        output: all that it printed. seconds: it took. peak: its resident memory, bytes.
    """

    status: int
    output: str
    seconds: float
    peak: int

    @property
    def crashed(self) -> bool:
        """Whether it ended neither well nor with an error that is meant to be read."""
        return self.status < 0 or "Traceback (most recent call last)" in self.output


def in_fork(function: Callable, *arguments, kill_after: float | None = None) -> Ended:
    """Calls a function in a fork, with what it prints taken from there.

    Args:
        kill_after: SIGKILL after so many seconds; None: however long it takes.
    """
    sys.stdout.flush()
    reader, writer = os.pipe()  # no file: a limit on the size of files is not for this
    started = time.monotonic()
    child = os.fork()
    if not child:
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        _call_and_exit(function, arguments)
    os.close(writer)
    output = _read(reader, child, started + kill_after if kill_after is not None else None)
    _, status, used = os.wait4(child, 0)
    unit = 1 if sys.platform == "darwin" else 2**10
    seconds = time.monotonic() - started
    return Ended(os.waitstatus_to_exitcode(status), output, seconds, used.ru_maxrss * unit)


def _call_and_exit(function, arguments):
    """As at the end of a Python process, but nothing of the parent's is closed or flushed."""
    status = 0
    try:
        sys.stdout = sys.stderr = os.fdopen(1, "w", 1, errors="backslashreplace", closefd=False)
        function(*arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code)
    except BaseException:
        status = 1
        traceback.print_exc()
    finally:
        os._exit(status)


def _read(reader, child, deadline):
    """All that comes until the other end is closed, by the child's death at the latest."""
    blocks = []
    with os.fdopen(reader, "rb", 0) as file:
        while True:
            left = None if deadline is None else max(0, deadline - time.monotonic())
            if not select.select([file], [], [], left)[0]:
                os.kill(child, signal.SIGKILL)
                deadline = None
            elif block := file.read(_BLOCK):
                blocks.append(block)
            else:
                return b"".join(blocks).decode(errors="replace")


def resident(process: int | str = "self") -> int:
    """Memory of a process that is in use, bytes; 0 where Linux does not say."""
    try:
        pages = int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
