"""Requests to a server with one fault or two in their JSON."""

import json

from hypothesis import strategies as st

LEAVES = (
    None, True, False, 0, -1, 255, 256, 2**31, -(2**63), 10**30, 1.5, 1e308, float("nan"),
    float("inf"), "", "x", "\ud800", "é" * 300, {}, [], {"b64": "!"}, {"b64": 1},
    {"b64": "QUI="}, {"b64": "QUI=", "x": 1}, [[]], [[], [1]], [[1], 2],
)  # fmt: skip
KEYS = st.sampled_from(["x", "b64", "image", "inputs"])
VALUES = st.recursive(
    st.sampled_from(LEAVES) | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def changed(draw, value):
    """A JSON value with one place in it changed, dropped, doubled or renamed."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 5)) == 0:
        return draw(VALUES)
    pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    place = draw(st.integers(0, len(pairs) - 1))
    key, inner = pairs[place]
    action = draw(st.sampled_from(["drop", "double", *["change"] * 4]))
    if action == "change":
        pairs[place] = key, changed(draw, inner)
    elif action == "drop":
        del pairs[place]
    else:
        pairs.insert(place, (f"{key}_", inner))
    return dict(pairs) if isinstance(value, dict) else [inner for _, inner in pairs]


@st.composite
def changed_requests(draw, valid):
    """(model, text) of one of these requests, (model, body), with one fault or two."""
    model, body = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(1, 2))):
        body = changed(draw, body)
    return model, json.dumps(body)
