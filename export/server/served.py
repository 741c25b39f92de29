"""A model by name: its newest version serves; new ones are loaded, then take over."""

import asyncio
import dataclasses
import gc
import pathlib
from collections.abc import Callable

from absl import logging

from export.package.versions import SAVED_MODEL, numbers
from export.server import loading
from export.server.loading import Loaded

# TF Serving's words.
LOADING, AVAILABLE, UNLOADING, END = "LOADING", "AVAILABLE", "UNLOADING", "END"


@dataclasses.dataclass
class Status:
    """State of a version, and why it is not served."""

    state: str
    error: str = ""

    def as_json(self, version: int) -> dict:
        """An entry of TF Serving's `model_version_status`."""
        code = "UNKNOWN" if self.error else "OK"
        status = {"error_code": code, "error_message": self.error}
        return {"version": str(version), "state": self.state, "status": status}


class Served:
    """Versions of one model. What changes it runs in the event loop's thread.

    Args:
        folder: above the numbered versions.
        pinned: the one version to serve; None: the newest.
        load: reads a version; another one in tests.
    """

    def __init__(
        self,
        name: str,
        folder: pathlib.Path,
        pinned: int | None = None,
        load: Callable[..., Loaded] = loading.load,
    ):
        self.name, self.folder, self.pinned = name, folder, pinned
        self.current: Loaded | None = None
        self.states: dict[int, Status] = {}
        self._load = load
        # What versions on the disk were: those that failed, and the current one.
        self._failed: dict[int, tuple] = {}
        self._loaded: tuple = ()

    def versions(self) -> list[int]:
        """Versions on the disk, the newest first. Half-written exports have other names."""
        found = {
            number
            for number in numbers(self.folder)
            if (self.folder / str(number) / SAVED_MODEL).exists()
        }
        return sorted(found & {self.pinned} if self.pinned else found, reverse=True)

    def wanted(self) -> tuple[int, tuple] | None:
        """The newest version that did not fail as it is now, or serves, and what it is now."""
        for version in self.versions():
            files = [path.stat() for path in (self.folder / str(version)).rglob("*")]
            changed = max((file.st_mtime_ns for file in files), default=0)
            now = len(files), sum(file.st_size for file in files), changed
            if self._failed.get(version) != now or self._serves(version):
                return version, now
        return None

    async def refresh(self) -> None:
        """Loads the version wanted, if it is another one or has other files, and lets it take
        over.

        One that cannot be loaded is reported, and is not tried again until it changes. When no
        version is left on the disk, what is in memory goes on serving.
        """
        try:
            wanted = await asyncio.to_thread(self.wanted)
        except OSError as error:  # a version was removed meanwhile
            logging.warning("%s: cannot look for versions: %s", self.name, error)
            return
        if wanted is None:
            return
        version, now = wanted
        again = self._serves(version)
        if again and now in (self._loaded, self._failed.get(version)):
            return
        if not again:
            self.states[version] = Status(LOADING)
        try:
            path = self.folder / str(version)
            loaded = await asyncio.to_thread(self._load, path, self.name, version)
        except Exception as error:  # whatever is wrong with it, the old version stays
            self._failed[version] = now
            if not again:
                self.states[version] = Status(END, f"{type(error).__name__}: {error}"[:500])
            logging.error("%s: version %d cannot be loaded: %s", self.name, version, error)
        else:
            self._loaded = now
            self._switch(loaded)

    def _serves(self, version):
        return self.current is not None and self.current.version == version

    def _switch(self, loaded):
        before, self.current = self.current, loaded
        self.states[loaded.version] = Status(AVAILABLE)
        logging.info("%s: version %d serves", self.name, loaded.version)
        if before:
            if before.version != loaded.version:
                self.states[before.version] = Status(UNLOADING)
            self._retire(before)

    def hold(self, loaded: Loaded) -> None:
        """Keeps a version in memory until `release`."""
        loaded.users += 1

    def release(self, loaded: Loaded) -> None:
        """Ends what `hold` began."""
        loaded.users -= 1
        self._retire(loaded)

    def _retire(self, loaded):
        if loaded is not self.current and not loaded.users:
            if loaded.version != self.current.version:  # not taken back meanwhile
                self.states[loaded.version] = Status(END)
            # TensorFlow's objects refer to each other in circles.
            asyncio.get_running_loop().call_soon(gc.collect)
