"""The documents: short where they promise to be, a site without a broken link, and commands
with flags that there are."""

import functools
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from absl import flags

from crnet.__main__ import MODULES

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *ROOT.glob("examples/*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("docs/notebooks/*.ipynb"),
]
# Every command in its words, or as `python -m MODULE`, and what stands behind it.
SPELLINGS = {f"crnet {words}": module for words, module in MODULES.items()}
SPELLINGS |= {
    f"python -m {module}".removesuffix(".__main__"): module for module in MODULES.values()
}
LONGEST_FIRST = sorted(SPELLINGS, key=len, reverse=True)
COMMAND = re.compile(rf"({'|'.join(map(re.escape, LONGEST_FIRST))})\b([^`|\n]*)")
FLAG = re.compile(r'"[^"\n]*"|\s--([a-z]\w*)')  # not those in quotes, which are passed on


@pytest.mark.parametrize(("name", "most"), [("README.md", 120), ("BUILD.md", 200)])
def test_the_first_pages_are_short(name, most):
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= most


def test_the_site_builds_without_a_warning(tmp_path):
    for name in ("material", "mkdocs_jupyter"):
        if not importlib.util.find_spec(name):
            pytest.skip(f"{name}, of requirements-dev.txt, is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    flags = (tmp_path / "reference/flags/index.html").read_text(encoding="utf-8")
    assert "--corrupted_cache" in flags and "--kshot" not in flags and "--test_scales" in flags
    assert "Segmenter" in (tmp_path / "reference/api/index.html").read_text(encoding="utf-8")


def test_links_of_the_first_pages_lead_somewhere():
    for name in ("README.md", "BUILD.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (ROOT / target).exists(), f"{name}: {target}"


def written(path):
    """What a document says, with a command that goes over several lines in one."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text.replace("\\\n", " ")


def test_commands_in_the_documents_have_flags_that_there_are():
    looked_at = 0
    for path in DOCUMENTS:
        for spelling, behind in COMMAND.findall(written(path)):
            names = flag_names(SPELLINGS[spelling])
            for flag in filter(None, FLAG.findall(behind)):
                assert {flag, flag.removeprefix("no")} & names, f"{path}: {spelling} --{flag}"
                looked_at += 1
    assert looked_at > 200


@functools.cache
def flag_names(module):
    """Names of the flags of a command."""
    before = set(flags.FLAGS)
    importlib.import_module(module).define_flags()
    names = set(flags.FLAGS) - before
    for name in names:
        delattr(flags.FLAGS, name)
    return names | {"help", "verbosity"}
