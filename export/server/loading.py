"""A version of a SavedModel in memory: what its signatures take, give and are called."""

import dataclasses
import json
import pathlib

import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

from crnet_tf.common.errors import InputError
from export.package import warmup
from export.package.versions import SAVED_MODEL
from export.server.states import States
from export.server.tensors import DEFAULT_SIGNATURE, Signature

METADATA = "metadata"  # the signature by which our exports say what they are


@dataclasses.dataclass(eq=False)
class Loaded:
    """One version.

    Attributes:
        root: what owns the variables.
        signatures: by name. definitions: the same as TF Serving's metadata, for JSON.
        description: what an export of this project says of itself; {} of other models.
        users: requests that still need it. states: of supports that were sent lately.
    """

    name: str
    version: int
    root: object
    signatures: dict[str, Signature]
    definitions: dict
    description: dict
    users: int = 0

    def __post_init__(self):
        self.states = States(self.signatures)

    @property
    def separates_queries(self) -> bool:
        """Whether each query of a call is known to be answered by itself."""
        return self.description.get("model") == "crnet"


def load(folder: pathlib.Path, name: str, version: int) -> Loaded:
    """Reads `folder`, a version of the model called `name`.

    Raises:
        OSError, ValueError, tf.errors.OpError: it is not a whole SavedModel.
    """
    loaded = tf.saved_model.load(str(folder))
    signatures = {
        key: Signature(key, function.structured_input_signature[1], function)
        for key, function in loaded.signatures.items()
    }
    if not signatures:
        raise InputError(f"{folder}: expected a SavedModel with signatures, received none.")
    warm_up(folder, signatures)
    definitions = read_definitions(folder / SAVED_MODEL)
    return Loaded(name, version, loaded, signatures, definitions, describe(signatures))


def warm_up(folder: pathlib.Path, signatures: dict[str, Signature]) -> None:
    """Asks what TF Serving asks a version before it serves: first calls prepare graphs.

    Raises:
        ValueError, tf.errors.OpError: the version cannot answer its own warm-up requests.
    """
    path = folder / warmup.FILE
    if not path.exists():
        return
    for request in warmup.read(folder):
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        if name not in signatures:
            raise InputError(
                f"{path}: expected requests to {sorted(signatures)}, received one to {name!r}."
            )
        arrays = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        signatures[name].call(arrays)


def describe(signatures: dict[str, Signature]) -> dict:
    """What the signature `metadata` says, {} where there is none."""
    if METADATA not in signatures or signatures[METADATA].inputs:
        return {}
    try:
        return dict(json.loads(signatures[METADATA].call({})[METADATA].item()))
    except (KeyError, ValueError, TypeError):
        return {}  # another project's idea of metadata


def read_definitions(path: pathlib.Path) -> dict:
    """Signature definitions as TF Serving's `/metadata` has them."""
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    definitions = get_model_metadata_pb2.SignatureDefMap()
    for graph in saved.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            for key, definition in graph.signature_def.items():
                definitions.signature_def[key].CopyFrom(definition)
    return json_format.MessageToDict(
        definitions,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
