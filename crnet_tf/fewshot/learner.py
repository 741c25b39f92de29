"""k labelled photos and one network -> answers for other photos (Sec. 4.6, Sec. 6).

    Learner(network, options).fit(supports) -> Predictor
        the k supports are encoded, and the network is fine-tuned to them where asked
    Predictor.maps(query) -> for each test scale, probabilities after each refinement step
        one answer a support, fused; or one of the mean support
    Learner.maps_of_each(predictors, query) -> the same of several classes, in one batch
    Learner.restore(maps, photo) -> probabilities [T,H,W] at the photo's own size

Evaluation, prediction and export all go this way. A photo is encoded once (`features.py`);
what is computed from its features is said in `answers.py`.
"""

import contextlib
import dataclasses
import functools

import numpy as np
import tensorflow as tf

from crnet_tf.common.errors import InputError
from crnet_tf.data import frames
from crnet_tf.data.frames import Frame
from crnet_tf.fewshot import answers
from crnet_tf.fewshot.feature_files import FeatureFiles
from crnet_tf.fewshot.features import FeatureCache, PhotoEncoder, base_frame
from crnet_tf.fewshot.finetune import Adapted, Finetuner, check_count, holding
from crnet_tf.fewshot.leave_one_out import HALF, common_threshold, shifted
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network import metrics
from crnet_tf.network.model import CRNet
from crnet_tf.network.parts import SupportState, support_state
from crnet_tf.network.prototypes import object_average
from crnet_tf.options import Options

PROJECTED = "projected"  # first word of what the cache remembers and training changes


class Learner:
    """Applies one network by one set of options to any number of supports.

    Args:
        network: trained; its own weights are in place whenever no method is running.
        frame: how photos enter at scale 1; default: squashed to the network's input size.
        cache: of another learner of the same network, to share what both need.
        keep_features: hold the encoder's features in memory though nothing here would use
            them again.

    Raises:
        ValueError: a test scale that leaves no feature map.
    """

    def __init__(
        self,
        network: CRNet,
        options: Options | None = None,
        frame: Frame | None = None,
        cache: FeatureCache | None = None,
        keep_features: bool = False,
    ):
        self.network, self.options = network, options or Options()
        options = self.options
        self.frame = frame or base_frame(network)
        self.frames = [self.frame.scaled(scale) for scale in options.scales]
        self.cache = cache or FeatureCache(options.feature_cache_gb * 2**30)
        # Several things are computed from the features then.
        keep = keep_features or options.finetunes or network.parts.compares_cells
        files = None
        if options.feature_cache:
            files = FeatureFiles(options.feature_cache, options.feature_cache_disk_gb * 2**30)
        self.encoder = PhotoEncoder(network, self.cache, files, keep)
        self.tuner = Finetuner(network, options) if options.finetunes else None
        self.steps = options.refine_steps or network.config.refine_steps
        self.follows_edges = network.config.edges and options.edges
        # Each is traced once a frame, since photos come one by one.
        parts = network.parts
        self.project = tf.function(lambda features: parts.projection(features, training=False))
        self.cells = tf.function(parts.prototypes.cells)
        self.importance = tf.function(lambda query: parts.cross_reference.importance(query))
        self._state = tf.function(lambda *given: support_state(parts, *given).tensors())
        # A step changes something of everything: without a tolerance nothing is ever still.
        self.answers_of_each = answers.AnswerGraphs(
            network, self.steps, options.refine_tolerance or None
        )

    def state(self, support: dict, category, mask) -> SupportState:
        """`parts.support_state`, in a graph."""
        return SupportState(**self._state(support, category, mask))

    def fit(self, supports: list[LabelledPhoto], adapted: Adapted | None = None) -> "Predictor":
        """Encodes k supports, and adapts to them.

        Args:
            adapted: of another learner's predictor that was fine-tuned to the same supports.

        Raises:
            ValueError: no support, fine-tuning on one, or a support without foreground after
                resizing.
        """
        if not supports:
            raise InputError(
                "fit: expected at least one labelled photo, received none. Give a photo "
                "and its mask."
            )
        for photo in supports:
            for frame in self.frames:
                frames.check_visible(photo.mask, frame, photo.name)
        if self.tuner is None:
            adapted = None
        elif adapted is None:
            adapted = self._adapt(supports)
        answering = supports[:1] if self.options.kshot == "finetune" else supports
        threshold = HALF
        if self.options.leave_one_out and len(answering) > 1:
            threshold = self._threshold(answering)
        return Predictor(self, answering, adapted, threshold)

    def encode(self, photos: list[LabelledPhoto]) -> None:
        """Encodes in one batch photos that are asked about next."""
        for frame in self.frames:
            self.encoder.photos(photos, frame)

    def maps_of_each(self, predictors: list["Predictor"], query: LabelledPhoto) -> list:
        """`Predictor.maps` of each, in one batch where all have the network's own weights."""
        if self.tuner is not None:
            return [one.maps(query) for one in predictors]
        return self.maps_together(predictors, query)

    def maps_together(self, predictors: list["Predictor"], query: LabelledPhoto) -> list:
        """The same with the weights that the network has now."""
        scales = [self._maps_of(predictors, query, frame) for frame in self.frames]
        return [list(maps) for maps in zip(*scales, strict=True)]

    def _maps_of(self, predictors, query, frame):
        """Probabilities [T,S,S] of a query in a frame, by each predictor."""
        photo, counts = predictors[0].branch_input(query, frame), [p.count for p in predictors]
        states = answers.joined([one.state(frame) for one in predictors])
        shots = np.repeat([one.shots for one in predictors], counts)
        together = self.answers_of_each(states, photo, frame.size, shots)
        parted = zip(predictors, tf.split(together, counts), strict=True)
        return [one.fused(found, photo, frame) for one, found in parted]

    def restore(self, maps: list[np.ndarray], photo: np.ndarray) -> np.ndarray:
        """Mean over the test scales: `Predictor.maps` -> float32 [T,H,W] of a photo [H,W,3]."""
        maps, size = [value[..., None] for value in maps], photo.shape[:2]
        seen = photo[None] if self.follows_edges else None
        return answers.restored(maps, size, self.frame.letterbox, seen)[..., 0].numpy()

    def _threshold(self, supports) -> float:
        """That with which every support is found best in the light of the others."""
        found = []
        for i, photo in enumerate(supports):
            others = Predictor(self, supports[:i] + supports[i + 1 :], None, HALF)
            for frame, steps in zip(self.frames, others.maps(photo), strict=True):
                found.append((steps[-1], frame.mask(photo.mask).numpy()[..., 0]))
        return common_threshold(found)

    def _adapt(self, supports) -> Adapted:
        encoder, frame = self.encoder, self.frame
        views = [
            encoder.augmented(photo, frame, (self.options.finetune_seed, number))
            for photo in supports
            for number in range(self.options.finetune_views)
        ]
        check_count(len(supports) + len(views))
        photos = [encoder.photo(photo, frame) for photo in supports]
        masks = [frame.mask(photo.mask) for photo in supports]
        category = None
        if self.network.parts.masks_image:
            category = [encoder.masked(photo, frame) for photo in supports]
            category = np.stack(category + [view[1] for view in views])
        return self.tuner(
            np.stack(photos + [view[0] for view in views]),
            category,
            np.stack(masks + [view[2] for view in views]),
        )


class Predictor:
    """k supports that a network was fitted to; made by `Learner.fit`.

    Attributes:
        supports: those that answer. adapted: `finetune.Adapted`, or None.
        threshold: probability of the network that an answer calls a half.
    """

    def __init__(
        self,
        learner: Learner,
        supports: list[LabelledPhoto],
        adapted: Adapted | None,
        threshold: float,
    ):
        self.learner, self.supports, self.adapted = learner, supports, adapted
        self.threshold = threshold
        self._states = {}  # by frame: a query needs nothing else of the supports

    @property
    def shots(self) -> int:
        """Number of supports that each state is the mean of."""
        return len(self.supports) if self.learner.options.averages else 1

    @property
    def count(self) -> int:
        """Number of states, each of which answers."""
        return len(self.supports) // self.shots

    def maps(self, query: LabelledPhoto) -> list[np.ndarray]:
        """Probabilities float32 [T,S,S] of a query, one array for each test scale."""
        weights = contextlib.nullcontext()
        if self.adapted is not None:
            weights = holding(self.learner.tuner.variables, self.adapted.weights)
        with weights:
            return self.learner.maps_together([self], query)[0]

    def steps(self, query: LabelledPhoto) -> np.ndarray:
        """Probabilities float32 [T,H,W] after each refinement step, at the photo's size."""
        return self.learner.restore(self.maps(query), query.image)

    def segment(self, query: LabelledPhoto) -> np.ndarray:
        """Probability float32 [H,W] after the last refinement step: `steps`' last map."""
        last = [probabilities[-1:] for probabilities in self.maps(query)]
        return self.learner.restore(last, query.image)[0]

    def presence(self, query: LabelledPhoto) -> float:
        """How sure it is that a query holds the object at all; see `answers.presence`."""
        learner = self.learner
        photos = learner.encoder.last_level(query, learner.frame)[None]
        return float(answers.presence(learner.network.parts, self.prototypes, photos)[0])

    @functools.cached_property
    def prototypes(self):
        """The object's average in the last level, of each of the K supports: [K,F]."""
        last_level, frame = self.learner.encoder.last_level, self.learner.frame
        averages = [
            object_average(last_level(photo, frame), frame.mask(photo.mask))
            for photo in self.supports
        ]
        return tf.stack(averages)

    def fused(self, found, photo: dict, frame: Frame) -> np.ndarray:
        """One answer [T,S,S] out of those [K,T,S,S] to a photo (`parts.branch_input`)."""
        agreement = None
        if self.learner.options.weighted_fusion:
            agreement = self._agreement(photo["projected"], frame)
        return shifted(answers.fused(found, agreement).numpy(), self.threshold)

    def state(self, frame: Frame) -> SupportState:
        """State of the K supports, or their mean; remembered."""
        if frame not in self._states:
            states = [self._state_of(photo, frame) for photo in self.supports]
            averages = self.learner.options.averages
            self._states[frame] = answers.joined(states, mean=averages)
        return self._states[frame]

    def _state_of(self, photo, frame):
        category = None
        if self.learner.network.parts.masks_image:
            category = self._projected(photo, frame, "masked")
        mask = frame.mask(photo.mask)[None]
        return self.learner.state(self.branch_input(photo, frame), category, mask)

    def branch_input(self, photo: LabelledPhoto, frame: Frame) -> dict:
        """`parts.branch_input` of a photo, remembered where it can be."""
        learner, needed = self.learner, {"projected": self._projected(photo, frame)}
        if learner.network.parts.compares_cells:
            encoder = learner.encoder
            features, last = encoder.photo(photo, frame), encoder.last_level(photo, frame)
            needed["cells"] = learner.cells(features[None], last[None])
        return needed

    def _projected(self, photo, frame, kind="photo"):
        """Projection [1,h,w,C] of a photo or its masked version, remembered where it can be."""
        learner = self.learner

        def compute():
            features = getattr(learner.encoder, kind)(photo, frame)
            return learner.project(features[None]).numpy()

        if self.adapted is not None:  # these weights are this predictor's alone
            return compute()
        content = photo.key if kind == "photo" else photo.masked_key
        return learner.cache.get((PROJECTED, kind, content, frame), compute)

    def _agreement(self, query, frame):
        """IoU [K,T] of the support head with the known masks, in the light of a query."""
        learner, state = self.learner, self.state(frame)
        needed = [self.branch_input(photo, frame) for photo in self.supports]
        own = {name: tf.concat([one[name] for one in needed], axis=0) for name in needed[0]}
        if learner.network.config.cross_reference:
            state = dataclasses.replace(state, importance=learner.importance(query))
        found = learner.answers_of_each(state, own, frame.size).numpy() > 0.5
        masks = [frame.mask(photo.mask).numpy()[..., 0] for photo in self.supports]
        return np.array(
            [
                [metrics.class_iou(metrics.areas(step, mask)) for step in steps]
                for steps, mask in zip(found, masks, strict=True)
            ]
        )
