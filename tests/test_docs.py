"""The documents: short where they promise to be, and a site without a broken link."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize(("name", "most"), [("README.md", 120), ("BUILD.md", 200)])
def test_the_first_pages_are_short(name, most):
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= most


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
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
