"""What a `Segmenter` computes with: the network in Keras."""

import os
from collections.abc import Sequence

import numpy as np

from crnet_tf.fewshot.learner import Learner
from crnet_tf.fewshot.predictor import Predictor
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network.checkpoint import START, load_checkpoint
from crnet_tf.network.model import CRNet
from crnet_tf.options import Options


class KerasEngine:
    """A network, loaded or still a checkpoint, and how it is applied."""

    at_once = 8  # photos that are encoded in one batch

    def __init__(self, checkpoint: CRNet | str | os.PathLike | None, options: Options):
        is_network = isinstance(checkpoint, CRNet)
        network = checkpoint if is_network else load_checkpoint(checkpoint or START)
        self.learner = Learner(network, options, keep_features=True)

    def fit(
        self, supports: list[LabelledPhoto], negatives: Sequence[LabelledPhoto] = ()
    ) -> Predictor:
        """What answers after the example of k supports; `negatives` as of `Predictor`."""
        return self.learner.fit(supports, negatives=negatives)

    def encode(self, photos: list[LabelledPhoto]) -> None:
        """Photos that are asked about next, in one batch."""
        self.learner.encode(photos)

    def maps(self, predictors: list[Predictor], photo: LabelledPhoto) -> list:
        """`Predictor.maps` of each."""
        return self.learner.maps_of_each(predictors, photo)

    def restore(self, maps: list[np.ndarray], photo: np.ndarray) -> np.ndarray:
        """`Predictor.maps` -> float32 [T,H,W] of a photo uint8 [H,W,3]."""
        return self.learner.restore(maps, photo)

    def forget(self, photo: LabelledPhoto) -> None:
        """Lets go of a photo's features."""
        self.learner.cache.forget(photo)

    def forget_all(self) -> None:
        """Lets go of the features of all photos."""
        self.learner.cache.clear()
