"""What a `Segmenter` computes with where it can: LiteRT, which starts in a second.

TensorFlow takes ten times as long to start. The file is written once for each checkpoint
(`lite_writing.py`) and answers the usual questions: one scale, no fine-tuning.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from crnet_tf.common import quiet, threads
from crnet_tf.common.disk import sha256_of
from crnet_tf.fewshot import small_objects
from crnet_tf.images.aligned import bilinear, nearest
from crnet_tf.images.labelled import LabelledPhoto, check_visible
from crnet_tf.images.mask_values import FOREGROUND
from crnet_tf.options import Options

PACKAGE = "ai_edge_litert"
PROCESSOR = pathlib.Path("/proc/cpuinfo")
OF_BYTES = {"avx512_vnni", "avx_vnni", "asimddp"}  # as Linux names them; the last: ARM's
PLAIN = ("weighted_fusion", "leave_one_out", "refine_steps", "feature_cache")  # when not set


def usable(options: Options) -> bool:
    """Whether LiteRT is there, is not slower than a GPU, and knows what is asked for."""
    plain = not any(getattr(options, name) for name in PLAIN)
    plain &= options.scales == (1,) and not options.finetunes
    plain &= options.small_objects != "tiles"
    return plain and importlib.util.find_spec(PACKAGE) is not None and not quiet.NVIDIA.exists()


def multiplies_bytes() -> bool:
    """Whether the processor has instructions for products of 8-bit numbers. Without them
    LiteRT is hardly faster with weights of 8 bits."""
    return PROCESSOR.exists() and not OF_BYTES.isdisjoint(PROCESSOR.read_text().split())


def place(checkpoint: str | os.PathLike, kind: str) -> pathlib.Path:
    """Where the file of a checkpoint is kept: by its content and the code it is made with.

    Args:
        kind: of `lite_writing.KINDS`.
    """
    digest = hashlib.sha256(sha256_of(checkpoint).encode())
    digest.update(importlib.metadata.version(PACKAGE.replace("_", "-")).encode())
    here = pathlib.Path(__file__)
    for source in sorted([*here.parent.glob("*.py"), *here.parents[1].glob("network/*.py")]):
        digest.update(source.read_bytes())
    cache = os.environ.get("CRNET_CACHE") or pathlib.Path.home() / ".cache" / "crnet-tf"
    return pathlib.Path(cache) / f"{digest.hexdigest()[:32]}-{kind}.tflite"


class LiteEngine:
    """A network in a file of LiteRT.

    Args:
        file: its path, or its content.
    """

    at_once = 1  # photo that is encoded in one batch

    def __init__(self, file: str | os.PathLike | bytes, options: Options):
        from ai_edge_litert.interpreter import Interpreter

        name, self.options = "model_content", options
        if not isinstance(file, bytes):
            name, file = "model_path", str(file)
        self._interpreter = Interpreter(**{name: file}, num_threads=threads.cores())
        self._runners = {}
        with quiet.start_up_lines_hidden():  # the first call tells what computes
            ask = self.runner("likelihood")
            given = ask.get_input_details().items()
            ask(**{name: np.zeros(one["shape"], one["dtype"]) for name, one in given})
        self.size = self.runner("encode").get_input_details()["image"]["shape"][1]
        self._photos = {}  # what was computed of a photo, by its hash

    def runner(self, name: str):
        """A graph of the file as a function of named arrays."""
        if name not in self._runners:
            self._runners[name] = self._interpreter.get_signature_runner(name)
        return self._runners[name]

    def fit(
        self, supports: list[LabelledPhoto], negatives: Sequence[LabelledPhoto] = ()
    ) -> "LitePredictor":
        """What answers after the example of k supports.

        Args:
            negatives: as of `Predictor`.

        Raises:
            ValueError: a support of which no foreground is left at the network's size.
        """
        cropped = small_objects.cropped(supports, self.options)
        predictor = LitePredictor(self, [self._state(photo) for photo in cropped])
        if negatives:
            predictor.rivals = [self._rival(predictor, photo) for photo in negatives]
        return predictor

    def photo(self, query: LabelledPhoto) -> dict:
        """What answers need of a photo, computed once."""
        if query.key not in self._photos:
            features = self._encode(self._framed(query))
            self._photos[query.key] = self.runner("photo")(features=features)
        return self._photos[query.key]

    def encode(self, photos: list[LabelledPhoto]) -> None:
        """Photos that are asked about next."""
        for photo in photos:
            self.photo(photo)

    def maps(self, predictors: list["LitePredictor"], photo: LabelledPhoto) -> list:
        """`LitePredictor.maps` of each."""
        return [one.maps(photo) for one in predictors]

    def restore(self, maps: list[np.ndarray], photo: np.ndarray) -> np.ndarray:
        """Maps of the only scale -> float32 [T,H,W] of a photo [H,W,3]."""
        if "lines" in self._interpreter.get_signature_list() and self.options.edges:
            large = self._following(maps[0], photo)
        else:
            large = bilinear(maps[0][..., None], photo.shape[:2])[..., 0]
        return np.clip(large, 0, 1)

    def _following(self, maps, photo):
        """Maps [T,S,S] -> [T,H,W] with the photo's edges, as `answers.following`."""
        runner = self.runner("lines")
        side = runner.get_input_details()["guide"]["shape"][1]
        colours = photo.astype(np.float32) / 255
        guide = bilinear(colours[None], (side, side))
        found = []
        for one in bilinear(maps[..., None], (side, side)):
            lines = runner(map=one[None], guide=guide)["lines"]
            answer = bilinear(lines[..., 3:], photo.shape[:2])[0, ..., 0]
            for i in range(3):
                slope = bilinear(lines[..., i : i + 1], photo.shape[:2])[0, ..., 0]
                answer += slope * colours[..., i]
            found.append(answer)
        return np.stack(found)

    def forget(self, photo: LabelledPhoto) -> None:
        """Lets go of what was computed of a photo."""
        self._photos.pop(photo.key, None)

    def forget_all(self) -> None:
        """Lets go of what was computed of all photos."""
        self._photos.clear()

    def _state(self, support):
        mask = nearest(support.mask, self.size)
        check_visible(support.mask, mask, support.name)
        mask, image = mask[None, ..., None], self._framed(support)
        given = {"features": self._encode(image), "mask": mask}
        if "hide" in self._interpreter.get_signature_list():
            hidden = self.runner("hide")(image=image, mask=mask)["image"]
            given["category"] = self._encode(hidden)
        return self.runner("support")(**given)

    def _rival(self, predictor, photo):
        """As one of `Predictor.rivals`."""
        if photo.mask is None:
            found = predictor.maps(photo)[0][-1:]
        else:
            found = np.float32(nearest(photo.mask, self.size)[None] == FOREGROUND)
        last_level = self.photo(photo)["last_level"]
        return self.runner("rival")(found=found, last_level=last_level)["rival"].copy()

    def _framed(self, photo):
        return bilinear(photo.image[None].astype(np.float32), (self.size, self.size))

    def _encode(self, image):
        return self.runner("encode")(image=image)["features"].copy()


class LitePredictor:
    """k supports that a `LiteEngine` was shown."""

    adapted = None  # the weights are nobody's own

    def __init__(self, engine: LiteEngine, states: list[dict]):
        self.engine = engine
        self.prototypes = [state.pop("prototype") for state in states]
        self.rivals = [state.pop("rival") for state in states]  # none, so far
        self.states, self.shots = states, 1.0
        if engine.options.averages:
            mean = {name: np.mean([one[name] for one in states], axis=0) for name in states[0]}
            self.states, self.shots = [mean], float(len(states))

    def maps(self, query: LabelledPhoto) -> list[np.ndarray]:
        """Probabilities float32 [T,S,S] after each refinement step, of the only scale."""
        photo = dict(self.engine.photo(query))
        del photo["last_level"]
        answer = self.engine.runner("answer")
        tolerance = np.float32(self.engine.options.refine_tolerance)
        given = {**photo, "shots": np.float32(self.shots), "tolerance": tolerance}
        found = [answer(**given, **state)["maps"].copy() for state in self.states]
        return [np.mean(found, axis=0)]

    def presence(self, query: LabelledPhoto) -> float:
        """As `Predictor.presence`."""
        last_level = self.engine.photo(query)["last_level"]
        ask = self.engine.runner("resemblance")

        def mean(averages):
            found = [ask(average=one, last_level=last_level)["cosine"] for one in averages]
            return np.mean(found, axis=0)

        given = {"similarity": mean(self.prototypes), "rival": mean(self.rivals)}
        shots = np.float32(len(self.prototypes))
        return float(self.engine.runner("likelihood")(**given, shots=shots)["presence"][0])
