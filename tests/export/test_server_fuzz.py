"""Malformed requests and images: an error for the client that says why, never a fault."""

import gc
import http.client
import json
import socket

import numpy as np
import pytest
import tensorflow as tf
from helpers.forks import resident
from helpers.fuzzing import cases
from helpers.live_server import b64, serving, write_sums
from helpers.malformed_images import damaged, well_formed
from helpers.networks import photo
from helpers.request_mutations import changed_requests
from hypothesis import given
from hypothesis import strategies as st

from crnet_tf.images.png_files import encode_png
from export.graph import decode
from export.server import tensors
from export.server.served import Served

MAX_GROWTH = 300 * 2**20  # bytes of resident memory, whatever the number of cases
WELL_FORMED = well_formed()


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


def check(answer):
    """An answer, or an error that says why; the server is not at fault."""
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
    if answer.status_code != 200:
        assert isinstance(answer.json()["error"], str) and answer.json()["error"]


# === JSON ===


@given(data=st.data())
@cases(40)
def test_wrong_json_values(server, valid, data):
    model, text = data.draw(changed_requests(valid))
    check(server.predict(text, model))


@given(data=st.data())
@cases(300)
def test_wrong_json_values_give_arrays_of_the_signature_or_none(server, valid, data):
    """The same without HTTP and TensorFlow."""
    model, text = data.draw(changed_requests(valid))
    signatures = server.api.models[model].current.signatures
    try:
        request = tensors.read(text.encode(), max_values=20_000)
        specs = signatures.get(tensors.signature_of(request), signatures["serving_default"])
        arrays = tensors.arrays(request, specs.inputs)
    except tensors.InputError as error:
        assert str(error).encode()
        return
    for name, spec in specs.inputs.items():
        assert spec.shape.is_compatible_with(arrays[name].shape)
        wanted = object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype
        assert arrays[name].dtype == wanted


@given(data=st.data(), kind=st.sampled_from(["text/html", "multipart/form-data", "x"]))
@cases(30)
def test_damaged_json_texts(server, valid, data, kind):
    model, body = data.draw(st.sampled_from(valid))
    text = data.draw(damaged([json.dumps(body).encode()]))
    check(server.predict(text, model, headers={"Content-Type": kind}))


@pytest.mark.parametrize("text", ["[", '{"inputs":', '{"instances":[', '{"a":[{"b":'])
def test_deep_and_long_json(server, text):
    for count in (10, 1000, 15_000):
        check(server.predict(text * count))
    check(server.predict('{"inputs":' + "9" * 900_000 + "}"))
    check(server.predict('{"signature_name":"' + "x" * 900_000 + '"}'))


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


@given(
    part=damaged(
        [HEAD + b'Content-Length: 40\r\n\r\n{"inputs": {"x": [[1, 2]], "y": [[3, 4]]}}']
    )
)
@cases(40)
def test_damaged_http(server, part):
    answer = raw(server, part)
    assert not answer or answer[:10] in (b"HTTP/1.1 2", b"HTTP/1.1 4"), answer
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/readyz")
    assert connection.getresponse().status == 200
    connection.close()


# === Images ===

FILES = damaged(WELL_FORMED.values())


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
        check(server.predict(body, "crnet"))


def is_photo(name):
    return name.endswith((".png", ".jpg")) and name != "scans.jpg"


@given(image=FILES, mask=FILES)
@cases(40)
def test_damaged_images_in_requests(server, image, mask):
    inputs = {
        "support_image_bytes": [b64(image)],
        "support_mask_bytes": [b64(mask)],
        "query_image_bytes": [b64(image)],
    }
    check(server.predict({"signature_name": "segment_encoded", "inputs": inputs}, "crnet"))


@pytest.fixture(scope="module")
def decoders():
    spec = [tf.TensorSpec([], tf.string)]
    return [
        tf.function(lambda content: decode.photo(content, 70_000), input_signature=spec),
        tf.function(lambda content: decode.mask(content, 70_000), input_signature=spec),
    ]


@given(content=FILES)
@cases(300)
def test_damaged_images_in_the_graph(decoders, content):
    """What decodes them in every signature."""
    for decoder in decoders:
        try:
            assert tf.size(decoder(tf.constant(content))) <= 3 * 70_000
        except tf.errors.InvalidArgumentError:
            pass


@given(data=st.data())
@cases(10)
@pytest.mark.parametrize("name", ["segment_with_support", "serving_default", "encode_support"])
def test_arrays_of_odd_sizes_in_the_signatures_themselves(server, name, data):
    signature = server.api.models["crnet"].current.signatures[name]
    arrays = {}
    for key, spec in signature.inputs.items():
        shape = [size or data.draw(st.sampled_from([0, 1, 1, 2, 3, 70])) for size in spec.shape]
        top = 2 if spec.dtype == tf.uint8 else 1e30
        few = [0, 1, top] if spec.dtype == tf.uint8 else [0, 1, top, -top, np.nan]
        values = np.random.default_rng(data.draw(st.integers(0, 99))).choice(few, shape)
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
