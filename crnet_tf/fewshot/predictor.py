"""k supports that a network was fitted to, and their answers to other photos."""

import contextlib
import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from crnet_tf.data.frames import Frame
from crnet_tf.fewshot import answers
from crnet_tf.fewshot.finetune import Adapted, holding
from crnet_tf.fewshot.leave_one_out import shifted
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.images.mask_values import FOREGROUND
from crnet_tf.network import metrics
from crnet_tf.network.parts import SupportState
from crnet_tf.network.prototypes import object_average

PROJECTED = "projected"  # first word of what the cache remembers and training changes


class Predictor:
    """k supports that a network was fitted to; made by `Learner.fit`.

    Attributes:
        learner: the `Learner`.
        supports: those that answer. adapted: `finetune.Adapted`, or None.
        threshold: probability of the network that an answer calls a half.
        in_tiles: whether photos are searched in tiles too.
        negatives: photos that do not show the object; of one with a mask only what is marked.
    """

    def __init__(
        self,
        learner,
        supports: list[LabelledPhoto],
        adapted: Adapted | None,
        threshold: float,
        in_tiles: bool = False,
        negatives: Sequence[LabelledPhoto] = (),
    ):
        self.learner, self.supports, self.adapted = learner, supports, adapted
        self.threshold, self.in_tiles, self.negatives = threshold, in_tiles, negatives
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
        """How likely a query holds the object at all; see `answers.presence`."""
        learner = self.learner
        photos = learner.encoder.last_level(query, learner.frame)[None]
        against = self.prototypes, photos, self.rivals
        return float(answers.presence(learner.network.parts, *against)[0])

    @functools.cached_property
    def prototypes(self):
        """`SupportState.prototype` of the K supports: [K,F]."""
        last_level, frame = self.learner.encoder.last_level, self.learner.frame
        averages = [
            object_average(last_level(photo, frame), frame.mask(photo.mask))
            for photo in self.supports
        ]
        return self.learner.network.parts.centre(tf.stack(averages))

    @functools.cached_property
    def rivals(self):
        """`SupportState.rival` of the R negatives: [R,F]."""
        if not self.negatives:
            return tf.zeros_like(self.prototypes[:1])
        return tf.concat([self._rival(photo) for photo in self.negatives], axis=0)

    def _rival(self, photo):
        learner, frame = self.learner, self.learner.frame
        if photo.mask is None:
            found = self.maps(photo)[0][-1:]
        else:
            found = tf.cast(frame.mask(photo.mask)[None, ..., 0] == FOREGROUND, tf.float32)
        last_level = learner.encoder.last_level(photo, frame)[None]
        return answers.rivals(learner.network.parts, found, last_level)

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
