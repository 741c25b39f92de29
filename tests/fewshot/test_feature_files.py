"""Features on disk: bounded, shared by processes, damaged ones named."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from crnet_tf.fewshot.feature_files import FeatureFiles

ROOT = pathlib.Path(__file__).parents[2]
BYTES = 128 + 4 * 100  # of a file: NumPy's header and 100 numbers


def numbers(seed):
    return np.full(100, seed, np.float32)


def get(kept, seed, compute=None):
    found = kept.get(f"net/{seed:03d}", np.float32, compute or (lambda: numbers(seed)))
    np.testing.assert_array_equal(found, numbers(seed))


def there(folder):
    return {path.stem for path in folder.rglob("*.npy")}


def test_the_folder_never_exceeds_its_bound(tmp_path):
    kept = FeatureFiles(tmp_path, 20 * BYTES)
    for seed in np.random.default_rng(0).integers(0, 60, 300):
        get(kept, seed)
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.npy")) <= 20 * BYTES
    assert len(there(tmp_path)) > 10  # most of the room is used


def test_what_was_used_longest_ago_goes_first(tmp_path):
    for seed in range(8):
        get(FeatureFiles(tmp_path, 10 * BYTES + 10), seed)
        os.utime(tmp_path / "net" / f"{seed:03d}.npy", (seed, seed))
    kept = FeatureFiles(tmp_path, 10 * BYTES + 10)
    get(kept, 0, compute=lambda: pytest.fail("0 is there"))
    get(kept, 8)
    assert there(tmp_path) == {"000", "003", "004", "005", "006", "007", "008"}


def test_another_run_finds_what_was_written(tmp_path):
    get(FeatureFiles(tmp_path, 1e9), 1)
    get(FeatureFiles(tmp_path, 1e9), 1, compute=lambda: pytest.fail("1 is there"))


def test_what_is_too_large_is_computed_each_time(tmp_path):
    kept, calls = FeatureFiles(tmp_path, BYTES), []
    for _ in range(2):
        get(kept, 1, compute=lambda: calls.append(1) or numbers(1))
    assert len(calls) == 2 and not there(tmp_path)


def test_what_a_killed_process_left_goes_too(tmp_path):
    old, new = tmp_path / "net" / ".1.npy.7", tmp_path / "net" / ".2.npy.8"
    old.parent.mkdir()
    for path in (old, new):
        path.write_bytes(b"." * 5 * BYTES)
    os.utime(old, (1, 1))
    kept = FeatureFiles(tmp_path, 10 * BYTES)
    for seed in range(6):
        get(kept, seed)
    assert new.exists() and not old.exists()


def test_two_processes_share_a_folder(tmp_path):
    """Each removes what the other is about to read."""
    code = """
import sys, numpy as np
from crnet_tf.fewshot.feature_files import FeatureFiles
kept = FeatureFiles(sys.argv[1], 12 * 528)
for seed in np.random.default_rng(int(sys.argv[2])).integers(0, 25, 400):
    found = kept.get(f"net/{seed}", np.float32, lambda: np.full(100, seed, np.float32))
    assert np.all(found == seed) and found.shape == (100,)
"""
    runs = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path, str(n)], cwd=ROOT)
        for n in range(2)
    ]
    assert [run.wait() for run in runs] == [0, 0]
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.npy")) <= 12 * BYTES
