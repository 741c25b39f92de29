"""Queries that share a call get the answers they would get alone, and really share it."""

import asyncio
import base64
import concurrent.futures
import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from helpers.live_server import b64, serving, until
from helpers.networks import photo
from PIL import Image

from crnet_tf.images.png_files import encode_png
from export.server import batching, loading, tensors
from export.server.served import Served

SPECS = {"query_image": tf.TensorSpec([None, None]), "category": tf.TensorSpec([None])}
FOREVER = 1000.0


class Recorder:
    """A model that adds the sum of its state to each query, and notes its calls."""

    def __init__(self, model="crnet"):
        self.sizes, self.observed, self.released = [], [], []
        self.signature = tensors.Signature("segment_with_support", SPECS, self.function)
        self.loaded = loading.Loaded("m", 1, None, {}, {}, {"model": model})

    def function(self, query_image, category):
        self.sizes.append(len(query_image))
        if np.any(query_image.numpy() < 0):
            raise tf.errors.InvalidArgumentError(None, None, "negative")
        return {"sum": query_image + tf.reduce_sum(category)}

    def call(self, query, state=(1.0,)):
        inputs = {"query_image": np.float32(query), "category": np.float32(state)}
        return batching.prepared(self.loaded, self.signature, inputs)

    def batcher(self, max_batch=8, wait_s=FOREVER):
        return batching.Batcher(max_batch, wait_s, 1, self.observe, self.released.append)

    def observe(self, loaded, signature, queries):
        self.observed.append(queries)

    def answers(self, calls, **bounds):
        """Outputs of calls that are submitted at once, or their exceptions."""

        async def run():
            batcher = self.batcher(**bounds)
            try:
                waiting = [batcher.submit(call) for call in calls]
                return await asyncio.wait_for(
                    asyncio.gather(*waiting, return_exceptions=True), 60
                )
            finally:
                batcher.close()

        return asyncio.run(run())


# === Which calls go together ===


def test_companions_share_a_call_and_get_their_own_answers():
    recorder = Recorder()
    calls = [recorder.call([[n, n]]) for n in range(8)]
    answers = recorder.answers(calls)
    assert recorder.sizes == [8]
    for n, answer in enumerate(answers):
        np.testing.assert_array_equal(answer["sum"], [[n + 1, n + 1]])
    assert len(recorder.released) == 8


def test_only_the_queries_may_differ():
    recorder, other = Recorder(), Recorder()
    base = recorder.call([[1, 2]])
    assert base.companions == recorder.call([[5, 6], [7, 8]]).companions
    renamed = dataclasses.replace(recorder.signature, name="other")
    for stranger in (
        recorder.call([[1, 2, 3]]),
        recorder.call([[1, 2]], state=[1.0, 1.0]),
        recorder.call([[1, 2]], state=[1.0000001]),
        other.call([[1, 2]]),
        batching.prepared(recorder.loaded, renamed, base.inputs),
    ):
        assert stranger.companions not in (None, base.companions)


def test_files_are_compared_by_their_bytes():
    def call(*supports):
        files = np.empty(len(supports), object)
        files[:] = supports
        query = np.array([b"q"], object)
        inputs = {"support_image_bytes": files, "query_image_bytes": query}
        return batching.prepared(recorder.loaded, recorder.signature, inputs)

    recorder = Recorder()
    assert call(b"ab", b"c").companions == call(b"ab", b"c").companions
    for other in ((b"a", b"bc"), (b"abc",), (b"c", b"ab")):
        assert call(*other).companions != call(b"ab", b"c").companions


@pytest.mark.parametrize("name", ["support_image", "x"])
def test_without_one_query_or_of_an_unknown_model_nothing_is_joined(name):
    foreign, recorder = Recorder("somebody's"), Recorder()
    assert foreign.call([[1]]).companions is None
    call = batching.prepared(recorder.loaded, recorder.signature, {name: np.zeros((2, 3))})
    assert call.companions is None and call.size == 1
    answers = foreign.answers([foreign.call([[n]]) for n in range(3)])
    assert foreign.sizes == [1, 1, 1] and [a["sum"][0, 0] for a in answers] == [1, 2, 3]


def test_no_more_than_max_batch_is_joined():
    recorder = Recorder()
    recorder.answers([recorder.call(np.ones((2, 1))) for _ in range(6)], max_batch=4)
    assert recorder.sizes == recorder.observed == [4, 4, 4]
    recorder = Recorder()
    recorder.answers([recorder.call(np.ones((9, 1)))], max_batch=4)
    assert recorder.sizes == [9]


def test_a_lone_query_waits_only_so_long():
    recorder = Recorder()
    assert recorder.answers([recorder.call([[1]])], wait_s=0.01)[0]["sum"] == [[2]]


def test_one_wrong_query_spoils_no_other():
    recorder = Recorder()
    answers = recorder.answers([recorder.call([[n]]) for n in (1, -1, 3)], max_batch=3)
    assert recorder.sizes == [3, 1, 1, 1]
    assert isinstance(answers[1], tf.errors.InvalidArgumentError)
    assert [answers[n]["sum"][0, 0] for n in (0, 2)] == [2, 4]


@pytest.mark.parametrize("error", [ValueError, KeyError, MemoryError])
def test_whatever_a_joined_call_fails_with_each_is_answered_and_released(error):
    recorder = Recorder()

    def function(query_image, category):
        if len(query_image) > 1:
            raise error("joined")
        return {"sum": query_image}

    recorder.signature = dataclasses.replace(recorder.signature, function=function)
    answers = recorder.answers([recorder.call([[n]]) for n in (1, 2)], max_batch=2)
    assert [answer["sum"] for answer in answers] == [1, 2]
    assert len(recorder.released) == 2


def test_answers_that_cannot_be_taken_apart_are_asked_for_again():
    recorder = Recorder()

    def total(query_image, category):
        return {"sum": tf.reduce_sum(query_image)}

    recorder.signature = dataclasses.replace(recorder.signature, function=total)
    answers = recorder.answers([recorder.call([[n]]) for n in (1, 2)], max_batch=2)
    assert [answer["sum"] for answer in answers] == [1, 2]


def test_a_call_given_up_while_it_waits_is_not_made():
    recorder = Recorder()

    async def run():
        batcher = recorder.batcher(max_batch=2)
        given_up = batcher.submit(recorder.call([[1]]))
        given_up.cancel()
        await batcher.submit(recorder.call([[2]]))
        batcher.close()

    asyncio.run(run())
    assert recorder.sizes == [1] and len(recorder.released) == 2


@pytest.mark.parametrize("seed", range(5))
def test_any_mixture_gets_the_answers_it_gets_alone(seed):
    random, recorder = np.random.default_rng(seed), Recorder()
    calls = [
        recorder.call(
            random.uniform(-0.05, 1, (random.integers(1, 5), random.integers(1, 3))),
            random.choice([1.0, 2.0], 1),
        )
        for _ in range(40)
    ]
    alone = [batching.answered([call])[0] for call in calls]
    asked = len(recorder.sizes)
    together = recorder.answers(calls, wait_s=0.01)
    for one, other in zip(alone, together, strict=True):
        assert type(one) is type(other)
        if isinstance(one, dict):
            np.testing.assert_array_equal(one["sum"], other["sum"])
    assert len(recorder.sizes) - asked < len(calls)


# === A real model, asked by several clients at once ===


@pytest.fixture(scope="module")
def server(exports):
    model = Served("crnet", exports.few_shot.parent)
    with serving([model], batch_wait_ms=10_000.0, max_batch=4, workers=1) as server:
        yield server


def supports(*seeds):
    photos = [photo(seed) for seed in seeds]
    return {
        "support_image_bytes": [b64(encode_png(one.image)) for one in photos],
        "support_mask_bytes": [b64(encode_png(one.mask)) for one in photos],
    }


def test_clients_of_one_state_share_calls_and_answers_are_as_without(server):
    states = [server.outputs("encode_support_encoded", supports(*s)) for s in ((1, 2), (3,))]
    queries = [photo(10 + n, 30 + 5 * n, 50) for n in range(4)]
    asked = [(state, query) for state in states for query in queries]

    def ask(state, query):
        inputs = {"query_image_bytes": [b64(encode_png(query.image))], **state}
        return server.outputs("segment_encoded_with_support", inputs)

    with concurrent.futures.ThreadPoolExecutor(len(asked)) as clients:
        answers = list(clients.map(lambda one: ask(*one), asked))
    assert calls_of(server) == {"segment_encoded_with_support": 2, "encode_support_encoded": 2}
    direct = server.api.models["crnet"].current.signatures["segment_encoded_with_support"]
    for (state, query), answer in zip(asked, answers, strict=True):
        inputs = {name: np.float32(value) for name, value in state.items()}
        inputs["query_image_bytes"] = np.array([encode_png(query.image)], object)
        alone = direct.call(inputs)
        assert np.abs(answer["presence"][0] - alone["presence"][0]) < 1e-5
        found = pixels(answer["probability_png_bytes"][0])
        wanted = np.asarray(Image.open(io.BytesIO(alone["probability_png_bytes"][0])), int)
        assert found.shape == query.image.shape[:2] and np.abs(found - wanted).max() <= 1
    levels = [pixels(answer["probability_png_bytes"][0]) for answer in answers]
    assert np.abs(levels[0] - levels[4]).max() > 2  # of other supports


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content["b64"]))), int)


def calls_of(server):
    """Number of calls of TensorFlow by signature, as Prometheus sees them."""
    samples = server.api.telemetry.batch.collect()[0].samples
    return {
        sample.labels["signature"]: sample.value
        for sample in samples
        if sample.name.endswith("_count")
    }


def test_a_damaged_photo_among_companions_is_its_senders_alone(server):
    state = server.outputs("encode_support_encoded", supports(1))
    good = encode_png(photo(5).image)
    files = [good, good[:200], good, b"no photo"]

    def ask(content):
        inputs = {"query_image_bytes": [b64(content)], **state}
        body = {"signature_name": "segment_encoded_with_support", "inputs": inputs}
        return server.predict(body, "crnet").status_code

    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        assert list(clients.map(ask, files)) == [200, 400, 200, 400]
    until(lambda: server.api.predictor.admission.requests == 0)
    assert server.api.models["crnet"].current.users == 0
