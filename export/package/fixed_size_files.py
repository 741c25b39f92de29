"""Files for runtimes that fix the size of photos, TFLite and ONNX: made, and compared.

    few_shot, taught -> FixedGraphs: graphs of one size and what they are compared with
    write(folder, graphs, formats): every graph in every format, or an error

How a file is made and run is the business of a `Format`: `tflite.py`, `onnx.py`.
"""

import dataclasses
import functools
import itertools
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from crnet_tf.common import files
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network import resizing
from crnet_tf.network.model import CRNet
from crnet_tf.options import Options
from export.graph.settings import Settings, Sizes
from export.graph.signatures import ENCODE, QUERY, WHOLE, FewShot, Signature, save
from export.graph.taught import TAUGHT, Taught
from export.package import parity
from export.package.inputs import MOST_QUERIES

Episode = tuple[list[LabelledPhoto], LabelledPhoto]  # supports, query


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        name: what files are called after, such as "float16". suffix: such as ".tflite".
        convert: (SavedModel's folder, signature, representative inputs) -> content.
        load: content -> function of named arrays that gives named arrays.
        measure, tolerance: how far its answers may be from the checkpoint's (`parity.py`).
        remedy: what to do where they are further.
        calibrated: whether it needs representative inputs.
    """

    name: str
    suffix: str
    convert: Callable
    load: Callable
    measure: Callable
    tolerance: float
    remedy: str = parity.REMEDY
    calibrated: bool = False


def photos_needed(formats: Iterable[Format], representatives: int) -> int:
    """How many photos to hold in memory: those compared on, or all to calibrate on."""
    calibrated = any(kind.calibrated for kind in formats)
    return representatives if calibrated else MOST_QUERIES


@dataclasses.dataclass(frozen=True)
class FixedGraphs:
    """Fixed graphs and what they are compared with.

    Attributes:
        signatures: functions of tensors of known shapes; see `signatures.py`.
        differences: (functions by graph, measure) -> difference by graph.
        inputs: an episode -> the inputs of its supports and its query, by name.
    """

    signatures: list[Signature]
    differences: Callable
    inputs: Callable[[Episode], tuple[dict, dict]]


def few_shot(
    network: CRNet,
    settings: Settings,
    sizes: Sizes,
    shot: int,
    options: Options,
    supports: list[LabelledPhoto],
    queries: list[LabelledPhoto],
) -> FixedGraphs:
    """A network that takes its supports with every request, or as a state.

    Args:
        shot: number of supports that enter together; photos are repeated where there are less.
        options: see `FewShot`; without a tolerance, since not every runtime has loops.
        supports, queries: to compare on.
    """
    exported = FewShot(network, settings, options)
    learner = Learner(network, options, keep_features=True)

    def inputs(episode):
        shots = itertools.islice(itertools.cycle(episode[0]), shot)
        shots = [framed(photo, sizes) for photo in shots]
        given = {
            "support_image": np.stack([photo.image for photo in shots]),
            "support_mask": np.stack([photo.mask for photo in shots]),
        }
        return given, {"query_image": framed(episode[1], sizes).image[None]}

    given, _ = inputs((supports, queries[0]))
    pairs = zip(given["support_image"], given["support_mask"], strict=True)
    differences = functools.partial(
        parity.whole_and_halves,
        names=(WHOLE, ENCODE, QUERY, "query_image"),
        learner=learner,
        settings=settings,
        supports=[LabelledPhoto(*pair, f"support {k}") for k, pair in enumerate(pairs, 1)],
        given=given,
        queries=[framed(photo, sizes) for photo in queries],
    )
    return FixedGraphs(exported.fixed_signatures(sizes, shot), differences, inputs)


def restrictions(formats: Iterable[Format]) -> dict:
    """`Options` that files of these formats must have: not every runtime has loops, and small
    differences of means, by which edges are found, are lost in weights of fewer bits."""
    smooth = {"edges": False} if any(kind.name != "float32" for kind in formats) else {}
    return {"refine_tolerance": 0.0} | smooth


def framed(photo: LabelledPhoto, sizes: Sizes) -> LabelledPhoto:
    """A photo of any size as clients bring it: squashed to the fixed size, uint8."""
    size = sizes.photo_height, sizes.photo_width
    pixels = resizing.bilinear(np.float32(photo.image[None]), size)[0]
    mask = photo.mask
    if mask is not None:
        mask = np.asarray(resizing.nearest(mask[None, ..., None], size))[0, ..., 0]
    return LabelledPhoto(np.uint8(np.round(pixels)), mask, photo.name)


def taught(exported: Taught, sizes: Sizes, queries: list[LabelledPhoto]) -> FixedGraphs:
    """Classes that a network was taught; `queries` are compared on."""
    queries = [framed(photo, sizes) for photo in queries]
    predictors = [one.predictor for one in exported.classes]

    def differences(functions, measure):
        ask = parity.asking(functions[TAUGHT], "image")
        return {TAUGHT: measure(ask, predictors, exported.settings, queries)}

    def inputs(episode):
        return {}, {"image": framed(episode[1], sizes).image[None]}

    return FixedGraphs(exported.fixed_signatures(sizes), differences, inputs)


def write(
    folder: pathlib.Path,
    graphs: FixedGraphs,
    formats: Iterable[Format],
    episodes: Iterable[Episode] | None = None,
) -> None:
    """Writes `GRAPH-FORMAT.SUFFIX` of every graph and format into a folder that is there.

    Args:
        episodes: real ones, that formats are calibrated on.

    Raises:
        RuntimeError: a file answers other than the checkpoint does. What was written until
            then stays: the folder is the caller's (`versions.new_version`).
    """
    with tempfile.TemporaryDirectory() as work:
        saved = pathlib.Path(work) / "saved_model"
        save(graphs.signatures, "", saved)
        for kind in formats:
            functions = {}
            for graph in graphs.signatures:
                given = functools.partial(_inputs, graphs, graph, saved, episodes)
                content = kind.convert(saved, graph.name, given if kind.calibrated else None)
                files.write_bytes(folder / f"{graph.name}-{kind.name}{kind.suffix}", content)
                functions[graph.name] = kind.load(content)
            print(f" {kind.name}", flush=True)
            differences = graphs.differences(functions, measure=kind.measure)
            parity.check(differences, kind.tolerance, kind.remedy)


def _inputs(graphs, graph, saved, episodes) -> Iterator[dict]:
    """What a graph would be given in every episode."""
    loaded = tf.saved_model.load(str(saved))
    encode = loaded.signatures.get(ENCODE)
    for episode in episodes:
        supports, query = graphs.inputs(episode)
        named = supports | query
        if graph.name == QUERY:
            state = encode(**{name: tf.constant(value) for name, value in supports.items()})
            named |= {name: value.numpy() for name, value in state.items()}
        yield {spec.name: named[spec.name] for spec in graph.inputs}
