"""Supports that are sent again are not encoded again, and the answers stay what they were."""

import base64
import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from helpers.live_server import b64, serving
from helpers.networks import photo
from PIL import Image

from crnet_tf.images.png_files import encode_png
from export.server import loading
from export.server.served import Served
from export.server.states import States
from export.server.tensors import Signature


def signature(name, inputs, function):
    return Signature(name, {one: tf.TensorSpec(None) for one in inputs}, function)


@pytest.fixture
def calls():
    return []


@pytest.fixture
def signatures(calls):
    """A model whose state is the sum of its supports, which it adds to each query."""

    def encode(support_image):
        calls.append("encode")
        return {"category": tf.reduce_sum(support_image, keepdims=True)}

    def segment(query_image, category):
        calls.append("segment")
        return {"sum": query_image + category}

    def whole(support_image, query_image):
        calls.append("whole")
        return {"sum": query_image + tf.reduce_sum(support_image)}

    return {
        "encode_support": signature("encode_support", ["support_image"], encode),
        "segment_with_support": signature(
            "segment_with_support", ["query_image", "category"], segment
        ),
        "serving_default": signature(
            "serving_default", ["support_image", "query_image"], whole
        ),
    }


def answer(states, signatures, support, query):
    inputs = {"support_image": np.float32([support]), "query_image": np.float32([query])}
    return states.answer(signatures["serving_default"], inputs, (support,))["sum"].item()


def test_the_same_supports_are_encoded_once(signatures, calls):
    states = States(signatures)
    assert [answer(states, signatures, s, q) for s, q in ((1, 2), (1, 3), (5, 2))] == [3, 4, 7]
    assert calls == ["encode", "segment", "segment", "encode", "segment"]


def test_states_not_used_for_longest_are_forgotten(signatures, calls):
    states = States(signatures, max_bytes=8)  # two of them
    for support in (1, 2, 1, 3, 1):
        answer(states, signatures, support, 0)
    assert calls.count("encode") == 3
    answer(states, signatures, 2, 0)
    assert calls.count("encode") == 4


def test_a_model_without_the_parts_is_asked_as_it_is(signatures, calls):
    del signatures["encode_support"]
    assert answer(States(signatures), signatures, 1, 2) == 3 and calls == ["whole"]


def test_a_server_answers_the_same_whether_it_knows_the_supports(exports):
    support = photo(1)
    supports = {
        "support_image_bytes": [b64(encode_png(support.image))],
        "support_mask_bytes": [b64(encode_png(support.mask))],
    }
    asked = []

    def load(*given):
        loaded = loading.load(*given)
        encode = loaded.signatures["encode_support_encoded"]
        loaded.signatures[encode.name] = dataclasses.replace(
            encode, function=lambda **inputs: asked.append(1) or encode.function(**inputs)
        )
        return loaded

    def probability(server, query):
        given = supports | {"query_image_bytes": [b64(encode_png(query.image))]}
        (content,) = server.outputs("segment_encoded", given)["probability_png_bytes"]
        return np.array(Image.open(io.BytesIO(base64.b64decode(content["b64"]))))

    with serving([Served("crnet", exports.few_shot.parent, load=load)]) as server:
        first, again = probability(server, photo(4)), probability(server, photo(4))
        other = probability(server, photo(5))
    whole = tf.saved_model.load(str(exports.few_shot)).signatures["serving_default"]
    for found, query in ((first, photo(4)), (again, photo(4)), (other, photo(5))):
        expected = whole(
            support_image=support.image[None],
            support_mask=support.mask[None],
            query_image=query.image[None],
        )["probability"][0]
        np.testing.assert_allclose(found / 255, expected, atol=0.003)
    assert len(asked) == 1
