"""What becomes of records when a build is killed, or its disk is full or cannot be written."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
from helpers.own_photos import write_folders

SCRIPT = pathlib.Path(__file__).parents[1] / "helpers" / "failing_builds.py"
# A mount namespace of its own, as root of a user namespace of its own.
UNSHARE = ["unshare", "--map-root-user", "--mount"]


def can_mount():
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What `failing_builds.py` reports."""
    folder = tmp_path_factory.mktemp("faults")
    source = write_folders(folder / "in", per_class=40)
    (folder / "work").mkdir()
    command = [sys.executable, str(SCRIPT), str(source), str(folder / "work")]
    if can_mount():
        command = UNSHARE + command
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout)


@pytest.mark.parametrize("points", ["random", "renames"])
def test_a_killed_build_is_never_read_as_whole_and_a_rerun_gives_the_same_bytes(seen, points):
    for kill in seen[points]:
        between_renames = ".out.old" in kill["left"]  # of the old and of the new folder
        before = "nothing" if kill["fresh"] or between_renames else seen["before"]
        assert kill["found"] in (before, seen["whole"]), kill
        assert kill["rerun"] == seen["whole"] and kill["beside"] == ["out"], kill
    died = [kill for kill in seen[points] if kill["signal"] in (signal.SIGALRM, signal.SIGKILL)]
    assert any(".out.building" in kill["left"] for kill in died)
    assert points == "random" or len(died) == len(seen[points])


def test_between_the_renames_the_old_records_stand_aside(seen):
    kill = seen["renames"][-1]
    assert kill["found"] == "nothing" and ".out.old" in kill["left"], kill


def assert_failed_well(failed):
    assert failed["signal"] == 0 and failed["kept"] and failed["left"] == ["out"], failed
    assert "expected room to write" in failed["error"] and "--short_side" in failed["error"]


def test_files_that_cannot_grow(seen):
    """A limit of size: of the lock, of the records' files."""
    for failed in seen["limits"].values():
        assert_failed_well(failed)


def test_a_full_disk(seen):
    if None in seen["full"].values():
        pytest.skip("this system lets nobody mount a small disk (unshare, tmpfs)")
    for failed in seen["full"].values():
        assert_failed_well(failed)
        assert "No space left" in failed["error"]
    assert seen["full"]["300k"]["rw"] == ""  # with what fits, the rerun completes


def test_a_disk_that_only_reads(seen):
    if None in seen["full"].values():
        pytest.skip("this system lets nobody mount a disk (unshare, tmpfs)")
    for failed in seen["full"].values():
        assert "expected a place where it can be written" in failed["ro"]
        assert "Read-only" in failed["ro"] and "another --out" in failed["ro"]


def test_a_mounted_disk_is_refused_before_the_work(seen):
    if seen["mounted"] is None:
        pytest.skip("this system lets nobody mount a disk (unshare, tmpfs)")
    assert "received a mounted disk. Choose a folder on it" in seen["mounted"]["error"]


def test_two_builders_on_one_folder(seen):
    two = seen["two"]
    assert f"process {two['pid']} is building it now" in two["error"], two
    assert two["first"] == 0 and two["found"] == seen["whole"]
