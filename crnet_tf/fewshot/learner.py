"""k labelled photos and one network -> answers for other photos (Sec. 4.6, Sec. 6).

    Learner(network, options).learn(supports) -> Example
        the k supports are encoded, and the network is fine-tuned to them where asked
    Example.maps(query) -> for each test scale, probabilities after each refinement step
        one answer a support, fused; or one of the mean support
    Learner.restore(maps, size) -> probabilities [T,H,W] at the photo's own size

Evaluation, prediction and export all go this way. A photo is encoded once (`features.py`).
"""

import contextlib
import functools

import numpy as np
import tensorflow as tf

from crnet_tf.common.errors import InputError
from crnet_tf.data import frames
from crnet_tf.data.frames import Frame
from crnet_tf.fewshot import presence
from crnet_tf.fewshot.features import FeatureCache, PhotoEncoder, base_frame
from crnet_tf.fewshot.finetune import Adapted, Finetuner, check_count, holding
from crnet_tf.fewshot.leave_one_out import HALF, common_threshold, shifted
from crnet_tf.fewshot.prior import object_average
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network import metrics
from crnet_tf.network import parts as network_parts
from crnet_tf.network.layers import resize_align_corners
from crnet_tf.network.model import CRNet
from crnet_tf.options import Options

PROJECTED = "projected"  # first word of what the cache remembers and training changes


class Learner:
    """Applies one network by one set of options to any number of examples.

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
        keep = keep_features or options.finetunes or network.config.prototype_weight > 0
        self.encoder = PhotoEncoder(network, self.cache, options.feature_cache, keep)
        self.tuner = Finetuner(network, options) if options.finetunes else None
        parts, steps = network.parts, options.refine_steps or network.config.refine_steps
        self.project = tf.function(lambda features: parts.projection(features, training=False))
        self.cells = tf.function(parts.prototypes.cells)
        self.state = tf.function(functools.partial(network_parts.support_state, parts))
        self.importance = tf.function(lambda query: parts.cross_reference.importance(query))

        @tf.function
        def segment(state, view, size, shots=1):
            """States of K partners, `view` of 1 or K photos -> float32 [K,T,size,size]."""
            logits = network_parts.segment(parts, state, view, steps, shots=shots)
            return tf.nn.softmax(resize_align_corners(logits, (size, size)))[..., 1]

        self.segment = segment

    def learn(self, supports: list[LabelledPhoto], adapted: Adapted | None = None) -> "Example":
        """Encodes k supports, and adapts to them.

        Args:
            adapted: of another learner's example that was fine-tuned to the same supports.

        Raises:
            ValueError: no support, fine-tuning on one, or a support without foreground after
                resizing.
        """
        if not supports:
            raise InputError(
                "learn: expected at least one labelled photo, received none. Give a photo "
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
        return Example(self, answering, adapted, threshold)

    def restore(self, maps: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
        """Mean over the test scales: `Example.maps` -> float32 [T,H,W] at (H, W)."""
        restored = [
            frame.restore(value, size) for frame, value in zip(self.frames, maps, strict=True)
        ]
        return restored[0] if len(restored) == 1 else np.mean(restored, axis=0)

    def _threshold(self, supports) -> float:
        """That with which every support is found best in the light of the others."""
        found = []
        for i, photo in enumerate(supports):
            others = Example(self, supports[:i] + supports[i + 1 :], None, HALF)
            for frame, steps in zip(self.frames, others.maps(photo), strict=True):
                found.append((steps[-1], frame.mask(photo.mask).numpy()[..., 0]))
        return common_threshold(found)

    def _adapt(self, supports) -> Adapted:
        encoder, frame = self.encoder, self.frame
        views = [
            encoder.view(photo, frame, (self.options.finetune_seed, number))
            for photo in supports
            for number in range(self.options.finetune_views)
        ]
        check_count(len(supports) + len(views))
        photos = [encoder.photo(photo, frame) for photo in supports]
        masks = [frame.mask(photo.mask) for photo in supports]
        category = None
        if self.network.config.condition:
            category = [encoder.masked(photo, frame) for photo in supports]
            category = np.stack(category + [view[1] for view in views])
        return self.tuner(
            np.stack(photos + [view[0] for view in views]),
            category,
            np.stack(masks + [view[2] for view in views]),
        )


class Example:
    """k supports that a network has learnt; made by `Learner.learn`.

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
        self._prototypes = None
        self._states = {}  # by frame: a query needs nothing else of the supports

    @property
    def shots(self) -> int:
        """Number of supports that each state is the mean of."""
        return len(self.supports) if self.learner.options.averages else 1

    def maps(self, query: LabelledPhoto) -> list[np.ndarray]:
        """Probabilities float32 [T,S,S] of a query, one array for each test scale."""
        weights = contextlib.nullcontext()
        if self.adapted is not None:
            weights = holding(self.learner.tuner.variables, self.adapted.weights)
        with weights:
            found = [self._fused(query, frame) for frame in self.learner.frames]
        return [shifted(probability, self.threshold) for probability in found]

    def segment(self, query: LabelledPhoto) -> np.ndarray:
        """Probabilities float32 [T,H,W] after each refinement step, at the photo's size."""
        return self.learner.restore(self.maps(query), query.image.shape[:2])

    def answer(self, query: LabelledPhoto) -> np.ndarray:
        """Probability float32 [H,W] after the last refinement step: `segment`'s last map."""
        last = [probabilities[-1:] for probabilities in self.maps(query)]
        return self.learner.restore(last, query.image.shape[:2])[0]

    def presence(self, query: LabelledPhoto) -> float:
        """How sure it is that a query holds the object at all; see `presence.presence`."""
        encoder, frame = self.learner.encoder, self.learner.frame
        common = self.learner.network.parts.centre.mean.numpy()
        if self._prototypes is None:
            self._prototypes = np.stack(
                [
                    object_average(encoder.last_level(photo, frame), frame.mask(photo.mask))
                    for photo in self.supports
                ]
            )
        cells = encoder.last_level(query, frame)
        return presence.presence(self._prototypes - common, cells - common)

    def _fused(self, query, frame):
        learner, options = self.learner, self.learner.options
        if frame not in self._states:
            self._states[frame] = self._encoded(frame)
        state = self._states[frame]
        view = self._view(query, frame)
        answers = learner.segment(state, view, frame.size, self.shots).numpy()
        if not options.weighted_fusion:
            return answers.mean(axis=0)
        return fuse(answers, self._agreement(state, view["projected"], frame))

    def _encoded(self, frame):
        """States of the supports, or the mean: [K or 1,1,1,C]; see `parts.support_state`."""
        states = []
        for photo in self.supports:
            category = None
            if self.learner.network.config.condition:
                category = self._projected(photo, frame, "masked")
            view, mask = self._view(photo, frame), frame.mask(photo.mask)[None]
            states.append(self.learner.state(view, category, mask))
        joined = {name: tf.concat([s[name] for s in states], axis=0) for name in states[0]}
        if not self.learner.options.averages:
            return joined
        return {n: tf.reduce_mean(value, axis=0, keepdims=True) for n, value in joined.items()}

    def _view(self, photo, frame):
        """`parts.view` of a photo, remembered where it can be."""
        learner, view = self.learner, {"projected": self._projected(photo, frame)}
        if learner.network.config.prototype_weight:
            encoder = learner.encoder
            features, last = encoder.photo(photo, frame), encoder.last_level(photo, frame)
            view["cells"] = learner.cells(features[None], last[None])
        return view

    def _projected(self, photo, frame, kind="photo"):
        """Projection [1,h,w,C] of a photo or its masked version, remembered where it can be."""
        learner = self.learner

        def compute():
            features = getattr(learner.encoder, kind)(photo, frame)
            return learner.project(features[None]).numpy()

        if self.adapted is not None:  # these weights are this example's alone
            return compute()
        content = photo.key if kind == "photo" else photo.masked_key
        return learner.cache.get((PROJECTED, kind, content, frame), compute)

    def _agreement(self, state, query, frame):
        """IoU [K,T] of the support head with the known masks, in the light of a query."""
        learner = self.learner
        views = [self._view(photo, frame) for photo in self.supports]
        own = {name: tf.concat([view[name] for view in views], axis=0) for name in views[0]}
        partner = dict(state)
        if learner.network.config.cross_reference:
            partner["importance"] = learner.importance(query)
        found = learner.segment(partner, own, frame.size).numpy() > 0.5
        masks = [frame.mask(photo.mask).numpy()[..., 0] for photo in self.supports]
        return np.array(
            [
                [metrics.class_iou(metrics.areas(step, mask)) for step in steps]
                for steps, mask in zip(found, masks, strict=True)
            ]
        )


def fuse(answers: np.ndarray, agreement: np.ndarray) -> np.ndarray:
    """One answer [T,S,S] out of K answers [K,T,S,S], each weighed by the support head's IoU
    [K,T] (all alike where all are 0)."""
    weights = np.where(agreement.sum(axis=0) > 0, agreement, 1.0)
    weights = weights / weights.sum(axis=0)
    return np.einsum("ktij,kt->tij", answers, weights.astype(np.float32))
