"""An ML backend of Label Studio: it learns from what is annotated in a project, and proposes
masks for the other tasks.

GET  /health     POST /setup   /predict   /webhook     Label Studio's protocol

What was annotated is asked of Label Studio at the first prediction, and again after a change
(/webhook): a server that is started anew knows as much as before. label-studio-ml, the package
for such backends, brings a web server, a queue and a cache of its own; the protocol is four
requests.
"""

import collections
import functools
import io
import threading
import time
import xml.etree.ElementTree
from typing import NamedTuple

import numpy as np
from absl import logging
from PIL import Image
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from crnet_tf.annotations import coco, label_studio
from crnet_tf.annotations.answers import objects
from crnet_tf.annotations.listing import MALFORMED
from crnet_tf.annotations.tally import Tally
from crnet_tf.common.errors import InputError
from crnet_tf.fewshot import deciding
from crnet_tf.images import label_files
from crnet_tf.images.mask_values import FOREGROUND, class_mask
from crnet_tf.images.png_files import encode_label
from export.server import tensors
from export.server.label_studio_photos import Source
from export.server.served import Served
from export.server.work import Work

MOST_EXAMPLES = 5  # of a label, the newest; and of photos without it
TAGS = {"BrushLabels": "brushlabels", "PolygonLabels": "polygonlabels"}
THRESHOLD = 0.5


class Interface(NamedTuple):
    """What a labelling interface says of its masks."""

    kind: str  # of the regions
    from_name: str
    to_name: str
    key: str  # of the photo in a task's data
    labels: tuple[str, ...]

    @classmethod
    def of(cls, config: str) -> "Interface":
        """Out of a project's XML. Raises InputError where it has no masks of an image."""
        try:
            root = xml.etree.ElementTree.fromstring(config)
            tag = next(one for one in root.iter() if one.tag in TAGS)
            named = [one for one in root.iter("Image") if one.get("name") == tag.get("toName")]
            (image,) = named
            labels = tuple(one.attrib["value"] for one in tag.iter("Label"))
            names = tag.attrib["name"], image.attrib["name"], image.attrib["value"].lstrip("$")
        except (xml.etree.ElementTree.ParseError, StopIteration, *MALFORMED) as error:
            raise InputError(
                "label_config: expected BrushLabels or PolygonLabels of an Image, received "
                f"{tensors.shown(config)} ({type(error).__name__}). Change the project's "
                "labelling interface."
            ) from error
        return cls(TAGS[tag.tag], *names, labels)


class Learnt(NamedTuple):
    """What a project has taught.

    Attributes:
        states: by label, of `encode_support_encoded`, with what is falsely found in photos that
            were annotated without it.
        least: presence that a label needs, see `deciding`.
    """

    states: dict[str, dict[str, np.ndarray]]
    least: float


class Backend:
    """Answers Label Studio's requests.

    Args:
        served: a few-shot model.
    """

    def __init__(self, work: Work, served: Served, source: Source):
        self.work, self.served, self.source = work, served, source
        self._learnt: dict[int, tuple[tuple, Learnt]] = {}  # by project, and from what
        self._changes = collections.Counter()  # of projects
        self._started = int(time.time())
        self._lock = threading.Lock()

    async def health(self, _) -> Response:
        """Answers GET /health."""
        return JSONResponse({"status": "UP", "model_class": "CRNet-TF"})

    async def setup(self, request: Request) -> Response:
        """Answers POST /setup: whether the interface can be served."""
        return JSONResponse(await self.work.answer(request, self._set_up))

    async def webhook(self, request: Request) -> Response:
        """Answers POST /webhook: something changed."""
        return JSONResponse(await self.work.answer(request, self._forget))

    async def predict(self, request: Request) -> Response:
        """Answers POST /predict: regions for each task."""
        loaded = self.served.current
        if loaded is None:
            return JSONResponse({"error": "No version is loaded yet."}, 503)
        self.served.hold(loaded)
        try:
            predicted = functools.partial(self._predicted, loaded=loaded)
            answer = await self.work.answer(request, predicted)
        finally:
            self.served.release(loaded)
        return JSONResponse(answer)

    def _set_up(self, asked):
        Interface.of(asked.get("schema", ""))
        return {"model_version": self._version(_project(asked))}

    def _version(self, project):
        """Another one after every change: Label Studio asks again for tasks whose predictions
        are of other versions."""
        current = self.served.current.version if self.served.current else 0
        return f"{self.served.name} {current}.{self._started}.{self._changes[project]}"

    def _forget(self, asked):
        project, action = asked.get("project"), str(asked.get("action"))
        if isinstance(project, dict) and action.startswith("ANNOTATION"):
            self._changes[project.get("id")] += 1
        return {"status": "ok"}

    def _predicted(self, asked, loaded):
        interface = Interface.of(asked.get("label_config", ""))
        project = _project(asked)
        version = self._version(project)
        try:
            addresses = [task["data"][interface.key] for task in asked["tasks"]]
        except MALFORMED as error:
            raise InputError(
                f"tasks: expected some with photos under {interface.key!r}, received "
                f"others ({error!r})."
            ) from error
        learnt = self._of_project(project, interface, loaded)
        photos = map(self.source.photo, addresses)
        results = [
            {**found(loaded, interface, learnt, photo), "model_version": version}
            for photo in photos
        ]
        return {"results": results, "model_version": version}

    def _of_project(self, project, interface, loaded):
        with self._lock:  # one learns, the others use it
            now = self._changes[project], interface, id(loaded)
            known, learnt = self._learnt.get(project, (None, None))
            if known != now:
                tasks = self.source.annotated(project)
                learnt = learn(loaded, interface, tasks, self.source)
                self._learnt[project] = now, learnt
            return learnt


def _project(asked):
    """The number of a project out of "NUMBER.TIME". Raises InputError."""
    number = str(asked.get("project")).partition(".")[0]
    if not number.isdecimal():
        raise InputError(
            f"project: expected a number, received {tensors.shown(asked.get('project'))}."
        )
    return int(number)


# === Learning ===


def learn(loaded, interface: Interface, tasks: list[dict], source: Source) -> Learnt:
    """What annotated tasks teach, the newest first. One whose photo or regions cannot be used
    is left out and logged."""
    values = {label: n for n, label in enumerate(interface.labels, 1)}
    examples, without = collections.defaultdict(list), collections.defaultdict(list)
    for task in tasks:
        few = [*examples.values(), *without.values()]
        if len(few) == 2 * len(values) and all(len(one) == MOST_EXAMPLES for one in few):
            break
        try:
            photo, labels = _example(interface, task, values, source)
        except (InputError, *MALFORMED) as error:
            logging.warning("Label Studio, project's task left out: %s", error)
            continue
        for label, value in values.items():
            mask = class_mask(labels, value)
            wanted = (examples if (mask == FOREGROUND).any() else without)[label]
            if len(wanted) < MOST_EXAMPLES:
                wanted.append((photo, mask))
    states = {label: _state(loaded, few, without[label]) for label, few in examples.items()}
    negatives = [one for label in states for one in without[label]]
    return Learnt(states, deciding.least_presence(states, negatives))


def _example(interface, task, values, source):
    """File of a task's photo, and the label map that was drawn on it."""
    photo = source.photo(task["data"][interface.key])
    drawn = label_studio.annotated(photo.path, task["result"], Tally(), photo.size)
    if drawn is None:
        return photo.content, np.zeros(photo.size, np.uint8)
    if (drawn.height, drawn.width) != photo.size:
        raise label_files.other_size(
            photo.path, photo.path, photo.size, (drawn.height, drawn.width)
        )
    return photo.content, coco.draw_label(drawn, values)


def _state(loaded, few, without):
    images, masks = zip(*few, strict=True)
    supports = {
        "support_image_bytes": np.array(images, object),
        "support_mask_bytes": np.array([encode_label(one) for one in masks], object),
    }
    state = loaded.signatures["encode_support_encoded"].call(supports)
    if not without:
        return state
    negatives = {"negative_image_bytes": np.array([image for image, _ in without], object)}
    return loaded.signatures["with_negatives_encoded"].call({**negatives, **state})


# === Finding ===


def found(loaded, interface: Interface, learnt: Learnt, photo) -> dict:
    """A prediction of Label Studio for a photo."""
    count = len(interface.labels)
    levels, presences = np.zeros((count, *photo.size), np.float32), np.zeros(count)
    for n, label in enumerate(interface.labels):
        if label in learnt.states:
            levels[n], presences[n] = _asked(loaded, learnt.states[label], photo.content)
    there = deciding.there(levels, presences, THRESHOLD, learnt.least)
    mask = deciding.decided(levels, there, THRESHOLD)
    names = interface.from_name, interface.to_name
    everything = objects(mask, levels, interface.labels, connected=False)
    return {
        "result": label_studio.regions(everything, interface.kind, *names),
        "score": round(float(presences.max()), 4),
    }


def _asked(loaded, state, content):
    """Probability float32 [H,W] and presence of what a state stands for, in a photo."""
    query = {"query_image_bytes": np.array([content], object), **state}
    answer = loaded.signatures["segment_encoded_with_support"].call(query)
    with Image.open(io.BytesIO(answer["probability_png_bytes"].ravel()[0])) as image:
        levels = np.asarray(image, np.float32) / 255
    return levels, float(answer["presence"].ravel()[0])
