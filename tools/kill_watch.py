"""What a fork changes on the disk: counted, noted, and a fork killed at a change."""

import json
import os
import pathlib
import signal
import sys
import time

from tools import kill_commands

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Watch:
    """The changes that Python makes to files of a folder, seen by an audit hook of the fork.

    Args:
        last: SIGKILL just before this one, counted from 1; 0: never.
        log: where to write, at every change, how many there were, when the first one was, s,
            and [name, state] of all files that were renamed to their places.
    """

    def __init__(self, place: pathlib.Path, last: int = 0, log: pathlib.Path | None = None):
        self.place, self.last, self.log = place, last, log
        self.count, self.first, self.states, self._busy = 0, 0.0, [], False

    def begin(self) -> None:
        self._started = time.monotonic()
        sys.addaudithook(self._on_event)

    def _on_event(self, event, arguments):
        if self._busy or not self._changes(event, arguments):
            return
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.log:
            self._busy = True
            self._note(event, arguments)
            self._busy = False

    def _changes(self, event, arguments):
        if event == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & WRITES:
                return False
        elif event not in CHANGES:
            return False
        if isinstance(arguments[0], int):
            return False
        path = os.fsdecode(arguments[0])  # relative: of shutil, within a folder that is open
        return not os.path.isabs(path) or path.startswith(str(self.place))

    def _note(self, event, arguments):
        self.first = self.first or time.monotonic() - self._started
        if event == "os.rename" and not pathlib.Path(arguments[0]).is_symlink():
            self.states += self._renamed(*map(pathlib.Path, arguments[:2]))
        content = {"count": self.count, "first": self.first, "states": self.states}
        self.log.write_text(json.dumps(content))

    def _renamed(self, source, target):
        if any(part.startswith(".") for part in target.relative_to(self.place).parts):
            return []
        name = target.relative_to(self.place)
        if source.is_file():
            return [[str(name), kill_commands.state(source, name)]]
        return [[str(name / n), s] for n, s in kill_commands.states(source).items()]
