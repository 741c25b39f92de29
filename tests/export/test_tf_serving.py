"""TF Serving's files are what TF Serving reads, as far as this can be known without its image.

`models.config` is parsed by tensorflow-serving-api's own class. The classes of the other two
files are not in that package: they are rebuilt here from their definitions in TF Serving's
repository. Flags are those that `tensorflow_serving/model_servers/main.cc` defines.
"""

import re
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from helpers import serving_double
from helpers.exports import loaded
from helpers.networks import photo
from tensorflow_serving.config import model_server_config_pb2

from crnet_tf.images.png_files import encode_png
from export.client import __main__
from export.package import batching_file
from tools.floors import ROOT

FOLDER = ROOT / "export" / "serving"
README = (FOLDER / "README.md").read_text()
COMPOSE = (FOLDER / "compose.yaml").read_text()

FLAGS = set(
    """port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms
    rest_api_enable_cors_support enable_batching allow_version_labels_for_unavailable_models
    batching_parameters_file enable_per_model_batching_parameters model_config_file
    model_config_file_poll_wait_seconds model_name model_base_path num_load_threads
    num_unload_threads max_num_load_retries load_retry_interval_micros
    file_system_poll_wait_seconds flush_filesystem_caches tensorflow_session_parallelism
    tensorflow_session_config_file tensorflow_intra_op_parallelism
    tensorflow_inter_op_parallelism use_alts_credentials ssl_config_file platform_config_file
    per_process_gpu_memory_fraction saved_model_tags grpc_channel_arguments grpc_max_threads
    enable_model_warmup num_request_iterations_for_warmup version monitoring_config_file
    remove_unused_fields_from_bundle_metagraph enable_signature_method_name_check
    enable_profiler thread_pool_factory_config_file""".split()
)


# === Configurations ===


def models_config(text):
    found = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    return found.model_config_list.config


def served(text):
    """Versions loaded, and version by label, of a model's part of the configuration."""
    (config,) = models_config(
        text if "model_config_list" in text else f"model_config_list {{ config {{ {text} }} }}"
    )
    return set(config.model_version_policy.specific.versions), dict(config.version_labels)


def test_models_are_found_where_compose_mounts_them_and_the_client_asks():
    text = (FOLDER / "models.config").read_text()
    (config,) = models_config(text)
    assert config.model_platform == "tensorflow"
    assert config.base_path == f"/models/{config.name}" and "target: /models\n" in COMPOSE
    assert f"/v1/models/{config.name}/labels/stable/" in COMPOSE  # the health check
    assert config.name == __main__.MODEL


def test_labels_move_only_to_versions_that_are_loaded():
    """The server refuses anything else for a label in use, and clients of the label with it."""
    first = served((FOLDER / "models.config").read_text())
    blocks = re.findall(r"```\n( +model_version_policy.*?)```", README, re.DOTALL)
    load, canary, promote, back, unload = (served(block) for block in blocks)
    for before, after in (
        (first, load),
        (load, canary),
        (canary, promote),
        (promote, back),
        (canary, back),
        (promote, unload),
    ):
        loaded, labels = before
        for label, version in after[1].items():
            assert version in after[0]
            assert version == labels[label] or version in loaded
    assert first[1] == back[1] == {"stable": 1, "canary": 1}
    assert canary[1] == {"stable": 1, "canary": 2}
    assert unload == ({2}, {"stable": 2, "canary": 2})


KINDS = descriptor_pb2.FieldDescriptorProto
SIMPLE = {"bool": KINDS.TYPE_BOOL, "string": KINDS.TYPE_STRING, "int64": KINDS.TYPE_INT64}
INT64 = "google.protobuf.Int64Value"
# tensorflow_serving/servables/tensorflow/session_bundle_config.proto
BATCHING = {
    "BatchingParameters": {
        "max_batch_size": INT64,
        "batch_timeout_micros": INT64,
        "max_enqueued_batches": INT64,
        "num_batch_threads": INT64,
        "thread_pool_name": "google.protobuf.StringValue",
        "allowed_batch_sizes": "repeated int64",
        "pad_variable_length_inputs": "bool",
    }
}
# tensorflow_serving/config/monitoring_config.proto
MONITORING = {
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
}


def parsed(text, definitions):
    """A text as a message of the last of these definitions: {message: {field: type}}."""
    file = descriptor_pb2.FileDescriptorProto(name="definitions.proto", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for name, fields in definitions.items():
        new = file.message_type.add(name=name)
        for number, (key, kind) in enumerate(fields.items(), 1):
            repeated = kind.startswith("repeated ")
            label = KINDS.LABEL_REPEATED if repeated else KINDS.LABEL_OPTIONAL
            field = new.field.add(name=key, number=number, label=label)
            kind = kind.removeprefix("repeated ")
            field.type = SIMPLE.get(kind, KINDS.TYPE_MESSAGE)
            if kind not in SIMPLE:
                field.type_name = f".{kind}"
    pool = descriptor_pool.DescriptorPool()
    for one in (wrappers_pb2.DESCRIPTOR.serialized_pb, file.SerializeToString()):
        pool.AddSerializedFile(one)
    return text_format.Parse(
        text, message_factory.GetMessageClass(pool.FindMessageTypeByName(name))()
    )


def test_the_servers_batches_are_of_one_and_taught_models_say_their_own(tmp_path):
    server = parsed((FOLDER / "batching.config").read_text(), BATCHING)
    assert server.max_batch_size.value == 1 and server.num_batch_threads.value >= 1
    batching_file.write(tmp_path)
    model = parsed((tmp_path / batching_file.FILE).read_text(), BATCHING)
    sizes = list(model.allowed_batch_sizes)
    assert sizes == sorted(sizes) and sizes[-1] == model.max_batch_size.value > 1
    # Padding would put black borders into photos, and give masks of another size.
    assert not model.pad_variable_length_inputs
    assert 0 < model.batch_timeout_micros.value < 100_000 and model.max_enqueued_batches.value


def test_metrics_are_where_prometheus_looks():
    found = parsed((FOLDER / "monitoring.config").read_text(), MONITORING)
    assert found.prometheus_config.enable
    path = found.prometheus_config.path
    assert f"metrics_path: {path}\n" in (FOLDER / "prometheus.yml").read_text()
    assert f"http://localhost:8501{path}" in README


# === Compose ===


def command(service):
    """Flags of a service, in their order: {name: value}."""
    block = re.search(rf"^  {service}:\n((?:    .*\n|\n)+)", COMPOSE, re.MULTILINE).group(1)
    return dict(re.findall(r"^ +- --(\w+)=(\S+)$", block, re.MULTILINE))


@pytest.mark.parametrize("service", ["cpu", "gpu"])
def test_flags_are_tf_servings_and_their_files_are_there(service):
    found = command(service)
    assert len(found) > 5 and set(found) <= FLAGS
    files = [value for value in found.values() if value.startswith("/config/")]
    assert len(files) > 1 and "source: .\n      target: /config\n" in COMPOSE
    assert all((FOLDER / file.removeprefix("/config/")).is_file() for file in files)
    for name in found:  # each is justified
        assert re.search(f"`--{name}[=`]", README), name


def test_the_gpu_batches_by_each_models_parameters_and_is_else_as_the_cpu():
    cpu, gpu = command("cpu"), command("gpu")
    batches = dict(list(gpu.items())[len(cpu) :])
    assert list(gpu.items())[: len(cpu)] == list(cpu.items())
    assert batches["enable_batching"] == "true"
    assert batches["enable_per_model_batching_parameters"] == "true"
    assert set(batches) - {"batching_parameters_file"} == {
        "enable_batching",
        "enable_per_model_batching_parameters",
    }


def test_ports_are_this_hosts_alone_and_mounts_are_read_only():
    ports = re.findall(r'- "(\S+):(\d+):(\d+)"', COMPOSE)
    assert ports == [("${CRNET_BIND:-127.0.0.1}", port, port) for port in ("8500", "8501")]
    assert COMPOSE.count("type: bind") == COMPOSE.count("read_only: true") == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="the health check needs bash")
def test_health_is_that_the_stable_version_answers(exports):
    script = re.search(r"- >-\n((?: {8}.*\n)+)", COMPOSE).group(1)
    script = " ".join(line.strip() for line in script.splitlines())
    model = serving_double.Served("crnet", {1: exports.few_shot})

    def healthy(address):
        there = script.replace(
            "127.0.0.1/8501", address.removeprefix("http://").replace(":", "/")
        )
        assert there != script
        done = subprocess.run(["bash", "-c", there], capture_output=True, timeout=30)
        return done.returncode == 0

    with serving_double.over_rest(model) as (address, _):
        assert not healthy(address)  # no version has the label
        model.labels = {"stable": 1}
        assert healthy(address)
    assert not healthy(address)  # nobody listens


# === Batching ===


def joined(signature, requests):
    """What a batching TF Serving does: one run of all requests, its outputs cut apart."""
    sizes = []
    for request in requests:
        rows = {len(value) for value in request.values()}
        assert len(rows) == 1, "Batching Run() input tensors must have equal 0th-dimension size"
        sizes += rows
    together = {name: tf.concat([one[name] for one in requests], 0) for name in requests[0]}
    outputs = signature(**together)
    pieces = {name: tf.split(value, sizes) for name, value in outputs.items()}
    return [{name: values[n] for name, values in pieces.items()} for n in range(len(requests))]


def gap(one, other):
    """Largest difference of the probabilities in two answers of files."""
    first, second = (
        [
            tf.io.decode_png(file).numpy().astype(int)
            for file in answer["probability_png_bytes"].numpy().ravel()
        ]
        for answer in (one, other)
    )
    return max(np.abs(a - b).max() for a, b in zip(first, second, strict=True))


def files(*photos):
    return tf.constant([encode_png(one.image) for one in photos])


def test_taught_models_may_be_batched(exports):
    assert (exports.taught / batching_file.FILE).exists()
    signature = loaded(exports.taught).signatures["segment_encoded"]
    requests = [
        {"image_bytes": files(photo(5), photo(6, 30, 70))},
        {"image_bytes": files(photo(7, 61, 35))},
    ]
    for request, answer in zip(requests, joined(signature, requests), strict=True):
        assert gap(signature(**request), answer) <= 1


def test_few_shot_models_must_not_be(exports):
    assert not (exports.few_shot / batching_file.FILE).exists()
    signature = loaded(exports.few_shot).signatures["segment_encoded"]
    requests = [
        {
            "support_image_bytes": files(photo(support)),
            "support_mask_bytes": tf.constant([encode_png(photo(support).mask)]),
            "query_image_bytes": files(photo(7)),
        }
        for support in (1, 2)
    ]
    for request, answer in zip(requests, joined(signature, requests), strict=True):
        assert gap(signature(**request), answer) > 3  # with the supports of another client
