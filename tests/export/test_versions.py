"""Versions are numbered, whole, and never replaced."""

import pathlib

import pytest
import tensorflow as tf

from export.package import versions


def write(out, version=None):
    with versions.new_version(out, version) as (number, work):
        (work / "saved_model.pb").write_text("model")
        return number


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_next_number_follows_the_largest(tmp_path):
    out = tmp_path / "models" / "crnet"
    assert [write(out), write(out), write(out, 9), write(out), write(out, 4)] == [
        1,
        2,
        9,
        10,
        4,
    ]
    assert names(out) == ["1", "10", "2", "4", "9"]
    assert names(out / "10") == ["saved_model.pb"]


def test_a_version_is_never_replaced(tmp_path):
    write(tmp_path)
    with pytest.raises(FileExistsError, match="Leave --version out to write 2"):
        write(tmp_path, 1)
    assert names(tmp_path) == ["1"]


def test_nothing_is_seen_before_the_end_and_nothing_is_left_of_a_failure(tmp_path):
    out = tmp_path / "models" / "crnet"
    with pytest.raises(ZeroDivisionError):
        with versions.new_version(out) as (_, work):
            (work / "half").write_text("half")
            assert not [name for name in names(out) if name.isdecimal()]
            raise ZeroDivisionError
    assert names(tmp_path) == []
    write(out)
    with pytest.raises(KeyboardInterrupt), versions.new_version(out):
        raise KeyboardInterrupt
    assert names(out) == ["1"]


def test_what_a_killed_export_left_goes_with_the_next_one(tmp_path):
    (tmp_path / ".1.building").mkdir()
    (tmp_path / ".1.building" / "half").write_text("half")
    assert write(tmp_path, 3) == 3
    assert names(tmp_path) == ["3"]


def test_two_exports_do_not_meet(tmp_path):
    with versions.new_version(tmp_path), pytest.raises(RuntimeError, match="another process"):
        write(tmp_path)
    assert names(tmp_path) == ["1"]


def test_the_folder_above_is_expected(tmp_path):
    write(tmp_path)
    with pytest.raises(ValueError, match=f"--out={tmp_path}"):
        write(tmp_path / "1")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="received a file of that name"):
        write(tmp_path / "file")


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_with_what_to_do(tmp_path):
    with pytest.raises(OSError, match=r"out: expected room .*No space left.*Free some space"):
        with versions.new_version(tmp_path / "out"), tf.io.TFRecordWriter("/dev/full") as full:
            full.write(b"what TensorFlow writes")
    assert list(tmp_path.iterdir()) == []


def test_a_lack_of_memory_is_not_called_a_full_disk(tmp_path):
    with pytest.raises(tf.errors.ResourceExhaustedError, match="OOM"):
        with versions.new_version(tmp_path / "out"):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
