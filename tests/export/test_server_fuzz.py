"""Malformed requests and images by the thousand: an error for the client, never a fault.

FUZZ_CASES=20000 asks more often than the default, FUZZ_SEED=7 asks something else.
"""

import copy
import gc
import http.client
import json
import os
import pathlib
import re
import socket

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import malformed_images
from helpers.live_server import b64, serving, write_sums
from helpers.networks import photo

from crnet_tf.images.png_files import encode_png
from crnet_tf.network.backbones import load_weights
from crnet_tf.network.checkpoint import load_checkpoint
from export.graph import decode
from export.server import tensors
from export.server.served import Served

CASES = int(os.environ.get("FUZZ_CASES", 2000))
SEED = int(os.environ.get("FUZZ_SEED", 0))
MAX_GROWTH = 300 * 2**20  # bytes of resident memory, whatever the number of cases
WELL_FORMED = malformed_images.well_formed()


def random_of(name, case):
    """A generator of its own for every case: one case can be run alone."""
    return np.random.default_rng([SEED, case, *name.encode()])


def resident():
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0  # not Linux
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def server(exports, tmp_path_factory):
    sums = tmp_path_factory.mktemp("models")
    write_sums(sums, 1)
    models = [
        Served("sum", sums),
        Served("crnet", exports.few_shot.parent),
        Served("things", exports.taught.parent),
    ]
    with serving(models, max_request_mb=1.0, max_values=20_000) as server:
        before = resident()
        yield server
        gc.collect()
        assert resident() - before < MAX_GROWTH, "requests are kept in memory"


@pytest.fixture(scope="module")
def valid(server):
    """Requests that are answered: (model, body)."""
    file, mask = b64(encode_png(photo(1).image)), b64(encode_png(photo(1).mask))
    supports = {"support_image_bytes": [file], "support_mask_bytes": [mask]}
    state = server.outputs("encode_support_encoded", supports)
    small = photo(2, 9, 7)
    arrays = {
        "support_image": [small.image.tolist()],
        "support_mask": [small.mask.tolist()],
        "query_image": [small.image.tolist()],
    }
    signature = "segment_encoded_with_support"
    sums = {"x": [[1, 2]], "y": [[3, 4.5]]}
    requests = [
        ("sum", {"inputs": sums}),
        ("sum", {"instances": [{"x": [1, 2], "y": [3, 4]}]}),
        ("sum", {"inputs": ["text", file], "signature_name": "echo"}),
        ("sum", {"instances": [True, False], "signature_name": "negate"}),
        ("sum", {"inputs": [1, 2, 3], "signature_name": "total"}),
        ("crnet", {"inputs": arrays}),
        ("crnet", {"inputs": supports, "signature_name": "encode_support_encoded"}),
        (
            "crnet",
            {"inputs": {"query_image_bytes": [file], **state}, "signature_name": signature},
        ),
        ("things", {"instances": [file], "signature_name": "segment_encoded"}),
        ("things", {"inputs": {}, "signature_name": "metadata"}),
    ]
    for model, body in requests:
        answer = server.predict(body, model)
        assert answer.status_code == 200, answer.text
    return requests


def check(answer, case):
    """An answer, or an error that says why; the server is not at fault."""
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, (case, answer.text)
    if answer.status_code != 200:
        assert isinstance(answer.json()["error"], str) and answer.json()["error"], case


# === JSON ===

LEAVES = (
    None, True, False, 0, -1, 255, 256, 2**31, -(2**63), 10**30, 1.5, 1e308, float("nan"),
    float("inf"), "", "x", "\ud800", "é" * 300, {}, [], {"b64": "!"}, {"b64": 1},
    {"b64": "QUI="}, {"b64": "QUI=", "x": 1}, [[]], [[], [1]], [[1], 2],
)  # fmt: skip


def random_value(random, depth=0):
    kind = random.integers(4 if depth < 5 else 1)
    if kind < 2:
        return copy.deepcopy(LEAVES[random.integers(len(LEAVES))])
    values = [random_value(random, depth + 1) for _ in range(random.integers(4))]
    if kind == 2:
        return values
    return {str(random.choice(["x", "b64", "image", "inputs"])): value for value in values}


def mutated(value, random):
    """A JSON value with one place in it changed, dropped, doubled or renamed."""
    if isinstance(value, dict | list) and value and random.random() < 0.85:
        value = copy.copy(value)
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = keys[random.integers(len(keys))]
        action = random.integers(8)
        if action == 0:
            del value[key]
        elif action == 1 and isinstance(value, list):
            value.insert(key, copy.deepcopy(value[key]))
        elif action == 1:
            value[f"{key}_"] = value.pop(key)
        else:
            value[key] = mutated(value[key], random)
        return value
    return random_value(random)


def mutated_request(valid, random):
    model, body = valid[random.integers(len(valid))]
    for _ in range(random.integers(1, 3)):
        body = mutated(body, random)
    return model, json.dumps(body)


def test_wrong_json_values(server, valid):
    for case in range(CASES // 8):
        model, text = mutated_request(valid, random_of("values", case))
        check(server.predict(text, model), case)
    assert server.get("/readyz").ok


def test_wrong_json_values_give_arrays_of_the_signature_or_none(server, valid):
    """The same without HTTP and TensorFlow, many times as often."""
    read, refused = 0, 0
    for case in range(2 * CASES):
        model, text = mutated_request(valid, random_of("more values", case))
        signatures = server.api.models[model].current.signatures
        try:
            request = tensors.read(text.encode(), max_values=20_000)
            specs = signatures.get(tensors.signature_of(request), signatures["serving_default"])
            arrays = tensors.arrays(request, specs.inputs)
        except ValueError as error:
            assert str(error).encode(), case
            refused += 1
            continue
        read += 1
        for name, spec in specs.inputs.items():
            assert spec.shape.is_compatible_with(arrays[name].shape), case
            wanted = object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype
            assert arrays[name].dtype == wanted, case
    assert read and refused


def test_damaged_json_texts(server, valid):
    texts = [(model, json.dumps(body).encode()) for model, body in valid]
    signs = b'{}[]",:0eE-.\\u\x00\xff nNtT'
    for case in range(CASES // 8):
        random = random_of("texts", case)
        model, text = texts[random.integers(len(texts))]
        text = bytearray(text[: random.integers(1, len(text) + 1)] if case % 2 else text)
        for _ in range(random.integers(1, 6)):
            text[random.integers(len(text))] = signs[random.integers(len(signs))]
        kind = random.choice(["text/html", "image/png", "multipart/form-data", "x"])
        check(server.predict(bytes(text), model, headers={"Content-Type": kind}), case)


@pytest.mark.parametrize("text", ["[", '{"inputs":', '{"instances":[', '{"a":[{"b":'])
def test_deep_and_long_json(server, text):
    for count in (10, 1000, 15_000):
        check(server.predict(text * count), (text, count))
    check(server.predict('{"inputs":' + "9" * 900_000 + "}"), text)
    check(server.predict('{"signature_name":"' + "x" * 900_000 + '"}'), text)


# === HTTP ===


def raw(server, content, *later):
    """The first bytes that the server answers to these."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        try:
            for part in (content, *later):
                client.sendall(part)
            client.shutdown(socket.SHUT_WR)
            return client.recv(4096)
        except ConnectionError:
            return b""  # hung up on


HEAD = b"POST /v1/models/sum:predict HTTP/1.1\r\nHost: localhost\r\n"
END = b" HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_wrong_http(server):
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    for number, content in enumerate(
        [
            b"\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET /" + b"a" * 100_000, HEAD + b"X: " + b"a" * 100_000,
            HEAD + b"Content-Length: -1\r\n\r\n", HEAD + b"Content-Length: x\r\n\r\n",
            HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
            HEAD + b"Content-Length: 99999999999999999999\r\n\r\n{}",
            HEAD + b"Content-Length: 50\r\n\r\n{}", HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
            HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            chunked + b"zz\r\n{}\r\n", chunked + b"-1\r\n", chunked + b"f" * 20 + b"\r\n",
            chunked + b"2\r\n{}{}\r\n0\r\n\r\n", chunked + b"5\r\n{}", chunked + b"0\r\n",
            b"POST /v1/models/%ff%00/versions/%2e%2e:predict" + END,
            b"GET /v1/models/sum/versions/" + b"9" * 5000 + END,
        ]
    ):  # fmt: skip
        answer = raw(server, content)
        assert not answer or answer.startswith(b"HTTP/1.1 4"), (number, answer)
    # The next client is served.
    assert server.predict({"inputs": {"x": [[1, 2]], "y": [[3, 4]]}}).ok
    assert server.api.predictor.admission.requests == 0


def test_damaged_http(server):
    content = HEAD + b'Content-Length: 40\r\n\r\n{"inputs": {"x": [[1, 2]], "y": [[3, 4]]}}'
    for case in range(CASES // 20):
        random = random_of("http", case)
        answer = raw(server, malformed_images.damaged(content, random))
        assert not answer or answer[:10] in (b"HTTP/1.1 2", b"HTTP/1.1 4"), (case, answer)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/readyz")
    assert connection.getresponse().status == 200
    connection.close()


# === Images ===


def files(random):
    """A photo and a mask, well-formed or damaged."""
    names = list(WELL_FORMED)
    content = [WELL_FORMED[names[random.integers(len(names))]] for _ in range(2)]
    return [malformed_images.damaged(one, random) for one in content]


@pytest.mark.parametrize("name", WELL_FORMED)
def test_other_kinds_of_images(server, name):
    file, good = b64(WELL_FORMED[name]), b64(encode_png(photo(1).image))
    answer = server.predict(
        {"signature_name": "segment_encoded", "instances": [file]}, "things"
    )
    assert answer.status_code == (200 if is_photo(name) else 400), answer.text
    for inputs in ({"support_image_bytes": [file], "support_mask_bytes": [good]},
                   {"support_image_bytes": [good], "support_mask_bytes": [file]}):  # fmt: skip
        body = {"signature_name": "encode_support_encoded", "inputs": inputs}
        check(server.predict(body, "crnet"), name)


def is_photo(name):
    return name.endswith((".png", ".jpg")) and name != "scans.jpg"


def test_damaged_images_in_requests(server):
    for case in range(CASES // 20):
        image, mask = (b64(content) for content in files(random_of("requests", case)))
        inputs = {"support_image_bytes": [image], "support_mask_bytes": [mask]}
        inputs["query_image_bytes"] = [image]
        body = {"signature_name": "segment_encoded", "inputs": inputs}
        check(server.predict(body, "crnet"), case)


def test_damaged_images_in_the_graph():
    """What decodes them in every signature, many times as often."""
    spec = [tf.TensorSpec([], tf.string)]
    decoders = [
        tf.function(lambda content: decode.photo(content, 70_000), input_signature=spec),
        tf.function(lambda content: decode.mask(content, 70_000), input_signature=spec),
    ]
    read, refused = 0, 0
    for case in range(CASES):
        random = random_of("graph", case)
        for decoder, content in zip(decoders, files(random), strict=True):
            try:
                assert tf.size(decoder(tf.constant(content))) <= 3 * 70_000, case
                read += 1
            except tf.errors.InvalidArgumentError:
                refused += 1
    assert read > CASES / 10 and refused > CASES / 10


def test_damaged_images_in_the_signatures_themselves(server):
    """What TF Serving runs."""
    models = server.api.models
    segment = models["things"].current.signatures["segment_encoded"]
    encode = models["crnet"].current.signatures["encode_support_encoded"]
    good = encode_png(photo(1).image)
    seen = set()
    for case in range(CASES // 20):
        image, mask = files(random_of("signatures", case))
        for signature, inputs in (
            (segment, {"image_bytes": [image]}),
            (encode, {"support_image_bytes": [good], "support_mask_bytes": [mask]}),
        ):
            arrays = {name: np.array(value, object) for name, value in inputs.items()}
            try:
                signature.call(arrays)
                seen.add("answered")
            except tf.errors.InvalidArgumentError:
                seen.add("refused")
    assert seen == {"answered", "refused"}


@pytest.mark.parametrize("name", ["segment_with_support", "serving_default", "encode_support"])
def test_arrays_of_odd_sizes_in_the_signatures_themselves(server, name):
    signature = server.api.models["crnet"].current.signatures[name]
    for case in range(CASES // 40):
        random = random_of(name, case)
        arrays = {}
        for key, spec in signature.inputs.items():
            shape = [size or random.choice([0, 1, 1, 2, 3, 70]) for size in spec.shape]
            top = 2 if spec.dtype == tf.uint8 else 1e30
            values = random.choice([0, 1, top, -top * spec.dtype.is_floating, np.nan], shape)
            with np.errstate(invalid="ignore"):
                arrays[key] = values.astype(spec.dtype.as_numpy_dtype)
        try:
            signature.call(arrays)
        except tf.errors.InvalidArgumentError:
            pass


def test_requests_of_too_many_photos_are_refused(server):
    speck = encode_png(np.zeros((1, 1, 3), np.uint8))
    for model, signature in (
        ("things", "segment_encoded"),
        ("crnet", "encode_support_encoded"),
    ):
        found = server.api.models[model].current.signatures[signature]
        arrays = {key: np.array([speck] * 100_000, object) for key in found.inputs}
        with pytest.raises(tf.errors.InvalidArgumentError, match="at most 64"):
            found.call(arrays)
    found = server.api.models["crnet"].current.signatures["segment_encoded_with_support"]
    state = {
        key: np.zeros([1 if size is None else size for size in spec.shape], np.float32)
        for key, spec in found.inputs.items()
        if spec.dtype != tf.string
    }
    state = {key: np.repeat(value, 13, 0) for key, value in state.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match="times supports.*at most 64"):
        found.call({"query_image_bytes": np.array([speck] * 5, object), **state})
    fewer = {**state, "prototype": state["prototype"][:2]}
    with pytest.raises(tf.errors.InvalidArgumentError, match="one entry a support"):
        found.call({"query_image_bytes": np.array([speck], object), **fewer})


# === Files of this project ===


def test_a_checkpoint_that_carries_code_is_refused(tmp_path):
    """A `.keras` file may hold pickled Python in a Lambda layer."""
    inputs = keras.Input((3,))
    evil = keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs))
    evil.save(tmp_path / "evil.keras")
    with pytest.raises(ValueError, match="cannot be read as a checkpoint.*(?i:unsafe|lambda)"):
        load_checkpoint(tmp_path / "evil.keras")


def test_weights_that_carry_code_are_refused(tmp_path):
    trunk = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    np.savez(tmp_path / "evil.npz", **{"dense/kernel": np.array([print], dtype=object)})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_weights(trunk, "tiny", str(tmp_path / "evil.npz"))


UNSAFE = re.compile(
    r"import (pickle|marshal|shelve|joblib|dill)|allow_pickle=True|safe_mode=False|"
    r"enable_unsafe_deserialization|torch\.load"
)


def test_nothing_in_the_project_reads_pickles():
    root = pathlib.Path(__file__).parents[2]
    for package in ("crnet_tf", "pipelines", "export"):
        for path in (root / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert not UNSAFE.search(text), path
