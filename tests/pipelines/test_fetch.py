"""Files over HTTP, from a local server that does one thing wrong after the other."""

import contextlib
import hashlib
import http.server
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from pipelines.downloading import fetch

ROOT = pathlib.Path(__file__).parents[2]
CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KNOWN = {"sha256": SHA256, "size": len(CONTENT)}


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
        start = int(given.removeprefix("bytes=").removesuffix("-")) if given else 0
        if given and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if given else 200)
        if given:
            shown = 0 if fault == "wrong part" else start
            self.send_header(
                "Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}"
            )
        length = len(content) - start
        if fault not in ("no length", "endless"):
            self.send_header("Content-Length", str(length))
        if fault == "page":
            self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.close_connection = True
        self._send(content[start:], fault)

    def _send(self, body, fault):
        if fault in ("breaks off", "stalls"):
            body = body[: len(body) // 2]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)
            if fault == "endless":
                self.wfile.write(body)
            if fault == "stalls":
                self.server.closing.wait(20)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.faults, server.requests = CONTENT, [], []
    server.closing = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/data.zip"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def get(server, tmp_path, monkeypatch):
    """Fetches to `tmp_path/data.zip`; `get.pauses` are not made but noted."""

    def run(urls=None, known=KNOWN, **options):
        fetch.fetch(urls or [server.url], tmp_path / "data.zip", **known, **options)
        return (tmp_path / "data.zip").read_bytes()

    run.pauses = []
    monkeypatch.setattr(time, "sleep", run.pauses.append)
    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def ranges(server):
    return [given for _, given in server.requests]


def test_file_and_its_checksum_and_nothing_else(get, tmp_path):
    assert get() == CONTENT
    assert names(tmp_path) == ["data.zip", "data.zip.sha256"]
    assert (tmp_path / "data.zip.sha256").read_text() == f"{SHA256}  data.zip\n"


@pytest.mark.parametrize("known", [KNOWN, {}])
def test_a_file_that_is_there_is_checked_not_fetched(get, server, tmp_path, known):
    """Of a file that nobody knows, the first download binds later ones."""
    get(known=known)
    get(known=known)
    assert len(server.requests) == 1
    (tmp_path / "data.zip").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=f"{SHA256}.*move it away"):
        get(known=known)
    assert (tmp_path / "data.zip").read_bytes() == b"mine"  # never overwritten


def test_goes_on_where_the_connection_broke_off(get, server):
    server.faults = ["breaks off", "breaks off"]
    assert get() == CONTENT
    firsts = [int(given[6:-1]) for given in ranges(server)[1:]]
    assert firsts[0] == pytest.approx(1_500_000, abs=2**16)  # nothing twice, but for a block
    assert firsts[1] == pytest.approx(2_250_000, abs=2**17)
    assert get.pauses == [1, 1]  # each brought something


def test_without_a_checksum_parts_of_two_files_are_never_joined(get, server):
    server.faults, server.content = ["breaks off"], bytes(reversed(CONTENT))
    with pytest.raises(OSError):
        get(known={}, retries=0)
    server.content = CONTENT
    assert get(known={}) == CONTENT and ranges(server) == [None, None]


def test_a_stalled_connection_is_a_broken_one(get, server):
    server.faults = ["stalls"]
    assert get(timeout=0.3) == CONTENT
    assert int(ranges(server)[1][6:-1]) > 1_400_000  # what had come is kept


@pytest.mark.parametrize("answers", [[500, 503, 429, 500], ["breaks off"] + 3 * ["wrong part"]])
def test_pauses_grow_and_end(get, server, answers):
    server.faults = answers + [500]
    with pytest.raises(OSError, match="data.zip: expected it from one of 1(.|\n)*--mirror"):
        get(retries=3)
    assert server.faults == [500] and get.pauses == sorted(get.pauses)
    assert max(get.pauses) >= 4


def test_what_came_is_kept_for_the_next_run(get, server, tmp_path):
    server.faults = ["breaks off", 404]
    with pytest.raises(OSError, match="404(.|\n)*1.. MB of it are kept"):
        get()
    assert names(tmp_path) == [".data.zip.partial"]
    server.requests.clear()
    assert get() == CONTENT and ranges(server)[0] is not None
    assert names(tmp_path) == ["data.zip", "data.zip.sha256"]


def test_not_found_is_asked_once_then_the_next_address(get, server):
    server.faults = [404]
    assert get([server.url.replace("data", "gone"), server.url]) == CONTENT
    assert [asked for asked, _ in server.requests] == ["/gone.zip", "/data.zip"]
    assert get.pauses == []


@pytest.mark.parametrize("fault", ["ignores range", "wrong part"])
def test_a_server_that_does_not_do_what_it_was_asked_for(get, server, fault):
    server.faults = ["breaks off", fault]
    assert get() == CONTENT


def test_resumed_onto_a_wrong_part_starts_over(get, server, tmp_path):
    part = tmp_path / ".data.zip.partial" / "part"
    part.parent.mkdir()
    part.write_bytes(b"wrong" * 1000)
    assert get() == CONTENT and ranges(server) == ["bytes=5000-", None]
    (tmp_path / "data.zip").unlink()
    part.parent.mkdir()
    part.write_bytes(b"longer than all" * 300_000)
    assert get() == CONTENT


def test_a_wrong_file_is_refused(get, server, tmp_path):
    server.content = bytes(reversed(CONTENT))
    with pytest.raises(OSError, match=f"data.zip.*{SHA256}"):
        get()
    server.content = b"<html>please log in</html>"
    with pytest.raises(OSError, match="expected 3,000,000 bytes, received 26"):
        get()
    server.content, server.faults = CONTENT, ["endless"]
    with pytest.raises(OSError, match=SHA256):
        get()
    assert len(server.requests) == 3 and names(tmp_path) == []


def test_a_page_is_no_file_and_without_a_length_a_broken_one_looks_whole(get, server):
    server.faults = ["page", "no length", "no length"]
    with pytest.raises(OSError, match="received a web page"):
        get(known={})
    with pytest.raises(OSError, match="expected the length.*received none"):
        get(known={})
    assert get() == CONTENT  # its checksum tells


def test_full_disk_is_said_before_and_is_no_interruption(get, server, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
        with pytest.raises(OSError, match="expected 3.0 MB free.*Free some"):
            get()
    assert len(server.requests) == 1


def test_nobody_there(get):
    with pytest.raises(OSError, match="127.0.0.1:9/data.zip"):
        get(["http://127.0.0.1:9/data.zip"])


def test_killed_in_its_midst_it_goes_on(server, tmp_path):
    server.faults = ["stalls"]
    script = "import sys; from pipelines.downloading import fetch; fetch.fetch(*sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", script.replace("*sys.argv[1:]", "[sys.argv[1]], *sys.argv[2:]"),
         server.url, tmp_path / "data.zip", SHA256],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    partial = tmp_path / ".data.zip.partial" / "part"
    while process.poll() is None and not (partial.exists() and partial.stat().st_size > 10**6):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not (tmp_path / "data.zip").exists()
    fetch.fetch([server.url], tmp_path / "data.zip", **KNOWN)
    assert (tmp_path / "data.zip").read_bytes() == CONTENT
    assert int(ranges(server)[1][6:-1]) > 10**6
