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

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from crnet_tf.common.errors import InputError
from crnet_tf.data import frames
from crnet_tf.data.frames import Frame
from crnet_tf.fewshot import answers, small_objects
from crnet_tf.fewshot.feature_files import FeatureFiles
from crnet_tf.fewshot.features import FeatureCache, PhotoEncoder, base_frame
from crnet_tf.fewshot.finetune import Adapted, Finetuner, check_count
from crnet_tf.fewshot.leave_one_out import HALF, common_threshold
from crnet_tf.fewshot.predictor import Predictor
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network.model import CRNet
from crnet_tf.network.parts import SupportState, support_state
from crnet_tf.options import Options


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

    def fit(
        self,
        supports: list[LabelledPhoto],
        adapted: Adapted | None = None,
        negatives: Sequence[LabelledPhoto] = (),
    ) -> Predictor:
        """Encodes k supports, and adapts to them.

        Args:
            adapted: of another learner's predictor that was fine-tuned to the same supports.
            negatives: as of `Predictor`.

        Raises:
            ValueError: no support, fine-tuning on one, or a support without foreground after
                resizing.
        """
        if not supports:
            raise InputError(
                "fit: expected at least one labelled photo, received none. Give a photo "
                "and its mask."
            )
        in_tiles = self.options.small_objects == "tiles" and not self.frame.letterbox
        in_tiles = in_tiles and small_objects.are_small(supports)
        supports = small_objects.cropped(supports, self.options)
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
        return Predictor(self, answering, adapted, threshold, in_tiles, negatives)

    def encode(self, photos: list[LabelledPhoto]) -> None:
        """Encodes in one batch photos that are asked about next."""
        for frame in self.frames:
            self.encoder.photos(photos, frame)

    def maps_of_each(self, predictors: list[Predictor], query: LabelledPhoto) -> list:
        """`Predictor.maps` of each, in one batch where all have the network's own weights."""
        if self.tuner is not None:
            return [one.maps(query) for one in predictors]
        return self.maps_together(predictors, query)

    def maps_together(self, predictors: list[Predictor], query: LabelledPhoto) -> list:
        """The same with the weights that the network has now."""
        scales = [self._maps_of(predictors, query, frame) for frame in self.frames]
        return [list(maps) for maps in zip(*scales, strict=True)]

    def _maps_of(self, predictors, query, frame):
        """Probabilities [T,S,S] of a query in a frame, by each predictor; of twice the size
        where a predictor searches tiles."""
        found, size = self._whole(predictors, query, frame), frame.size
        searching = [number for number, one in enumerate(predictors) if one.in_tiles]
        if not searching:
            return found
        asked, large = [predictors[n] for n in searching], small_objects.joined_size(size)
        tiles = [small_objects.cut(query, tile, large) for tile in small_objects.tiles(large)]
        parts = [self._whole(asked, tile, frame) for tile in tiles]
        joined = [small_objects.resized(maps, large) for maps in found]
        for number, *own in zip(searching, *parts, strict=True):
            joined[number] = small_objects.joined(found[number], own)
        return joined

    def _whole(self, predictors, query, frame):
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
