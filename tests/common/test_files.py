"""Files are whole or what they were before."""

import os
import pathlib

import numpy as np
import pytest

from crnet_tf.common import files, folders


def test_what_is_written_is_read_back(tmp_path):
    files.write_text(tmp_path / "a.txt", "größer")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "größer"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def no_space(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(OSError, match="No space"):
        files.write_text(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_damaged_files_are_named(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(ValueError, match="a.json: expected the JSON that was written there"):
        files.read_json(tmp_path / "a.json")
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "cut.npz").write_bytes(b"PK")
    for name in ("a.npy", "a.json", "cut.npz"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as an .npz archive"):
            files.open_npz(tmp_path / name)
    for read in (files.read_json, files.open_npz):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "gone")


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path, monkeypatch):
    files.make_folder(tmp_path / "a" / "b")
    files.make_folder(tmp_path / "a" / "b")  # again
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    for path, received in (("file", "a file of that name"), ("file/a", "Not a directory")):
        with pytest.raises(OSError, match=f"{path}: expected a folder.*{received}.*another"):
            files.make_folder(tmp_path / path)
    monkeypatch.setattr(os, "access", lambda *args: False)  # root may write everywhere
    with pytest.raises(OSError, match="received one that is read-only"):
        files.make_folder(tmp_path)


def test_a_folder_is_no_file_to_write(tmp_path):
    with pytest.raises(IsADirectoryError, match="received a folder. Name a file in it"):
        files.write_text(tmp_path, "new")


def test_content_is_on_the_disk_before_the_rename_that_follows(tmp_path, monkeypatch):
    seen, fsync, replace = [], os.fsync, os.replace

    def watched_fsync(descriptor):
        seen.append(pathlib.Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def watched_replace(source, target):
        seen.append(f"rename to {pathlib.Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    files.write_text(tmp_path / "file", "new")
    assert seen == [f".file.{os.getpid()}", "rename to file", tmp_path.name]
    seen.clear()
    with folders.replaced(tmp_path / "out") as work:
        (work / "inner").mkdir()
        (work / "inner" / "a").write_text("content")
    assert sorted(seen[:2]) == ["a", "inner"]
    assert seen[2:] == [".out.building", "rename to out", tmp_path.name]
