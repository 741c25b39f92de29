import contextlib
import hashlib
import http.server
import io
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pytest

from pipelines import download
from pipelines.downloading import fetch, transfer
from pipelines.downloading.transfer import Expected

ROOT = pathlib.Path(__file__).parents[2]
CONTENT = np.random.default_rng(0).bytes(3_000_000)
RIGHT = Expected(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.content`; does one thing of `server.faults` wrong a request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, content = self.server, self.server.content
        server.requests.append((self.path, self.headers.get("Range")))
        fault = server.faults.pop(0) if server.faults else ""
        if isinstance(fault, int):
            return self.send_error(fault)
        given = self.headers.get("Range", "") if fault != "ignores range" else ""
        if server.etag and self.headers.get("If-Range", server.etag) != server.etag:
            given = ""
        start = int(given.removeprefix("bytes=").removesuffix("-")) if given else 0
        if given and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if given else 200)
        if given:
            shown = 0 if fault == "wrong part" else start
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {shown}-{last}/{len(content)}")
        length = len(content) - start + (999 if fault == "claims more" else 0)
        if fault not in ("no length", "endless"):
            self.send_header("Content-Length", str(length))
        if server.etag:
            self.send_header("ETag", server.etag)
        if fault == "page":
            self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.close_connection = True
        body = content[start:]
        if fault in ("breaks off", "stalls"):
            body = body[: len(body) // 2]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)
            if fault == "endless":
                self.wfile.write(body)
            while fault == "stalls" and not server.closing:
                time.sleep(0.01)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.faults, server.requests = CONTENT, [], []
    server.etag, server.closing = '"v1"', False
    server.url = f"http://127.0.0.1:{server.server_port}/data.zip"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.closing = True
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def get(server, tmp_path):
    """Fetches to `tmp_path/data.zip`, pausing never; returns (path, pauses)."""

    def run(urls=None, expected=RIGHT, **options):
        pauses = []
        path = tmp_path / "data.zip"
        options = {"retries": 3, "wait": pauses.append} | options
        fetch.fetch(urls or [server.url], path, expected, **options)
        return path, pauses

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_and_its_checksum_and_nothing_else(get, tmp_path):
    path, _ = get()
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["data.zip", "data.zip.sha256"]
    assert (tmp_path / "data.zip.sha256").read_text() == f"{RIGHT.sha256}  data.zip\n"


def test_a_file_that_is_there_is_checked_not_fetched(get, server):
    path, _ = get()
    get()
    assert len(server.requests) == 1
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(FileExistsError, match="expected .*sha256.*received.*move it away"):
        get()
    assert path.read_bytes()[-1:] == b"x"  # never overwritten


def test_goes_on_where_the_connection_broke_off(get, server):
    server.faults = ["breaks off", "breaks off"]
    path, pauses = get()
    assert path.read_bytes() == CONTENT
    ranges = [given for _, given in server.requests]
    assert ranges == [None, "bytes=1500000-", "bytes=2250000-"]  # nothing twice
    assert pauses == [1, 1]  # each brought something


def test_a_stalled_connection_is_a_broken_one(get, server):
    server.faults = ["stalls"]
    path, pauses = get(timeout=0.3)
    assert path.read_bytes() == CONTENT and pauses == [1]
    start = int(server.requests[1][1].removeprefix("bytes=").removesuffix("-"))
    assert start > 1_400_000  # what had come is kept


def test_pauses_grow_and_end(get, server, tmp_path):
    server.faults = [500, 503, 429, 500, 500]
    with pytest.raises(OSError, match="HTTP 500.*given up after 4 attempts(.|\n)*--mirror"):
        get()
    assert len(server.requests) == 4
    assert names(tmp_path) == []
    server.faults = [500, 503, 429]
    assert get()[1] == [1, 2, 4]


def test_what_came_is_kept_for_the_next_run(get, server, tmp_path):
    server.faults = ["breaks off", 404]
    with pytest.raises(OSError, match="HTTP 404(.|\n)*1.5 MB of it are kept"):
        get()
    assert names(tmp_path) == [".data.zip.partial", ".data.zip.partial.json"]
    path, _ = get()
    assert path.read_bytes() == CONTENT
    assert server.requests[-1] == ("/data.zip", "bytes=1500000-")
    assert names(tmp_path) == ["data.zip", "data.zip.sha256"]


def test_not_found_is_asked_once_then_the_next_address(get, server):
    server.faults = [404]
    path, pauses = get([server.url.replace("data", "gone"), server.url])
    assert path.read_bytes() == CONTENT and pauses == []
    assert [asked for asked, _ in server.requests] == ["/gone.zip", "/data.zip"]


def test_server_that_ignores_range(get, server, tmp_path):
    server.faults = ["breaks off", "ignores range"]
    assert get()[0].read_bytes() == CONTENT
    assert [given for _, given in server.requests] == [None, "bytes=1500000-"]


def test_part_of_another_place_is_not_appended(get, server):
    server.faults = ["breaks off", "wrong part"]
    assert get()[0].read_bytes() == CONTENT
    assert server.requests[-1][1] is None  # from the start again


@pytest.mark.parametrize(
    "before, after, requests", [('"v1"', '"v2"', 1), ('"v1"', None, 2), (None, None, 1)]
)
def test_a_file_that_changed_meanwhile_is_fetched_anew(get, server, before, after, requests):
    server.content, server.etag = bytes(reversed(CONTENT)), before
    server.faults = ["breaks off", 404]
    with pytest.raises(OSError):
        get(expected=Expected())
    server.requests.clear()
    server.content, server.etag = CONTENT, after
    assert get(expected=Expected())[0].read_bytes() == CONTENT
    assert len(server.requests) == requests  # If-Range spares a second one


def test_resumed_onto_a_wrong_part_starts_over(get, server, tmp_path):
    (tmp_path / ".data.zip.partial").write_bytes(b"wrong" * 1000)
    path, _ = get()
    assert path.read_bytes() == CONTENT
    assert [given for _, given in server.requests] == ["bytes=5000-", None]


def test_wrong_file_of_the_right_size(get, server, tmp_path):
    server.content = bytes(reversed(CONTENT))
    with pytest.raises(
        OSError, match=f"expected sha256 {RIGHT.sha256}, received (?!{RIGHT.sha256})"
    ):
        get()
    assert names(tmp_path) == []
    assert len(server.requests) == 1


def test_wrong_size_is_refused_before_it_comes(get, server, tmp_path):
    server.content = b"<html>please log in</html>"
    with pytest.raises(OSError, match="expected a file of 3,000,000 bytes, received one of 26"):
        get()
    assert names(tmp_path) == []


def test_a_page_is_no_file(get, server):
    server.content, server.faults = b"<html>please log in</html>", ["page"]
    with pytest.raises(OSError, match="received a web page"):
        get(expected=Expected())


def test_without_a_length_a_broken_file_looks_whole(get, server):
    server.faults = ["no length"]
    with pytest.raises(OSError, match="expected the length of the file.*received none"):
        get(expected=Expected())
    server.faults = ["no length"]
    assert get()[0].read_bytes() == CONTENT


def test_more_than_was_announced(get, server, tmp_path):
    server.faults = ["endless"]
    with pytest.raises(OSError, match="expected 3,000,000 bytes, received"):
        get()
    assert names(tmp_path) == []


def test_first_download_of_an_unknown_file_binds_later_ones(get, server, tmp_path):
    path, _ = get(expected=Expected())
    path.write_bytes(b"other")
    with pytest.raises(FileExistsError, match=f"expected sha256 {RIGHT.sha256}, received"):
        get(expected=Expected())


def test_a_length_that_is_too_large_ends(get, server):
    server.faults = ["claims more"]
    assert get(expected=Expected())[0].read_bytes() == CONTENT
    ranges = [given for _, given in server.requests]
    assert ranges == [None, "bytes=3000000-"]  # answered with 416: there is no more


def test_full_disk_is_said_before(get, server, monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(OSError, match="expected 3.0 MB free for .*received 0.0 MB. Free some"):
        get()


def test_an_error_of_the_disk_is_no_interruption(get, server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transfer, "_copy", full)
    with pytest.raises(OSError, match="No space left"):
        get()
    assert len(server.requests) == 1


def test_nobody_there(get):
    with pytest.raises(OSError, match="refused; given up after 4 attempts"):
        get(["http://127.0.0.1:9/data.zip"])


KILLED = """
import sys
from pipelines.downloading import fetch
fetch.fetch([sys.argv[1]], sys.argv[2])
"""


def test_killed_in_its_midst_it_goes_on(server, get, tmp_path):
    server.faults = ["stalls"]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, server.url, str(tmp_path / "data.zip")],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    partial = tmp_path / ".data.zip.partial"
    while process.poll() is None and not (partial.exists() and partial.stat().st_size > 10**6):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "data.zip").exists()
    assert get()[0].read_bytes() == CONTENT
    start = int(server.requests[1][1].removeprefix("bytes=").removesuffix("-"))
    assert start > 10**6


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}/photo.jpg", content)
    return buffer.getvalue()


def test_download_unpacks(server, tmp_path, capsys):
    server.content = zipped(train2017=b"photo")
    paths = download.download("coco2017", tmp_path, urls=[server.url], unpack=True, retries=0)
    assert paths == [tmp_path / "data.zip"]
    assert (tmp_path / "coco2017/train2017/photo.jpg").read_bytes() == b"photo"
    assert "recorded, none is published" in capsys.readouterr().out
    download.download("coco2017", tmp_path, urls=[server.url], unpack=True, retries=0)
    assert len(server.requests) == 1


def test_a_known_name_must_be_the_published_file(server, tmp_path):
    url = server.url.replace("data.zip", "val2017.zip")
    with pytest.raises(
        OSError, match="expected a file of 815,585,330 bytes, received one of 3,"
    ):
        download.download("coco2017", tmp_path, urls=[url], retries=0)


def test_mirror_is_asked_before_the_publisher(server, tmp_path, monkeypatch):
    url = server.url.replace("data", "published/data")
    archives = (download.Archive(url, RIGHT),)
    monkeypatch.setitem(download.DATASETS, "voc", archives)
    server.faults = [404]
    mirror = server.url.replace("data.zip", "mirror/")
    download.download("voc", tmp_path, mirror=mirror)
    assert [path for path, _ in server.requests] == ["/mirror/data.zip", "/published/data.zip"]
    assert (tmp_path / "data.zip").read_bytes() == CONTENT


def test_room_for_everything_is_checked_first(server, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 3 * 10**9}))
    with pytest.raises(OSError, match="expected 3,999.3 MB free for the archives and what is"):
        download.download("voc", tmp_path, mirror=server.url, unpack=True)
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    ["data.zip", "file:///etc/passwd", "http://host/", "http://host/a/..%2fx.zip", "//h/x"],
)
def test_addresses_that_are_none(url, tmp_path):
    with pytest.raises(ValueError, match="expected .*received"):
        download.download("voc", tmp_path, urls=[url])


def test_one_name_for_two_files(tmp_path):
    with pytest.raises(
        ValueError, match="expected files of different names, received a.zip, a"
    ):
        download.download("voc", tmp_path, urls=["http://x/a.zip", "http://y/a.zip"])


def test_unknown_data_set(tmp_path):
    with pytest.raises(
        ValueError, match="--dataset: expected one of voc, .*received 'imagenet'"
    ):
        download.download("imagenet", tmp_path)


def test_published_files_are_described_completely():
    for archives in download.DATASETS.values():
        assert len({archive.name for archive in archives}) == len(archives)
        for archive in archives:
            assert archive.expected.size > 10**8 and len(archive.expected.sha256) == 64
            assert archive.name.endswith((".tar", ".tgz", ".zip"))
