"""Ray's own workers: the same bytes as without them, deaths, errors."""

import functools
import os
import signal

import pytest
from helpers.networks import photo

from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.fewshot.learnt_files import Learnt
from crnet_tf.images import png_files
from pipelines.build_voc import build_voc
from pipelines.finding.search import find
from pipelines.workers import pool
from pipelines.writing import ray_writer

ray = pytest.importorskip("ray", reason="the package ray (extra `ray`) is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def workers():
    yield pool.workers_at("local")
    ray.shutdown()
    pool.workers_at.cache_clear()


def contents(folder):
    """All files but what depends on the run or names the source."""
    left_out = ("metrics.json", "index.json")
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in left_out]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_search_has_the_bytes_of_a_single_process(workers, checkpoint, tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(4):
        png_files.write_png(tmp_path / "photos" / f"{number}.png", photo(number).image)
    (tmp_path / "photos" / "bad.png").write_bytes(b"no photo")
    learnt = Learnt(str(checkpoint), {}, 0.5, {"cup": [photo(1)]}, [])
    for name, by in (("here", None), ("ray", workers)):
        find([str(tmp_path / "photos")], learnt, tmp_path / name, shard_photos=2, workers=by)
    assert contents(tmp_path / "ray") == contents(tmp_path / "here")


def test_records_have_the_bytes_of_a_single_process(workers, voc_dir, records_dir, tmp_path):
    write = functools.partial(ray_writer.write_streams, workers=workers)
    build_voc(voc_dir, tmp_path / "out", write_streams=write)
    assert contents(tmp_path / "out") == contents(records_dir)


def test_the_piece_of_a_worker_that_is_killed_is_done_again(workers, tmp_path):
    def work(number):
        killed = tmp_path / "killed"
        if number == 3 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert sorted(workers.results(work, range(8))) == [*range(8)]
    (tmp_path / "killed").unlink()
    assert [*workers.results(work, range(8), in_order=True)] == [*range(8)]


def test_a_piece_that_kills_every_worker_is_told(workers, monkeypatch):
    monkeypatch.setattr(pool, "_RETRIES", 1)
    with pytest.raises(
        BlockedError, match="expected workers that end a piece(.|\\n)*The piece: poison"
    ):
        list(workers.results(lambda _: os.kill(os.getpid(), signal.SIGKILL), ["poison"]))


def test_errors_are_those_of_the_work(workers):
    def work(_):
        raise InputError("a.jpg: expected a photo.")

    with pytest.raises(InputError, match="^a.jpg: expected a photo.$"):
        list(workers.results(work, [1]))


def test_an_address_where_nothing_listens_is_told_at_once():
    for address in ("127.0.0.1:1", "127.0.0.1:port"):
        with pytest.raises(BlockedError, match="expected the address of a Ray cluster"):
            pool.workers_at(address)
