"""A model that is served traces no function after its warm-up, whatever it is asked."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from helpers.networks import photo

from crnet_tf.images.png_files import encode_png
from export.graph import signatures
from export.server import batching, loading, tensors

SIZES = [(40, 52), (61, 35), (9, 7)]
BATCHES = (1, 3)


@pytest.fixture
def traced(monkeypatch):
    """Every graph that is made from here on: each trace of a function makes one."""
    made, initialise = [], tf.Graph.__init__

    def counting(graph, *arguments, **named):
        made.append(graph)
        initialise(graph, *arguments, **named)

    monkeypatch.setattr(tf.Graph, "__init__", counting)
    return made


def stacked(seeds, height, width):
    photos = [photo(seed, height, width) for seed in seeds]
    return [np.stack([getattr(one, name) for one in photos]) for name in ("image", "mask")]


def files(arrays):
    return np.array([encode_png(one) for one in arrays], object)


def answers(loaded, name, many):
    """What the server's threads answer to these requests at once, each of inputs by name."""
    signature = loaded.signatures[name]
    calls = [batching.prepared(loaded, signature, inputs) for inputs in many]
    found = batching.answered(calls)
    for one in found:
        assert isinstance(one, dict), one
    return found


def check_few_shot(loaded):
    for (height, width), shots in itertools.product(SIZES[:2], (1, 2)):
        image, mask = stacked(range(1, 1 + shots), height, width)
        arrays = {"support_image": image, "support_mask": mask}
        encoded = {"support_image_bytes": files(image), "support_mask_bytes": files(mask)}
        for given, end in ((arrays, ""), (encoded, "_encoded")):
            (state,) = answers(loaded, f"encode_support{end}", [given])
            name = f"segment{end}_with_support"
            whole = "segment_encoded" if end else "serving_default"
            for queries in BATCHES:
                query, _ = stacked(range(queries), height, width)
                query = {"query_image_bytes": files(query)} if end else {"query_image": query}
                answers(loaded, name, [{**state, **query}] * 2)
                answers(loaded, whole, [{**given, **query}])


def check_taught(loaded, batches=BATCHES):
    for queries, size in itertools.product(batches, SIZES):
        image, _ = stacked(range(queries), *size)
        answers(loaded, "serving_default", [{"image": image}] * 2)
    mixed = [photo(seed, *size).image for seed, size in enumerate(SIZES)]
    answers(loaded, "segment_encoded", [{"image_bytes": files(mixed)}] * 2)


@pytest.mark.parametrize("kind", ["few_shot", "taught"])
def test_no_request_makes_a_served_model_trace(kind, exports, traced):
    loaded = loading.load(getattr(exports, kind), kind, 1)
    assert traced  # loading makes graphs: the counter counts
    traced.clear()
    {"few_shot": check_few_shot, "taught": check_taught}[kind](loaded)
    assert not traced, f"{len(traced)} functions were traced"


def test_a_function_that_traces_with_every_size_is_noticed(exports, traced):
    loaded = loading.load(exports.taught, "taught", 1)
    signature = loaded.signatures["serving_default"]
    wrapped = tf.function(lambda image: signature.function(image=image))
    loaded.signatures["serving_default"] = tensors.Signature(
        signature.name, signature.inputs, wrapped
    )
    traced.clear()
    with pytest.raises(AssertionError, match="traced"):
        check_taught(loaded, batches=[1])
        assert not traced, "functions were traced"


def test_an_export_traces_each_signature_once(tmp_path):
    traces = []

    def double(x):
        traces.append(x)
        return {"y": 2 * x}

    one = signatures.Signature("double", double, [tf.TensorSpec([None], name="x")])
    signatures.save([one], "{}", tmp_path / "1")
    assert len(traces) == 1
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    assert loaded.signatures["double"](x=tf.constant([3.0]))["y"] == [6]
