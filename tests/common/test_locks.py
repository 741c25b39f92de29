"""One process at a time."""

import errno
import fcntl
import os
import subprocess
import sys
import threading

import pytest

from crnet_tf.common import locks


@pytest.mark.parametrize("lock", [locks.locked, locks.locked_beside])
def test_one_at_a_time(tmp_path, lock):
    with lock(tmp_path, "trains in"):
        with pytest.raises(RuntimeError, match=f"{tmp_path}: .* trains in it now. Wait"):
            with lock(tmp_path, "trains in"):
                pass
    with lock(tmp_path, "trains in"):
        pass
    assert not (tmp_path.parent / f".{tmp_path.name}.lock").exists()


def test_a_lock_beside_names_its_process_and_outlives_none(tmp_path):
    path = tmp_path / "new" / "out"  # not there, nor its parent
    with locks.locked_beside(path):
        with pytest.raises(RuntimeError, match=f"process {os.getpid()} is building it"):
            with locks.locked_beside(path):
                pass
    (path.parent / ".out.lock").write_text("999999\n")  # of a killed process
    with locks.locked_beside(path):
        pass
    assert not any(path.parent.iterdir())


def test_a_file_system_without_locks_is_not_taken_for_another_process(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(OSError, match="out: expected a file system with locks.*No locks avail"):
        with locks.locked_beside(tmp_path / "out"):
            pass


def test_a_child_process_keeps_what_it_inherits_and_others_may_wait(tmp_path, capsys):
    log = tmp_path / "log"
    with open(log, "ab", buffering=0) as file:
        locks.take(file.fileno(), log, "writes")
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, stdout=file)
    threading.Timer(0.2, child.communicate, [b"go on\n"]).start()
    with open(log, "ab") as file:
        locks.take(file.fileno(), log, "writes", wait=True)
        assert child.poll() is not None or child.wait() == 0
    assert "Waiting for the process that writes" in capsys.readouterr().out
