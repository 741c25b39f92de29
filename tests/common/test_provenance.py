"""Where a result comes from: of this code, and of what it runs on."""

import importlib.metadata
import subprocess

import keras
import tensorflow as tf

from crnet_tf.common import provenance


def test_the_revision_is_that_of_this_code_and_of_no_project_around_it(tmp_path, monkeypatch):
    def git(*words):
        names = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        command = ["git", "-C", str(tmp_path), *names, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    git("init")
    git("commit", "--allow-empty", "--message=theirs")
    installed = tmp_path / ".venv" / "crnet_tf" / "provenance.py"
    installed.parent.mkdir(parents=True)
    installed.touch()
    monkeypatch.setattr(provenance, "__file__", str(installed))
    assert provenance.describe_session()["git"] is None
    git("add", "--force", str(installed))
    git("commit", "--message=ours")
    assert provenance.describe_session()["git"] == git("describe", "--always").strip()


def test_versions_are_those_that_run_whatever_their_packages_are_called(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    versions = provenance.describe_session()["versions"]
    assert versions["tensorflow"] == tf.__version__
    assert versions["keras"] == keras.__version__
