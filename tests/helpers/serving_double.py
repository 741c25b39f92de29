"""A server that speaks TF Serving's protocol in this process, over gRPC and over REST.

It runs the signatures of exported SavedModels, and can be told to misbehave first. Names,
versions, labels, status codes and JSON are those that TF Serving documents.
"""

import base64
import collections
import concurrent.futures
import contextlib
import http.server
import json
import pathlib
import re
import threading

import grpc
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from helpers.exports import loaded

HTTP = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "INTERNAL": 500,
}
PATH = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(:predict|/metadata)?"
)


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.text = code, text


class Served:
    """Versions of one model.

    Attributes:
        available: versions that answer. labels: version by label.
        troubles: what the next predictions do first: raise a `Refused`, or be called.
        asked: (version, signature) of every prediction that came through.
    """

    def __init__(self, name, folders):
        self.name, self.labels = name, {}
        self.folders = {version: pathlib.Path(folder) for version, folder in folders.items()}
        self.loaded = {v: loaded(folder).signatures for v, folder in self.folders.items()}
        self.available = set(self.loaded)
        self.troubles, self.asked = collections.deque(), []

    def version(self, name, version=None, label=None):
        if label:
            version = self.labels.get(label, -1)
        elif version is None:
            version = max(self.available)
        if name != self.name or version not in self.available:
            raise Refused("NOT_FOUND", f"Servable not found for request: {name} {version}")
        return version

    def predict(self, version, signature, inputs):
        with contextlib.suppress(IndexError):
            trouble = self.troubles.popleft()
            if isinstance(trouble, Refused):
                raise trouble
            trouble()
        function = self.loaded[version].get(signature)
        if function is None:
            raise Refused("FAILED_PRECONDITION", f'Serving signature "{signature}" not found.')
        wanted = function.structured_input_signature[1]
        if set(wanted) != set(inputs):
            raise Refused("INVALID_ARGUMENT", "input size does not match signature")
        self.asked.append((version, signature))
        try:
            tensors = {n: tf.constant(v, wanted[n].dtype) for n, v in inputs.items()}
            return {name: value.numpy() for name, value in function(**tensors).items()}
        except tf.errors.InvalidArgumentError as error:
            raise Refused("INVALID_ARGUMENT", error.message) from error

    def describe(self, version):
        content = (self.folders[version] / "saved_model.pb").read_bytes()
        graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, one in graph.signature_def.items():
            signatures.signature_def[name].CopyFrom(one)
        response.metadata["signature_def"].Pack(signatures)
        return response

    def status(self, name, version=None):
        if name != self.name or version not in (None, *self.loaded):
            raise Refused("NOT_FOUND", f"Could not find any versions of model {name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for number in sorted(self.loaded) if version is None else [version]:
            state = 30 if number in self.available else 50
            response.model_version_status.add(version=number, state=state)
        return response


# === gRPC ===


def _spec(request):
    spec = request.model_spec
    version = spec.version.value if spec.HasField("version") else None
    return spec.name, version, spec.version_label


def _guarded(method):
    def answer(self, request, context):
        try:
            return method(self, request)
        except Refused as error:
            context.abort(grpc.StatusCode[error.code], error.text)

    return answer


class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, served):
        self.served = served

    @_guarded
    def Predict(self, request):
        version = self.served.version(*_spec(request))
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        signature = request.model_spec.signature_name
        response = predict_pb2.PredictResponse()
        for name, value in self.served.predict(version, signature, inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    @_guarded
    def GetModelMetadata(self, request):
        assert list(request.metadata_field) == ["signature_def"]
        return self.served.describe(self.served.version(*_spec(request)))


class Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, served):
        self.served = served

    @_guarded
    def GetModelStatus(self, request):
        name, version, _ = _spec(request)
        return self.served.status(name, version)


@contextlib.contextmanager
def over_grpc(served, *options):
    """Gives host:port and the server."""
    pool = concurrent.futures.ThreadPoolExecutor(8)
    server = grpc.server(pool, options=options)
    service = prediction_service_pb2_grpc, model_service_pb2_grpc
    service[0].add_PredictionServiceServicer_to_server(Predictions(served), server)
    service[1].add_ModelServiceServicer_to_server(Models(served), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", server
    finally:
        server.stop(None).wait()
        pool.shutdown()


# === REST ===


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._answer(self._get)

    def do_POST(self):
        self._answer(self._predict)

    def _answer(self, method):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name, version, label, end = PATH.fullmatch(self.path).groups()
        try:
            content, code = method(name, version and int(version), label, end, body), 200
        except Refused as error:
            content, code = json.dumps({"error": error.text}), HTTP[error.code]
        except ConnectionAbortedError:  # dies in the middle of an answer
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            self.close_connection = True
            return
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())

    def _get(self, name, version, label, end, body):
        served = self.server.served
        if not end:
            assert not label  # TF Serving's status knows no labels
            return json_format.MessageToJson(served.status(name, version))
        response = served.describe(served.version(name, version, label))
        found = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        as_dict = json_format.MessageToDict(found, preserving_proto_field_name=True)
        spec = {
            "name": name,
            "signature_name": "",
            "version": str(response.model_spec.version.value),
        }
        return json.dumps({"model_spec": spec, "metadata": {"signature_def": as_dict}})

    def _predict(self, name, version, label, end, body):
        assert end == ":predict"
        served, request = self.server.served, json.loads(body)
        assert set(request) == {"signature_name", "inputs"}
        inputs = {key: _bytes(value) for key, value in request["inputs"].items()}
        number = served.version(name, version, label)
        outputs = served.predict(number, request["signature_name"], inputs)
        outputs = {key: _json(value, key) for key, value in outputs.items()}
        if len(outputs) == 1:
            (outputs,) = outputs.values()
        return json.dumps({"outputs": outputs})


def _bytes(value):
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return [_bytes(one) for one in value] if isinstance(value, list) else value


def _json(value, name):
    if isinstance(value, bytes):
        binary = name.endswith("_bytes")
        return {"b64": base64.b64encode(value).decode()} if binary else value.decode()
    return [_json(one, name) for one in value] if value.ndim else value.item()


@contextlib.contextmanager
def over_rest(served):
    """Gives http://host:port and the server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.served = served
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
