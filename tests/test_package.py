"""The wheel: what it says of itself, and that its command works anywhere, without a sound."""

import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import zipfile

import numpy as np
import pytest
from helpers.networks import photo
from packaging.requirements import Requirement
from PIL import Image

from crnet_tf.common import quiet
from crnet_tf.images.png_files import write_png

ROOT = pathlib.Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    copy = tmp_path_factory.mktemp("source")  # building leaves folders behind
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True
    )
    if listing.returncode:
        pytest.skip("no git checkout")
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).hardlink_to(ROOT / name)
    build = ["wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={out}", str(copy)]
    subprocess.run([*PIP, *build], check=True, cwd=out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def command(wheel, tmp_path_factory):
    """`crnet` in a new environment; the packages that it requires are those of this one."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin" / "python"
    subprocess.run([*PIP, f"--python={python}", "install", "--no-deps", wheel], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "required.pth").write_text(sysconfig.get_path("purelib"))
    return place / "bin" / "crnet"


def run(command, *words, cwd):
    environment = {
        k: v for k, v in os.environ.items() if k not in (*quiet.LEVELS, "PYTHONPATH")
    }
    return subprocess.run(
        [command, *words], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_a_photo_is_searched_in_an_empty_folder(command, tmp_path):
    support, query = photo(1), photo(2)
    folder = tmp_path / "a folder with blanks"
    (folder / "photos").mkdir(parents=True)
    write_png(folder / "a.png", support.image)
    write_png(folder / "a_mask.png", support.mask)
    Image.fromarray(query.image).save(folder / "photos" / "b.jpg")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    answer = run(
        command,
        "predict",
        f"--support={folder / 'a.png'}",
        f"--support_mask={folder / 'a_mask.png'}",
        f"--query={folder / 'photos'}",
        "--out=found",
        "--engine=keras",
        cwd=elsewhere,
    )
    assert answer.returncode == 0
    assert re.fullmatch(r"(photos \[.*\n)+", answer.stderr)  # how far it is, nothing else
    mask = np.asarray(Image.open(elsewhere / "found" / "b_mask.png"))
    assert mask.shape == query.image.shape[:2] and set(np.unique(mask)) <= {0, 255}
    assert "docs/model_card.md" in answer.stdout  # of the model that comes along
    assert answer.stdout.splitlines()[-1].startswith("1 photos segmented, see found.")


def test_a_mistake_is_one_line_there_too(command, tmp_path):
    answer = run(command, "predict", "--suport=a.jpg", cwd=tmp_path)
    assert answer.returncode == 1 and not answer.stdout
    assert answer.stderr.count("\n") == 1 and "Did you mean --support?" in answer.stderr


def test_ranges_admit_the_versions_that_are_tested_together(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    ranges = [Requirement(line[15:]) for line in lines if line.startswith("Requires-Dist: ")]
    wide = {r.name: r.specifier for r in ranges if "dev" not in str(r.marker)}
    for file in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / file).read_text().splitlines():
            if not line or line[0] in "#-":
                continue
            pinned = Requirement(line)
            (pin,) = pinned.specifier
            assert pin.operator == "==", f"{file} has exact versions: {line}"
            if file == "requirements.txt" or pinned.name in wide:
                assert pin.version in wide[pinned.name], line
                assert not any(s.operator == "==" for s in wide[pinned.name]), pinned.name


def test_the_lock_has_the_versions_that_are_asked_for_and_a_sum_of_each():
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", "")
    entries = [line.split("--hash=") for line in text.splitlines() if line[:1] not in ("#", "")]
    locked = {}
    for requirement, *sums in entries:
        assert sums and all(one.startswith("sha256:") for one in sums), requirement
        wanted = Requirement(requirement)
        locked.setdefault(wanted.name.replace("_", "-").lower(), set()).add(
            str(wanted.specifier)
        )
    for file in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / file).read_text().splitlines():
            if line and line[0] not in "#-":
                asked = Requirement(line)
                name = asked.name.replace(".", "-").lower()
                assert locked[name] == {str(asked.specifier)}, f"{line}: run `make lock`"


def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for package in ("crnet", "crnet_tf", "pipelines", "export"):
        assert f"{package}/py.typed" in names
    assert "crnet_tf/start.keras" in names and "export/server/page/index.html" in names
    assert not [n for n in names if n.startswith(("tests", "tools", "benchmarks"))]
