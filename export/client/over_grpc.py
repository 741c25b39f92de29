"""TF Serving's protocol over gRPC: PredictionService and ModelService."""

import dataclasses

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from export.client.errors import FIRST_WAIT, LONGEST_WAIT, TOO_LARGE, RemoteError
from export.client.target import Description, Target, VersionState


class Grpc:
    """One channel, for any number of threads.

    Args:
        address: host:port.
        max_bytes: the largest request and answer.
    """

    def __init__(self, address: str, max_bytes: int):
        self.address = address
        options = (
            ("grpc.max_send_message_length", max_bytes),
            ("grpc.max_receive_message_length", max_bytes),
            # As quick to find a server that is back as the retries are (`errors.retrying`).
            ("grpc.initial_reconnect_backoff_ms", int(1000 * FIRST_WAIT)),
            ("grpc.max_reconnect_backoff_ms", int(1000 * LONGEST_WAIT)),
        )
        self._channel = grpc.insecure_channel(address, options=options)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def close(self) -> None:
        """Ends the channel; what is under way is cancelled."""
        self._channel.close()

    def predict(self, target: Target, signature: str, inputs: dict, timeout: float) -> dict:
        """Outputs by name: arrays, or arrays of bytes."""
        request = predict_pb2.PredictRequest()
        _fill(request.model_spec, target)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        response = self._ask(self._predictions.Predict, request, target, timeout)
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def status(self, target: Target, timeout: float) -> list[VersionState]:
        """Of every version, or of the target's; labels are none of a status's business."""
        request = get_model_status_pb2.GetModelStatusRequest()
        _fill(request.model_spec, dataclasses.replace(target, label=None))
        response = self._ask(self._models.GetModelStatus, request, target, timeout)
        state = get_model_status_pb2.ModelVersionStatus.State.Name
        return [
            VersionState(one.version, state(one.state), one.status.error_message)
            for one in response.model_version_status
        ]

    def describe(self, target: Target, timeout: float) -> Description:
        """The version that answers for a target, and its signatures."""
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        _fill(request.model_spec, target)
        request.metadata_field.append("signature_def")
        response = self._ask(self._predictions.GetModelMetadata, request, target, timeout)
        found = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        inputs = {name: sorted(one.inputs) for name, one in found.signature_def.items()}
        return Description(response.model_spec.version.value, inputs)

    def _ask(self, method, request, target, timeout):
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            code, detail = error.code().name, error.details() or ""
            # Of gRPC's own checks on either side, in this or another language's words.
            if code == "RESOURCE_EXHAUSTED" and "larger than max" in detail:
                code = TOO_LARGE
            raise RemoteError(code, detail, f"{self.address}, {target}") from error


def _fill(spec, target):
    spec.name = target.model
    if target.version is not None:
        spec.version.value = target.version
    elif target.label:
        spec.version_label = target.label
