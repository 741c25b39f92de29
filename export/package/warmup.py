"""Warm-up requests: what TF Serving asks a version before it serves it.

The first request of a kind pays for what TensorFlow sets up on first use. TF Serving replays
`assets.extra/tf_serving_warmup_requests` (at most 1000 of them) when it loads a version, and
does not serve a version that fails one; so an export replays its own.
"""

import pathlib

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

FILE = pathlib.Path("assets.extra", "tf_serving_warmup_requests")
HEIGHT, WIDTH = 216, 288  # within the least `Settings.max_pixels`; the network has one size
GREY, FOREGROUND = 128, 1


def write(folder: pathlib.Path, signatures, batch_sizes: tuple[int, ...] = (1,)) -> None:
    """Writes a request for every signature but `metadata` of a SavedModel, and replays all.

    Args:
        signatures: of the SavedModel in `folder`, loaded.
        batch_sizes: numbers of photos in the requests of files; arrays come one at a time.
    """
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in _requests(signatures, batch_sizes):
            log = prediction_log_pb2.PredictLog(request=request)
            record = prediction_log_pb2.PredictionLog(predict_log=log)
            writer.write(record.SerializeToString(deterministic=True))
    replay(signatures, read(folder))


def read(folder: pathlib.Path) -> list[predict_pb2.PredictRequest]:
    """The requests of a SavedModel, in their order."""
    records = tf.data.TFRecordDataset(str(folder / FILE)).as_numpy_iterator()
    logs = map(prediction_log_pb2.PredictionLog.FromString, records)
    return [log.predict_log.request for log in logs]


def replay(signatures, requests: list[predict_pb2.PredictRequest]) -> list[dict]:
    """What the signatures of a loaded SavedModel answer; raises what they raise."""
    return [
        signatures[request.model_spec.signature_name](
            **{name: tf.constant(tf.make_ndarray(t)) for name, t in request.inputs.items()}
        )
        for request in requests
    ]


def _requests(signatures, batch_sizes):
    given = _inputs()
    if "encode_support" in signatures:
        supports = {name: given[name] for name in ("support_image", "support_mask")}
        (state,) = replay(signatures, [_request("encode_support", supports)])
        given |= {name: tf.make_tensor_proto(value.numpy()) for name, value in state.items()}
    for name, signature in sorted(signatures.items()):
        inputs = signature.structured_input_signature[1]
        if set(inputs) == {"image_bytes"}:  # what a server may batch (`batching_file`)
            for size in batch_sizes:
                yield _request(name, {"image_bytes": _files(size)})
        elif inputs:  # metadata takes nothing, and needs no warming
            yield _request(name, {key: given[key] for key in inputs})


def _request(name, inputs):
    return predict_pb2.PredictRequest(model_spec={"signature_name": name}, inputs=inputs)


def _inputs():
    """A tensor for every name that signatures give a photo or a mask."""
    photo = _even([1, HEIGHT, WIDTH, 3], GREY)
    mask = tf.fill([HEIGHT, WIDTH, 1], tf.constant(FOREGROUND, tf.uint8))
    return {
        "image": photo,
        "negative_image_bytes": _files(1),
        "query_image": photo,
        "query_image_bytes": _files(1),
        "support_image": photo,
        "support_image_bytes": _files(1),
        "support_mask": _even([1, HEIGHT, WIDTH], FOREGROUND),
        "support_mask_bytes": tf.make_tensor_proto([tf.io.encode_png(mask).numpy()]),
    }


def _even(shape, value):
    """uint8 of one value: the protocol keeps it once, and the file stays small."""
    proto = tf.make_tensor_proto(value, tf.uint8, [])
    proto.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return proto


def _files(count):
    photo = tf.fill([HEIGHT, WIDTH, 3], tf.constant(GREY, tf.uint8))
    return tf.make_tensor_proto([tf.io.encode_jpeg(photo).numpy()] * count)
