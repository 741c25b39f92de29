"""TF Serving's JSON <-> arrays, in rows ("instances") or columns ("inputs"), and the signatures
that take and give them.

Whatever a request holds, what comes out is arrays of a signature's types and shapes, or a
ValueError. A body is bounded before it is parsed: Python's objects take some 20 times its
size.
"""

import base64
import dataclasses
import json
import reprlib

import numpy as np
import tensorflow as tf

from crnet_tf.common.errors import InputError

DEFAULT_SIGNATURE = "serving_default"
BASE64, BYTES_END = "b64", "_bytes"

Specs = dict[str, tf.TensorSpec]

_short = reprlib.Repr()
_short.maxstring = 100


@dataclasses.dataclass(frozen=True)
class Signature:
    """A function of named arrays."""

    name: str
    inputs: Specs
    function: object

    def call(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays in, arrays out; strings are arrays of bytes objects.

        Raises:
            tf.errors.OpError: the graph refuses the values.
        """
        tensors = {
            name: tf.constant(inputs[name], spec.dtype) for name, spec in self.inputs.items()
        }
        outputs = self.function(**tensors)
        return {name: _found(value) for name, value in outputs.items()}


def _found(tensor):
    return np.asarray(tensor.numpy(), dtype=object if tensor.dtype == tf.string else None)


class TooLarge(InputError):
    """A body of more values than the server takes on."""


def read(body: bytes, max_values: int) -> dict:
    """The JSON object of a body.

    Raises:
        TooLarge: it may hold more than `max_values` numbers, strings and brackets.
        ValueError: it is none.
    """
    count = sum(body.count(sign) for sign in (b",", b"[", b"{"))
    if count > max_values:
        raise TooLarge(
            f"Expected at most {max_values} values and brackets in a request, received "
            f"{count}. Send photos as files (a signature whose inputs end in _bytes)."
        )
    try:
        request = json.loads(body)
    except RecursionError:
        raise InputError("Expected a JSON object, received one nested too deeply.") from None
    except ValueError as error:
        raise InputError(f"Expected a JSON object, received: {error}.") from None
    if not isinstance(request, dict):
        raise InputError(f"Expected a JSON object, received {shown(request)}.")
    return request


def signature_of(request: dict) -> str:
    """Name of the signature asked for; see `read`."""
    name = request.get("signature_name") or DEFAULT_SIGNATURE
    if not isinstance(name, str):
        raise InputError(f"signature_name: expected a string, received {shown(name)}.")
    return name


def arrays(request: dict, specs: Specs) -> dict[str, np.ndarray]:
    """What a signature takes, out of a request of either format.

    Raises:
        ValueError: not exactly one format, other names, types or shapes.
    """
    if ("instances" in request) == ("inputs" in request):
        raise InputError('Expected either "instances" (rows) or "inputs" (columns).')
    columns = (
        _of_rows(request["instances"], specs)
        if is_rows(request)
        else _named(request["inputs"], specs)
    )
    return {name: _array(name, columns[name], spec) for name, spec in specs.items()}


def is_rows(request: dict) -> bool:
    """Whether the answer comes in rows as well ("predictions")."""
    return "instances" in request


def _of_rows(rows, specs):
    if not isinstance(rows, list) or not rows:
        raise InputError(f"instances: expected a list of rows, received {shown(rows)}.")
    named = [_named(row, specs) for row in rows]
    return {name: [row[name] for row in named] for name in specs}


def _named(value, specs):
    """{name: value}; where a signature takes one thing, its name may be left out."""
    is_object = isinstance(value, dict) and set(value) != {BASE64}
    if not is_object and len(specs) == 1:
        return {name: value for name in specs}
    if not is_object or set(value) != set(specs):
        received = sorted(value) if is_object else value
        raise InputError(
            f"Expected an object of {sorted(specs)} and nothing else, received "
            f"{shown(received)}."
        )
    return value


def _array(name, value, spec):
    # As objects first: NumPy would turn numbers beside one long string into strings as long.
    found = np.array(value, dtype=object)
    if not spec.shape.is_compatible_with(found.shape):
        raise InputError(
            f"{name}: expected shape {_written(spec.shape)}, received {list(found.shape)} "
            "(lists must have equal lengths)."
        )
    convert = _strings if spec.dtype == tf.string else _numbers
    return convert(name, found, spec.dtype)


def _strings(name, found, dtype):
    values = np.empty(found.shape, dtype=object)
    values.flat = [
        _text(name, value) if isinstance(value, str) else content(name, value)
        for value in found.flat
    ]
    return values


def _text(name, value):
    try:
        return value.encode()
    except UnicodeEncodeError as error:  # half a character: JSON's escapes can say it
        raise InputError(f"{name}: expected text, received {error}.") from None


def content(name: str, value) -> bytes:
    """The bytes that {"b64": "..."} stands for. Raises InputError for anything else."""
    if isinstance(value, dict) and set(value) == {BASE64} and isinstance(value[BASE64], str):
        try:
            return base64.b64decode(value[BASE64], validate=True)
        except ValueError as error:
            raise InputError(f"{name}: expected base64, received {error}.") from None
    raise InputError(f'{name}: expected strings or {{"b64": "..."}}, received {shown(value)}.')


def _numbers(name, found, dtype):
    allowed = {bool} if dtype.is_bool else {int} if dtype.is_integer else {int, float}
    if not (dtype.is_bool or dtype.is_integer or dtype.is_floating):
        raise InputError(f"{name}: {dtype.name} cannot be sent as JSON.")
    wrong = set(map(type, found.flat)) - allowed
    if wrong:
        raise InputError(
            f"{name}: expected {dtype.name}, received values of JSON's "
            f"{sorted(kind.__name__ for kind in wrong)}."
        )
    try:
        wide = found.astype(float if dtype.is_floating else int)
    except OverflowError:
        raise InputError(f"{name}: expected {dtype.name}, received larger numbers.") from None
    with np.errstate(over="ignore"):
        values = wide.astype(dtype.as_numpy_dtype)
    same = values == wide if not dtype.is_floating else np.isinf(values) == np.isinf(wide)
    if not np.all(same):
        raise InputError(f"{name}: expected {dtype.name}, received numbers out of its range.")
    return values


def _written(shape):
    return "of any rank" if shape.rank is None else str(shape.as_list()).replace("None", "n")


def shown(value) -> str:
    """What a client sent, shortened, without characters that no answer can carry."""
    return _short.repr(value)


def answer(outputs: dict[str, np.ndarray], rows: bool) -> bytes:
    """The body of an answer, in the request's format.

    Raises:
        ValueError: in rows, and the outputs have no common first axis.
    """
    columns = {name: _listed(name, value) for name, value in outputs.items()}
    if not rows:
        return _json({"outputs": _alone(columns)})
    lengths = {value.shape[:1] for value in outputs.values()}
    if len(lengths) != 1 or lengths == {()}:
        raise InputError(
            'Expected outputs with one value a row, received others. Send "inputs" '
            '(columns) instead of "instances".'
        )
    rows = zip(*columns.values(), strict=True)
    return _json(
        {"predictions": [_alone(dict(zip(columns, row, strict=True))) for row in rows]}
    )


def _listed(name, array):
    if array.dtype != object:
        return array.tolist()
    encode = _base64 if name.endswith(BYTES_END) else _as_text
    flat = np.empty(array.shape, dtype=object)
    for place, value in np.ndenumerate(array):
        flat[place] = encode(value)
    return flat.tolist()


def _base64(value):
    return {BASE64: base64.b64encode(value).decode("ascii")}


def _as_text(value):
    return value.decode("utf-8", "replace")


def _alone(columns):
    """Values by name; of a single output its value."""
    return next(iter(columns.values())) if len(columns) == 1 else columns


def _json(value):
    return json.dumps(value, separators=(",", ":")).encode()
