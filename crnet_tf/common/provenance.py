"""Where a result comes from: command, git revision, versions and devices of this process."""

import datetime
import importlib
import pathlib
import platform
import subprocess
import sys

PACKAGES = ("keras", "numpy")


def describe_session() -> dict:
    """Command, git revision, versions and devices of this process."""
    import keras  # slow: the commands that train say what a run is before it is needed

    modules = map(importlib.import_module, (*PACKAGES, keras.config.backend()))
    now = datetime.datetime.now(datetime.UTC)
    return {
        "command": sys.argv,
        "started": now.isoformat(timespec="seconds"),
        "git": _revision(),
        "versions": {
            "python": platform.python_version(),
            # Of what runs: TensorFlow is installed under several names (tensorflow-cpu).
            **{module.__name__: module.__version__ for module in modules},
        },
        "devices": keras.distribution.list_devices(),
    }


def _revision():
    """Git revision of this code; None where git does not have it."""
    here = pathlib.Path(__file__)

    def git(*words):
        command = ["git", "-C", str(here.parent), *words]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    try:
        # An installed copy may lie in the checkout of another project.
        return (git("ls-files", here.name) and git("describe", "--always", "--dirty")) or None
    except OSError:  # no git on this machine
        return None
