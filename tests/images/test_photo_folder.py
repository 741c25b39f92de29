"""Photos of a folder: names of results, order, what is left out, and how many at a time."""

import os
import pathlib
import threading

import pytest

from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.images import output_files, photo_folder


def test_output_names_never_collide():
    files = ["a.jpg", "a.png", "A.bmp", "a.jpg.png", "b.jpg", "c.d.jpg"]
    names = output_files.output_names([pathlib.Path(file) for file in files])
    assert len({name.casefold() for name in names}) == len(files)
    assert names[4:] == ["b", "c.d"]


PATHS = [pathlib.Path(f"{number}.png") for number in range(7)]


@pytest.mark.parametrize("concurrency", [1, 3, 20])
def test_results_come_in_order_and_only_so_many_are_under_way(concurrency):
    lock, under_way, most = threading.Lock(), set(), []

    def work(path):
        with lock:
            under_way.add(path)
            most.append(len(under_way))
        return path.stem

    found = []
    for path, name, result in photo_folder.each_photo(PATHS, work, [], concurrency):
        with lock:
            under_way.discard(path)
        found.append((path, name, result))
    assert found == [(path, path.stem, path.stem) for path in PATHS]
    assert max(most) <= concurrency


def test_work_really_runs_at_the_same_time():
    together = threading.Barrier(3, timeout=30)  # breaks unless three are under way at once
    paths = PATHS[:3]
    found = photo_folder.each_photo(paths, lambda path: together.wait(), [], 3)
    assert sorted(result for *_, result in found) == [0, 1, 2]


def test_what_cannot_be_read_is_left_out_and_other_errors_end_it():
    def work(path):
        if path.stem == "2":
            raise InputError("2.png: no photo")
        if path.stem == "4":
            raise RuntimeError("the server is gone")
        return path.stem

    skipped, found = [], []
    with pytest.raises(RuntimeError, match="the server is gone"):
        for _, _, result in photo_folder.each_photo(PATHS, work, skipped, 2):
            found.append(result)
    assert found == ["0", "1", "3"] and skipped == ["2.png: no photo"]


def test_very_long_names_leave_room_for_what_is_put_behind_them():
    paths = [pathlib.Path("猫" * 80 + f"{i}.jpg") for i in range(2)] + [pathlib.Path("a.jpg")]
    names = output_files.output_names(paths)
    assert len(set(names)) == 3 and names[2] == "a"
    assert all(
        len(os.fsencode(name)) <= 200 and name.startswith("猫" * 60) for name in names[:2]
    )


def test_a_table_names_files_whose_names_are_no_text(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    files.write_text(tmp_path / "photos.csv", f"{name},0.5\n")
    assert (tmp_path / "photos.csv").read_bytes() == b"caf\xe9.jpg,0.5\n"
