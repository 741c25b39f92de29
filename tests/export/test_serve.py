"""The local server speaks TF Serving's REST API, and keeps its bounds and its doors shut."""

import asyncio
import concurrent.futures
import dataclasses
import gc
import http.client
import json
import math
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import weakref

import pytest
import requests
import tensorflow as tf
import uvicorn
from helpers import commands
from helpers.live_server import b64, serving, until, write_sums
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import prediction_log_pb2

from crnet_tf.common.errors import BlockedError
from export import serve
from export.package import warmup
from export.server import loading, starting
from export.server.guard import Guard
from export.server.limits import Limits
from export.server.served import Served

ROOT = pathlib.Path(__file__).parents[2]
PAIR = {"x": [[1, 2], [3, 4]], "y": [[10, 20], [30, 40.5]]}


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    """Versions 1 and 3 of a tiny model."""
    folder = tmp_path_factory.mktemp("models") / "sum"
    folder.mkdir()
    for version in (1, 3):
        write_sums(folder, version)
    return folder


@pytest.fixture(scope="module")
def server(sums):
    with serving([Served("sum", sums)]) as server:
        yield server


def error_of(answer, code):
    assert answer.status_code == code, (answer.status_code, answer.text)
    assert list(answer.json()) == ["error"] and answer.json()["error"]
    return answer.json()["error"]


# === TF Serving's format ===


def test_columns_are_answered_in_columns(server):
    answer = server.predict({"inputs": PAIR})
    assert answer.headers["content-type"] == "application/json"
    outputs = {"sum": [[11.0, 22.0], [33.0, 44.5]], "version": [3, 3]}
    assert answer.json() == {"outputs": outputs}


def test_rows_are_answered_in_rows(server):
    rows = [{"x": [1, 2], "y": [10, 20]}, {"x": [3, 4], "y": [30, 40]}]
    answer = server.predict({"instances": rows, "signature_name": "serving_default"})
    assert answer.json() == {
        "predictions": [{"sum": [11, 22], "version": 3}, {"sum": [33, 44], "version": 3}]
    }


@pytest.mark.parametrize("rows", [[True, False], [{"flag": True}, {"flag": False}]], ids=str)
def test_a_single_input_or_output_needs_no_name(server, rows):
    answer = server.predict({"signature_name": "negate", "instances": rows})
    assert answer.json() == {"predictions": [False, True]}
    for inputs in ([True, False], {"flag": [True, False]}):
        answer = server.predict({"signature_name": "negate", "inputs": inputs})
        assert answer.json() == {"outputs": [False, True]}


def test_binary_strings_travel_as_base64_under_names_that_say_so(server):
    values = ["ä", b64(b"plain")]
    answer = server.predict({"signature_name": "echo", "inputs": values})
    expected = {"echo": ["ä", "plain"], "echo_bytes": [b64("ä".encode()), b64(b"plain")]}
    assert answer.json() == {"outputs": expected}
    answer = server.predict({"signature_name": "echo", "instances": [b64(b"\xff\x00")]})
    assert answer.json()["predictions"][0]["echo_bytes"] == b64(b"\xff\x00")


def test_numbers_that_json_has_not_pass_as_in_tf_serving(server):
    answer = server.predict('{"inputs": {"x": [[NaN, 1]], "y": [[1, Infinity]]}}')
    first, second = answer.json()["outputs"]["sum"][0]
    assert math.isnan(first) and second == math.inf


def test_a_scalar_output_has_no_rows(server):
    answer = server.predict({"signature_name": "total", "inputs": [1, 2]})
    assert answer.json() == {"outputs": 3}
    error = server.predict({"signature_name": "total", "instances": [1, 2]})
    assert "columns" in error_of(error, 400)


def test_status_of_all_versions_and_of_one(server):
    state = {"version": "3", "state": "AVAILABLE"}
    state["status"] = {"error_code": "OK", "error_message": ""}
    for path in ("", "/versions/3"):
        answer = server.get(f"/v1/models/sum{path}")
        assert answer.json() == {"model_version_status": [state]}


def test_metadata_has_the_signatures_of_the_file(server, sums):
    answer = server.get("/v1/models/sum/metadata").json()
    assert answer["model_spec"] == {"name": "sum", "signature_name": "", "version": "3"}
    definitions = answer["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "echo", "negate", "total"} <= set(definitions)
    default = definitions["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict"
    x = default["inputs"]["x"]
    assert x["dtype"] == "DT_FLOAT" and x["name"] == "serving_default_x:0"
    sizes = [{"size": "-1", "name": ""}, {"size": "2", "name": ""}]
    assert x["tensor_shape"] == {"dim": sizes, "unknown_rank": False}
    assert server.get("/v1/models/sum/versions/3/metadata").json() == answer


def test_versions_in_urls_are_the_one_that_serves(server):
    url = f"{server.url}/v1/models/sum/versions"
    assert requests.post(f"{url}/3:predict", json={"inputs": PAIR}, timeout=60).ok
    assert "not loaded" in error_of(requests.post(f"{url}/1:predict", timeout=60), 404)
    assert "number" in error_of(requests.post(f"{url}/x:predict", timeout=60), 400)


def test_what_is_not_there_is_said(server):
    assert "'other'" in error_of(server.predict({}, model="other"), 404)
    for path in ("/v1/models/other", "/v1/models/sum/versions/1", "/v1/nothing", "/etc/passwd"):
        error_of(server.get(path), 404)
    said = error_of(server.get("/v1/nothing"), 404)
    assert said.startswith("Not Found: GET /v1/nothing. Expected") and ":predict" in said
    answer = requests.post(f"{server.url}/v1/models/sum/metadata", timeout=60)
    assert "Method Not Allowed: POST" in error_of(answer, 405)


@pytest.mark.parametrize(
    "body, said",
    [
        ("", "JSON object"),
        ("[1]", "JSON object"),
        ('{"inputs": {', "JSON object"),
        ("[" * 100_000, "nested"),
        ({}, "either"),
        ({"inputs": PAIR, "instances": []}, "either"),
        ({"instances": []}, "a list of rows"),
        ({"instances": [1]}, "['x', 'y']"),
        ({"inputs": {"x": PAIR["x"]}}, "['x', 'y']"),
        ({"inputs": {**PAIR, "z": 1}}, "['x', 'y']"),
        ({"inputs": PAIR, "signature_name": "none"}, "['echo', "),
        ({"inputs": PAIR, "signature_name": 7}, "a string"),
        ({"inputs": {**PAIR, "x": [[1, 2], [3]]}}, "equal lengths"),
        ({"inputs": {**PAIR, "x": [1, 2]}}, "shape [n, 2]"),
        ({"inputs": {**PAIR, "x": [["1", 2], [3, 4]]}}, "float32"),
        ({"inputs": {**PAIR, "x": [[True, 2], [3, 4]]}}, "float32"),
        ({"inputs": {**PAIR, "x": [[1e300, 2], [3, 4]]}}, "out of its range"),
        ({"inputs": {**PAIR, "x": [[10**400, 2], [3, 4]]}}, "larger numbers"),
        ({"inputs": [2**31], "signature_name": "total"}, "out of its range"),
        ({"inputs": [10**30], "signature_name": "total"}, "larger numbers"),
        ({"inputs": [1.0], "signature_name": "total"}, "int32"),
        ({"inputs": [1], "signature_name": "negate"}, "bool"),
        ({"inputs": [{"b64": "?"}], "signature_name": "echo"}, "base64"),
        ({"inputs": [7], "signature_name": "echo"}, "strings"),
        ({"inputs": ["\ud800"], "signature_name": "echo"}, "surrogates"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_requests_are_explained(server, body, said):
    assert said in error_of(server.predict(body), 400)


def test_shapes_that_only_the_graph_refuses_are_the_clients_fault(server):
    inputs = {"x": [[1, 2]] * 3, "y": [[1, 2]] * 2}
    assert "Incompatible shapes" in error_of(server.predict({"inputs": inputs}), 400)


# === Versions ===


def test_a_new_version_takes_over_and_no_request_is_lost(tmp_path):
    write_sums(tmp_path, 1)
    stop, seen = threading.Event(), []
    with serving([Served("sum", tmp_path)]) as server:
        url = f"{server.url}/v1/models/sum:predict"

        def ask():
            with requests.Session() as session:
                while not stop.is_set():
                    answer = session.post(url, json={"inputs": PAIR}, timeout=60)
                    seen.append((answer.status_code, answer.json()["outputs"]["version"][0]))

        with concurrent.futures.ThreadPoolExecutor(4) as clients:
            asked = [clients.submit(ask) for _ in range(4)]
            until(lambda: (200, 1) in seen)
            write_sums(tmp_path, 2)
            until(lambda: (200, 2) in seen)
            stop.set()
        for one in asked:
            one.result()  # raises what it raised
        assert set(seen) == {(200, 1), (200, 2)}
        until(lambda: states(server) == {"2": "AVAILABLE", "1": "END"})


def states(server):
    entries = server.get("/v1/models/sum").json()["model_version_status"]
    return {entry["version"]: entry["state"] for entry in entries}


def test_a_broken_version_is_reported_and_the_old_one_stays(tmp_path):
    write_sums(tmp_path, 1)
    shutil.copytree(tmp_path / "1", tmp_path / "07")  # not how versions are called
    with serving([Served("sum", tmp_path)]) as server:
        broken = tmp_path / "2"
        broken.mkdir()
        (broken / "saved_model.pb").write_bytes(b"damaged")
        until(lambda: states(server).get("2") == "END")
        entry = server.get("/v1/models/sum/versions/2").json()["model_version_status"][0]
        assert entry["status"]["error_code"] == "UNKNOWN" and entry["status"]["error_message"]
        assert server.predict({"inputs": PAIR}).json()["outputs"]["version"] == [1, 1]
        # Mended, it is tried again; removed, the version before serves again.
        shutil.rmtree(broken)
        write_sums(tmp_path, 2)
        until(lambda: states(server) == {"1": "END", "2": "AVAILABLE"})
        shutil.rmtree(broken)
        until(lambda: states(server)["1"] == "AVAILABLE")
        assert server.predict({"inputs": PAIR}).json()["outputs"]["version"] == [1, 1]


def test_a_broken_version_is_tried_again_only_when_it_changes(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"damaged")
    tried = []

    def load(path, name, version):
        tried.append(version)
        raise ValueError("it is damaged")

    model = Served("sum", tmp_path, load=load)

    async def look():
        for _ in range(3):
            await model.refresh()

    asyncio.run(look())
    assert tried == [1] and "it is damaged" in model.states[1].error
    (tmp_path / "1" / "variables").touch()
    asyncio.run(look())
    assert tried == [1, 1]


def test_the_old_version_stays_in_memory_while_it_is_asked(tmp_path):
    write_sums(tmp_path, 1)
    entered, go_on = threading.Event(), threading.Event()
    with serving([Served("sum", tmp_path, load=slow(entered, go_on))]) as server:
        with concurrent.futures.ThreadPoolExecutor() as clients:
            answer = clients.submit(server.predict, {"inputs": PAIR})
            assert entered.wait(60)
            write_sums(tmp_path, 2)
            until(lambda: states(server) == {"1": "UNLOADING", "2": "AVAILABLE"})
            go_on.set()
            assert answer.result().json()["outputs"]["version"] == [1, 1]
        until(lambda: states(server) == {"1": "END", "2": "AVAILABLE"})


def slow(entered, go_on):
    """A `load` whose default signature waits in its thread."""

    def load(*arguments):
        loaded = loading.load(*arguments)
        signature = loaded.signatures["serving_default"]

        def waiting(**tensors):
            entered.set()
            assert go_on.wait(60)
            return signature.function(**tensors)

        slowed = dataclasses.replace(signature, function=waiting)
        loaded.signatures["serving_default"] = slowed
        return loaded

    return load


def write_warm_up(folder, signature):
    """A version of a model, with one request in its warm-up file."""
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = signature
    log.predict_log.request.inputs["text"].CopyFrom(tf.make_tensor_proto(["hello"]))
    version = write_sums(folder, 1)
    (version / warmup.FILE).parent.mkdir()
    with tf.io.TFRecordWriter(str(version / warmup.FILE)) as writer:
        writer.write(log.SerializeToString())
    return version


def test_a_version_is_asked_its_warm_up_requests_before_it_serves(tmp_path):
    version, recording = write_warm_up(tmp_path, "echo"), Recording()
    loading.warm_up(version, {"echo": recording})
    assert recording.asked == [{"text": [b"hello"]}]
    assert loading.load(version, "sum", 1).version == 1


def test_a_version_that_fails_its_warm_up_does_not_serve(tmp_path):
    version = write_warm_up(tmp_path, "nobody's")
    with pytest.raises(ValueError, match='received one to "nobody\'s"'):
        loading.load(version, "sum", 1)


class Recording:
    """A signature that notes what it is asked."""

    def __init__(self):
        self.asked = []

    def call(self, arrays):
        self.asked.append({name: value.tolist() for name, value in arrays.items()})


def test_a_chosen_version_serves_and_several_models_do(sums):
    models = starting.served_models([f"old={sums}"], 1)
    (other,) = starting.served_models([str(sums)])
    with serving([*models, other]) as server:
        versions = [
            server.predict({"inputs": PAIR}, name).json()["outputs"]["version"][0]
            for name in ("old", "sum")
        ]
        assert versions == [1, 3]


@pytest.mark.parametrize(
    "models, version, error",
    [
        (["{folder}/1"], None, "received a version"),
        (["{folder}/none"], None, "a folder with a version .*none/1, received none. Write"),
        (["{folder}"], 9, "--version: expected one of 3, 1, which .* received 9"),
        (["{folder}", "{folder}"], None, "each once"),
        (["a/b={folder}"], None, "letters"),
        (["{folder}", "b={folder}"], 1, "expected one --model"),
    ],
)
def test_wrong_models_are_explained(sums, models, version, error):
    with pytest.raises((FileNotFoundError, ValueError), match=error):
        starting.served_models([text.format(folder=sums) for text in models], version)


def test_a_folder_may_have_a_name_with_an_equals_sign(tmp_path):
    write_sums(tmp_path / "lr=3", 1)
    (model,) = starting.served_models([f"sum={tmp_path}/lr=3"])
    assert (model.name, model.versions()) == ("sum", [1])


def test_a_folder_of_several_models_names_them(tmp_path):
    for name in ("cups", "mugs"):
        write_sums(tmp_path / name, 1)
    with pytest.raises(FileNotFoundError, match=f"--model={tmp_path}/cups,{tmp_path}/mugs"):
        starting.served_models([str(tmp_path)])


def test_a_taken_port_is_said_before_a_model_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"a free port .*127.0.0.1:{port}: .*another --port"):
            commands.run(serve, "--model=nowhere", f"--port={port}")


def test_an_empty_host_does_not_open_the_server_to_others():
    with pytest.raises(ValueError, match="--host: expected an address"):
        starting.bound_socket("", 0).close()


def test_until_a_version_is_loaded_the_server_is_live_but_not_ready(tmp_path):
    with serving([Served("sum", tmp_path)], ready=False) as server:
        assert server.get("/healthz").text == "ok"
        assert server.get("/readyz").status_code == 503
        answer = server.predict({"inputs": PAIR})
        assert "no version" in error_of(answer, 503) and answer.headers["retry-after"]
        write_sums(tmp_path, 1)
        until(lambda: server.get("/readyz").ok)


# === Bounds ===


def test_a_large_body_is_refused_while_it_is_read(sums):
    with serving([Served("sum", sums)], max_request_mb=0.01) as server:
        assert server.predict(b" " * 10_000 + b'{"inputs": []}').status_code == 400
        assert "0.01 MiB" in error_of(server.predict(b"x" * 11_000), 413)
        # Without a length in the head, after the bound: the rest is never sent.
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            head = b"POST /v1/models/sum:predict HTTP/1.1\r\nHost: localhost\r\n"
            client.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            client.sendall(b"2b00\r\n" + b"x" * 0x2B00 + b"\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 413")
        until(lambda: server.api.predictor.admission.requests == 0)
        assert server.api.predictor.admission.bytes == 0


def test_many_small_values_are_refused_before_they_are_parsed(sums):
    with serving([Served("sum", sums)], max_values=1000) as server:
        body = json.dumps({"inputs": [[]] * 1000})
        assert "1000 values" in error_of(server.predict(body), 413)


def test_a_slow_body_is_given_up(sums):
    with serving([Served("sum", sums)], body_timeout_s=0.05) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            head = b"POST /v1/models/sum:predict HTTP/1.1\r\nHost: localhost\r\n"
            client.sendall(head + b"Content-Length: 100\r\n\r\n{")
            assert client.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "name", ["batch_wait_ms", "max_request_mb", "body_timeout_s", "timeout_s", "poll_s"]
)
def test_bounds_are_finite(name):
    with pytest.raises(ValueError, match=f"{name}: expected less than inf, received inf"):
        Limits(**{name: math.inf})


def test_compressed_bodies_are_refused(server):
    answer = server.predict({"inputs": PAIR}, headers={"Content-Encoding": "gzip"})
    assert "Content-Encoding" in error_of(answer, 415)


def test_what_the_queue_cannot_hold_is_sent_away_and_late_answers_are_not_waited_for(sums):
    entered, go_on = threading.Event(), threading.Event()
    model = Served("sum", sums, load=slow(entered, go_on))
    with serving([model], queue=2, workers=1, timeout_s=0.5) as server:
        with concurrent.futures.ThreadPoolExecutor() as clients:
            waiting = [clients.submit(server.predict, {"inputs": PAIR}) for _ in range(2)]
            until(lambda: server.api.predictor.batcher.waiting == 1)
            refused = server.predict({"inputs": PAIR})
            assert "busy" in error_of(refused, 503) and refused.headers["retry-after"] == "1"
            assert server.get("/healthz").ok
            for one in waiting:
                assert "within 0.5 s" in error_of(one.result(), 504)
        go_on.set()
        # The call that waited is never made, and the thread is free again.
        until(lambda: server.api.predictor.batcher.waiting == 0)
        assert server.predict({"inputs": PAIR}).ok and model.current.users == 0


# === Who may ask ===


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8501"},
        {"Host": ""},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
    ids=str,
)
def test_pages_of_other_origins_are_refused(server, headers):
    error = error_of(server.predict({"inputs": PAIR}, headers=headers), 403)
    assert "Expected a" in error
    if headers.get("Sec-Fetch-Mode") != "navigate":
        error_of(server.get("/", headers=headers), 403)


def test_other_programs_and_the_servers_own_page_may_ask(sums):
    with serving([Served("sum", sums)], hosts=["Box.example:8501"]) as server:
        own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        for headers in ({}, own, {"Host": "box.EXAMPLE:80"}, {"Host": "[::1]:8501"}):
            assert server.predict({"inputs": PAIR}, headers=headers).ok, headers
        assert server.get("/", headers=link).ok


def test_a_list_of_hosts_with_an_empty_one_lets_nothing_malformed_in():
    guard = Guard(None, ["box.example", "", "::1"])
    assert not any(map(guard.is_known, ("", "evil.example")))


def test_all_answers_carry_the_headers_of_a_page_that_loads_nothing_else(server):
    for path in ("/", "/main.js", "/nothing"):
        headers = server.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers and "server" not in headers
    assert server.get("/main.js").headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize("path", ["/../serve.py", "/%2e%2e/serve.py", "/__init__.py", "//etc"])
def test_no_path_reaches_the_disk(server, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", path)
    assert connection.getresponse().status == 404
    connection.close()


# === Operation ===


def test_prometheus_sees_what_happened(sums):
    with serving([Served("sum", sums)]) as server:
        server.predict({"inputs": PAIR})
        server.predict({"inputs": PAIR, "signature_name": "nobody's"})
        text = server.get("/metrics").text
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["crnet_requests_total", "200", "serving_default", "sum"] == 1
    assert found["crnet_requests_total", "400", "other", "sum"] == 1
    assert found["crnet_request_seconds_count", "serving_default", "sum"] == 1
    assert found["crnet_batch_queries_sum", "serving_default", "sum"] == 1
    assert found["crnet_loaded_version", "sum"] == 3
    assert found["crnet_waiting_requests",] == 0
    assert "nobody" not in text


def test_a_stopped_server_answers_what_it_received_and_ends_well(sums, tmp_path):
    """SIGTERM arrives while a request is in TensorFlow's thread."""
    program = """
import pathlib, sys, time
from absl import flags
from crnet_tf.common import cli
from crnet_tf.common.errors import BlockedError
from export import serve
from export.server import tensors

call = tensors.Signature.call

def slow(self, inputs):
    pathlib.Path(sys.argv[0]).with_name("entered").touch()
    time.sleep(1)
    return call(self, inputs)

tensors.Signature.call = slow
cli.run(serve.main, serve.define_flags)
"""
    (tmp_path / "program.py").write_text(program)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, tmp_path / "program.py", f"--model={sums}", f"--port={port}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as run:
        try:
            until(lambda: is_ready(url))
            with concurrent.futures.ThreadPoolExecutor() as clients:
                asked = {"json": {"inputs": PAIR}, "timeout": 60}
                answer = clients.submit(requests.post, f"{url}/v1/models/sum:predict", **asked)
                until((tmp_path / "entered").exists)
                run.send_signal(signal.SIGTERM)
                until(lambda: is_closed(port))
                assert answer.result().json()["outputs"]["version"] == [3, 3]
            assert run.wait(60) == 0, run.stderr.read()
            assert "Traceback" not in run.stderr.read()
        finally:
            run.kill()


def test_a_stopped_server_reads_what_was_sent(sums, monkeypatch):
    """A connection that it has accepted, and whose request comes while it stops."""
    monkeypatch.setattr(starting, "READ_S", 2)
    body = json.dumps({"inputs": PAIR})
    head = "POST /v1/models/sum:predict HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with serving([Served("sum", sums)]) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            until(lambda: len(server.uvicorn.server_state.connections) == 2)  # and `session`
            server.uvicorn.should_exit = True
            until(lambda: is_closed(server.port))
            client.sendall((head + body).encode())
            assert client.recv(20).startswith(b"HTTP/1.1 200")


def is_ready(url):
    try:
        return requests.get(f"{url}/readyz", timeout=60).ok
    except requests.ConnectionError:
        return False


def is_closed(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_command_serves_what_its_flags_say(sums, monkeypatch, capsys):
    asked = []

    def run(server, sockets):
        (listening,) = sockets
        models, limits = server.config.app.state.api.models, server.config.app.state.api.limits
        asked.append((list(models), listening.getsockname(), limits.max_batch))
        listening.close()

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.setattr(signal, "signal", lambda number, action: asked.append(number))
    commands.run(serve, f"--model=a={sums},b={sums}", "--port=0", "--max_batch=3")
    *ending, (models, (host, port), max_batch) = asked
    assert ending == [signal.SIGTERM, signal.SIGINT]
    assert (models, host, max_batch) == (["a", "b"], "127.0.0.1", 3)
    assert f"Serving a, b on http://127.0.0.1:{port}/" in capsys.readouterr().out


def test_tensorflow_forgets_a_version_that_is_unloaded(tmp_path):
    """What the switch is for: memory of one version, not of all there ever were."""
    write_sums(tmp_path, 1)
    with serving([Served("sum", tmp_path)]) as server:
        assert server.predict({"inputs": PAIR}).ok
        root = weakref.ref(server.api.models["sum"].current.root)
        write_sums(tmp_path, 2)
        until(lambda: states(server) == {"1": "END", "2": "AVAILABLE"})
        gc.collect()
        until(lambda: root() is None)


def test_without_its_packages_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # importing it fails
    monkeypatch.delitem(sys.modules, "export.server.starting")
    monkeypatch.delattr("export.server.starting")
    with pytest.raises(BlockedError, match=r"pip install 'crnet-tf\[serve\]'"):
        commands.run(serve, "--model=models/crnet")


def test_other_files_of_the_same_number_take_over(tmp_path):
    write_sums(tmp_path, 1)
    loads = []

    def load(path, name, version):
        loads.append(version)
        if (path / "broken").exists():
            raise ValueError("it is damaged")
        return loading.load(path, name, version)

    model = Served("sum", tmp_path, load=load)

    async def look():
        for _ in range(2):
            await model.refresh()

    asyncio.run(look())
    first = model.current
    shutil.rmtree(tmp_path / "1")
    write_sums(tmp_path, 1)
    asyncio.run(look())
    assert loads == [1, 1] and model.current is not first
    assert model.states[1].state == "AVAILABLE"
    # Broken in its place, it goes on from memory, though there is an older one.
    second = model.current
    (tmp_path / "1").rename(tmp_path / "2")
    write_sums(tmp_path, 1)
    asyncio.run(look())
    assert model.current.version == 2
    (tmp_path / "2" / "broken").touch()
    asyncio.run(look())
    assert model.current.version == 2 and model.states[2].state == "AVAILABLE"
    assert loads == [1, 1, 2, 2] and model.current is not second
