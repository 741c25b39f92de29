"""The same episodes through every way to an answer: each is as close to the checkpoint's own as
its row of `WAYS` says. A new way is a function here and a row there.

The model is the one that comes along. The photos are drawn, of the size it works at, so that a
file of a fixed size needs no resizing by its user.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from helpers import serving_double
from helpers.commands import run
from helpers.live_server import serving
from helpers.networks import photo
from PIL import Image

from crnet_tf import predict
from crnet_tf.fewshot.learner import Learner
from crnet_tf.fewshot.segmenter import Segmenter
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.images.png_files import encode_png, write_png
from crnet_tf.network.checkpoint import START, load_checkpoint
from crnet_tf.options import IN_USE, Options
from export.client.segmenter import RemoteSegmenter
from export.client.server import Server
from export.client.target import Target
from export.package import fixed_size_export, onnx, saved_model, teach, tflite
from export.server.served import Served

pytestmark = pytest.mark.slow

EPISODES = 50
SIZE = 225  # px, of start.keras
CHOSEN = IN_USE | {"refine_tolerance": 0.0}  # files of a fixed size take all steps
OPTIONS = Options(**CHOSEN)
Ask = Callable[[LabelledPhoto, LabelledPhoto], np.ndarray]  # support, query -> [S,S]


class World:
    """The checkpoint, the episodes, what it answers, and what is exported of it, once.

    Attributes:
        opened: enters a context until the end of the tests.
    """

    def __init__(self, folder, opened):
        self.folder, self.opened = folder, opened
        self.learner = Learner(load_checkpoint(START), OPTIONS)
        self.episodes = [
            (photo(2 * number, SIZE, SIZE), photo(2 * number + 1, SIZE, SIZE))
            for number in range(EPISODES)
        ]

    @functools.cached_property
    def expected(self):
        return [self.learner.fit([support]).segment(query) for support, query in self.episodes]

    @functools.cached_property
    def saved(self):
        return saved_model.export(START, self.folder / "saved", options=OPTIONS)

    @functools.cached_property
    def expected_of_first(self):
        """Where the first support is that of all."""
        first = self.learner.fit([self.episodes[0][0]])
        return [first.segment(query) for _, query in self.episodes]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield World(tmp_path_factory.mktemp("world"), stack.enter_context)


# === The ways ===


def the_graph_of_training(world) -> Ask:
    network = world.learner.network

    def ask(support, query):
        """What the network's graph gives, without what is done for edges and small objects."""
        logits = network.predict_on_batch(
            {
                "support_image": support.image[None].astype(np.float32),
                "support_mask": support.mask[None, ..., None],
                "query_image": query.image[None].astype(np.float32),
            }
        )["query"][0]
        return 1 / (1 + np.exp(logits[..., 0] - logits[..., 1]))

    return ask


def segmenter(world, engine) -> Ask:
    one = Segmenter(engine=engine, **CHOSEN)

    def ask(support, query):
        return one.fit(support.image, support.mask).predict(query.image).probability

    return ask


def command(world) -> Ask:
    def ask(support, query):
        folder = world.folder / "command"
        folder.mkdir(exist_ok=True)
        for name, one in (
            ("support", support.image),
            ("mask", support.mask),
            ("q", query.image),
        ):
            write_png(folder / f"{name}.png", one)
        run(
            predict,
            f"--support={folder}/support.png",
            f"--support_mask={folder}/mask.png",
            f"--query={folder}/q.png",
            f"--out={folder}/found",
            "--engine=keras",
            "--refine_tolerance=0",
        )
        return np.array(Image.open(folder / "found" / "q_mask.png")) > 0

    return ask


def served_arrays(world) -> Ask:
    answer = serving_double.loaded(world.saved).signatures["serving_default"]

    def ask(support, query):
        given = {
            "support_image": support.image[None],
            "support_mask": support.mask[None],
            "query_image": query.image[None],
        }
        return answer(**given)["probability"].numpy()[0]

    return ask


def over_grpc(world) -> Ask:
    double = serving_double.Served("crnet", {1: world.saved})
    address, _ = world.opened(serving_double.over_grpc(double))
    return remote(world.opened(Server(address)))


def over_rest(world) -> Ask:
    own = world.opened(serving([Served("crnet", world.saved.parent)]))
    return remote(world.opened(Server(own.url)))


def remote(server):
    def ask(support, query):
        files = [encode_png(support.image)]
        one = RemoteSegmenter(server, Target("crnet"), files, [support.mask])
        return one.segment([encode_png(query.image)])[0].probability[0] / 255

    return ask


def taught(world) -> Ask:
    support = world.episodes[0][0]
    folder = teach.teach(START, {"thing": [support]}, world.folder / "taught", options=OPTIONS)
    answer = serving_double.loaded(folder).signatures["serving_default"]

    def ask(_, query):
        return answer(image=query.image[None])["probability"].numpy()[0, ..., 0]

    return ask


def file(world, kind) -> Ask:
    """A file of one graph, that takes support and query, run as its users run it."""
    photos = fixed_size_export.Photos(
        supports=[world.episodes[0][0]], queries=[query for _, query in world.episodes]
    )
    folder = fixed_size_export.export(
        START,
        world.folder / kind.suffix[1:] / kind.name,
        [kind],
        photos=photos,
        options=OPTIONS,
    )
    answer = kind.load((folder / f"whole-{kind.name}{kind.suffix}").read_bytes())

    def ask(support, query):
        given = {
            "support_image": support.image[None],
            "support_mask": support.mask[None],
            "query_image": query.image[None],
        }
        return answer(**given)["probability"][0]

    return ask


class Way(NamedTuple):
    """How far the answers of a way may be from the checkpoint's.

    Attributes:
        probability: of any pixel; None: not looked at, masks are.
        otherwise: share of an episode's pixels that may be decided otherwise.
        episodes: how many are asked.
    """

    start: Callable[[World], Ask]
    probability: float | None
    otherwise: float
    episodes: int = EPISODES


PNG = 0.5 / 255  # probabilities that come as a PNG
WAYS = {
    "Segmenter, keras": Way(functools.partial(segmenter, engine="keras"), 1e-5, 0),
    "Segmenter, litert": Way(functools.partial(segmenter, engine="litert"), 2e-3, 1e-3),
    "Segmenter, litert_int8": Way(
        functools.partial(segmenter, engine="litert_int8"), None, 0.02
    ),
    "graph of training": Way(the_graph_of_training, None, 0.02),
    "crnet predict": Way(command, None, 0, episodes=10),
    "SavedModel": Way(served_arrays, 1e-3, 1e-3),
    "server of our own, REST": Way(over_rest, 1e-3 + PNG, 5e-3),
    "TF Serving's protocol, gRPC": Way(over_grpc, 1e-3 + PNG, 5e-3),
    "taught model": Way(taught, 1e-3, 1e-3),
    "TFLite, float32": Way(functools.partial(file, kind=tflite.FORMATS["float32"]), 1e-3, 1e-3),
    "TFLite, float16": Way(functools.partial(file, kind=tflite.FORMATS["float16"]), None, 0.02),
    "TFLite, int8": Way(functools.partial(file, kind=tflite.FORMATS["int8"]), None, 0.02),
    "ONNX": Way(functools.partial(file, kind=onnx.FORMAT), 1e-3, 1e-3),
}


@pytest.mark.parametrize("name", WAYS)
def test_every_way_answers_as_the_checkpoint_does(name, world):
    way = WAYS[name]
    ask = way.start(world)
    taught_once = way.start is taught
    largest = otherwise = 0.0
    for number, (support, query) in enumerate(world.episodes[: way.episodes]):
        expected = world.expected_of_first[number] if taught_once else world.expected[number]
        found = ask(support, query)
        mask = found if found.dtype == bool else found > 0.5
        otherwise = max(otherwise, np.mean(mask != (expected > 0.5)))
        if way.probability is not None:
            largest = max(largest, np.abs(found - expected).max())
    print(f"{name}: probability {largest:.1e}, decided otherwise {otherwise:.2%}")
    assert largest <= (way.probability or 0) and otherwise <= way.otherwise
