"""JSON documents with something in them replaced, as hypothesis strategies."""

import copy

from hypothesis import strategies as st

_SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 300) | st.sampled_from([-1e308, 10**30])
    | st.floats() | st.text(max_size=5) | st.sampled_from(["0", "1", "a.png", "polygon"])
)  # fmt: skip
VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=3,
)


@st.composite
def mutated(draw, document):
    """The document with one to three of its values replaced or left out."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(changed))
        if not places:
            break
        owner, key = draw(st.sampled_from(places))
        if draw(st.booleans()):
            owner[key] = draw(VALUES)
        elif isinstance(owner, dict):
            del owner[key]
        else:
            owner.pop(key)
    return changed


def _places(value):
    """(dict or list, key) of every value within a document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)
