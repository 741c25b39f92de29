"""A learner whose answers LiteRT computes: an evaluation judges it as it judges the network."""

import numpy as np

from crnet_tf.common.errors import InputError
from crnet_tf.data.frames import Frame
from crnet_tf.fewshot.features import base_frame
from crnet_tf.fewshot.learner import Learner
from crnet_tf.fewshot.lite_engine import LiteEngine, LitePredictor
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network.model import CRNet


class LiteLearner(Learner):
    """Of Keras in all but its answers: what stands beside them, such as baselines, is the same.

    Raises:
        ValueError: a frame other than the only one that the engine's file has.
    """

    def __init__(self, network: CRNet, engine: LiteEngine, frame: Frame, **options):
        if frame != base_frame(network):
            raise InputError(
                "engine: expected a protocol that shows photos as LiteRT's file has them, "
                f"squares of {network.config.image_size} px, received {frame}. Use "
                "--engine=keras."
            )
        super().__init__(network, engine.options, frame, **options)
        self.engine = engine

    def fit(self, supports: list[LabelledPhoto], adapted=None, negatives=()) -> LitePredictor:
        """What answers after the example of k supports; those before are forgotten."""
        self.engine.forget_all()
        return self.engine.fit(supports, negatives)

    def restore(self, maps: list[np.ndarray], photo: np.ndarray) -> np.ndarray:
        """As `Learner.restore`."""
        return self.engine.restore(maps, photo)
