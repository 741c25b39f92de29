"""The notebooks: all that they do runs, with networks and numbers that are tiny."""

import importlib
import json
import pathlib
import shlex

import numpy as np
import pytest
from helpers import commands
from helpers.networks import eager  # noqa: F401

from crnet.__main__ import MODULES
from crnet_tf.fewshot import engine, engines

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = ROOT / "docs" / "notebooks"
MOST_BYTES = 500_000  # with pictures
TINY = {  # after a command's own flags, over which they win
    "train": [
        *("--steps=1", "--steps_per_epoch=1", "--val_episodes=2", "--batch_size=2"),
        *("--image_size=33", "--channels=8", "--global_kernel=3", "--aspp_rates=1,2"),
    ],
    "evaluate": ["--episodes=2"],
}


@pytest.fixture
def in_their_folder(tmp_path, monkeypatch):
    """The folder that notebooks run in, beside the examples, in a place for their files."""
    folder = tmp_path / "docs" / "notebooks"
    folder.mkdir(parents=True)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(folder)


def code(name):
    """The source of each cell of code."""
    cells = json.loads((NOTEBOOKS / name).read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_own_photos_runs(checkpoint, monkeypatch, in_their_folder):
    """With a tiny network in the place of the one that comes along."""
    for module in (engine, engines):
        monkeypatch.setattr(module, "START", checkpoint)
    names = {}
    for cell in code("own_photos.ipynb"):
        exec(cell, names)
    assert names["found"].class_names == ("cat", "cup")
    assert names["found"].mask.shape == names["found"].photo.image.shape[:2]


@pytest.mark.slow
def test_demo_set_runs(in_their_folder):
    names = {}
    for cell in code("demo_set.ipynb"):
        run_command(cell) if cell.startswith("!") else exec(cell, names)
    assert names["found"].mask.shape == names["answer"]["mask"].shape[1:]
    probability = names["answer"]["probability"].numpy()[0]
    np.testing.assert_allclose(probability, names["found"].probability, atol=2e-3)


def run_command(cell):
    """A cell such as `!crnet build demo --out=demo`, in this process."""
    words = shlex.split(cell)
    name = " ".join(word for word in words[1:] if not word.startswith("--"))
    given = [word for word in words if word.startswith("--")]
    commands.run(importlib.import_module(MODULES[name]), *given, *TINY.get(name, ()))


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.iterdir()), ids=lambda path: path.name)
def test_a_notebook_is_small_and_was_run(path):
    assert path.stat().st_size < MOST_BYTES
    cells = json.loads(path.read_text("utf-8"))["cells"]
    ran = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert ran == list(range(1, len(ran) + 1))
    outputs = [one for cell in cells for one in cell.get("outputs", [])]
    assert outputs and not any(one["output_type"] == "error" for one in outputs)
