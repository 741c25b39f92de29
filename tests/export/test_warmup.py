"""An export brings the requests that TF Serving warms it up with, and each is answered."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from helpers import exports as exported
from helpers.networks import photo
from tensorflow_serving.apis import prediction_log_pb2

from export.graph import signatures, taught
from export.graph.settings import Settings
from export.package import batching_file, parity, saved_model, teach, warmup

MOST_RECORDS = 1000  # TF Serving refuses to load a version with more
MOST_BYTES = 100_000


@pytest.fixture(scope="module", params=["few_shot", "taught"])
def folder(request, exports):
    return getattr(exports, request.param)


@pytest.fixture(scope="module")
def loaded(folder):
    return exported.loaded(folder).signatures


def test_requests_are_records_of_prediction_logs(folder):
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    assert 0 < len(records) <= MOST_RECORDS and path.stat().st_size < MOST_BYTES
    for record in records:
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"


def test_every_signature_but_metadata_is_warmed_with_what_it_takes(folder, loaded):
    requests = warmup.read(folder)
    names = {request.model_spec.signature_name for request in requests}
    assert names == set(loaded) - {"metadata"}
    for request in requests:
        wanted = loaded[request.model_spec.signature_name].structured_input_signature[1]
        assert set(request.inputs) == set(wanted)
        for name, spec in wanted.items():
            # As C++ reads it: an array of one value is kept as that value alone.
            tensor = tf.io.parse_tensor(request.inputs[name].SerializeToString(), spec.dtype)
            assert spec.shape.is_compatible_with(tensor.shape) and len(tensor)


def test_requests_are_answered_with_masks_of_the_photos_size(folder, loaded):
    requests = warmup.read(folder)
    for request, answer in zip(requests, warmup.replay(loaded, requests), strict=True):
        for name, value in answer.items():
            if value.dtype == tf.float32:
                assert np.all(np.isfinite(value)), (request.model_spec.signature_name, name)
            if name == "mask":
                assert value.shape[1:] == (warmup.HEIGHT, warmup.WIDTH)
            if name == "mask_png_bytes":
                for file in value.numpy():
                    size = tf.io.decode_png(file).shape
                    assert size == (warmup.HEIGHT, warmup.WIDTH, 1)


@pytest.mark.parametrize("folder", ["few_shot"], indirect=True)
def test_the_state_sent_is_one_that_supports_have(folder, loaded):
    requests = {one.model_spec.signature_name: one for one in warmup.read(folder)}
    (state,) = warmup.replay(loaded, [requests["encode_support"]])
    for name in ("segment_with_support", "segment_encoded_with_support"):
        for key, value in state.items():
            np.testing.assert_allclose(
                tf.make_ndarray(requests[name].inputs[key]), value, rtol=1e-4, atol=1e-5
            )


def test_a_taught_model_is_warmed_in_every_size_of_a_batch(exports):
    sizes = [
        len(tf.make_ndarray(request.inputs["image_bytes"]))
        for request in warmup.read(exports.taught)
        if request.model_spec.signature_name == "segment_encoded"
    ]
    assert sizes == list(batching_file.SIZES)


def test_the_photos_fit_the_least_limit_an_export_can_have():
    least = warmup.HEIGHT * warmup.WIDTH
    with pytest.raises(ValueError, match="max_pixels"):
        Settings(max_pixels=least)  # even that is below what an export accepts


def test_a_request_that_fails_ends_the_export(exports, tmp_path, monkeypatch):
    """TF Serving would not serve such a version."""
    folder = shutil.copytree(exports.few_shot, tmp_path / "1")
    monkeypatch.setattr(warmup, "FOREGROUND", 7)
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected mask values 0, 1"):
        warmup.write(folder, exported.loaded(exports.few_shot).signatures)


@pytest.mark.parametrize("module", [saved_model, teach])
def test_a_version_without_its_warm_up_is_not_left_behind(
    module, exports, tmp_path, monkeypatch
):
    def write(folder, *_):
        assert (folder / "saved_model.pb").exists()
        raise RuntimeError("no warm-up")

    monkeypatch.setattr(warmup, "write", write)
    monkeypatch.setattr(parity, "few_shot", lambda *_: {})
    monkeypatch.setattr(parity, "taught", lambda *_: {})
    for kind in (signatures.FewShot, taught.Taught):
        monkeypatch.setattr(kind, "signatures", lambda self: [])  # tracing is slow
    arguments = [{"cup": [photo(1)]}] if module is teach else []
    command = teach.teach if module is teach else saved_model.export
    with pytest.raises(RuntimeError, match="no warm-up"):
        command(exports.checkpoint, *arguments, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
