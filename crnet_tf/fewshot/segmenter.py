"""Photos segmented after the example of k labelled ones: the class for Python and notebooks."""

import numpy as np

from crnet_tf.common.errors import InputError
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images import drawing
from crnet_tf.images.labelled import LabelledPhoto, check_labelled, check_photo
from crnet_tf.options import Options


class Segmenter:
    """Segments photos after the example of k labelled ones; those are encoded only once.

    Args:
        network: `crnet_tf.network.checkpoint.load_checkpoint(path)`.
        support_images: k photos, uint8 [H,W,3] RGB, of any sizes.
        support_masks: k masks, uint8 [H,W], 0 background, 1 foreground, 255 void.
        names: what errors call the supports; default "support 1", "support 2" ...
        options: how several supports are used, test scales and more (`Options`); by default
            the probabilities of the k one-shot answers are averaged.
        learner: of another segmenter with the same network and options: a query is then
            encoded once for both.

    Queries are uint8 [H,W,3] RGB, or `LabelledPhoto`s of such, whose pixels are hashed once
    however often they are asked about.

    Raises:
        ValueError: no support, another number of masks, the same support twice, or what
            `check_labelled` and `Learner.fit` raise.
    """

    def __init__(
        self,
        network,
        support_images,
        support_masks,
        names=None,
        options: Options | None = None,
        learner: Learner | None = None,
    ):
        if len(support_images) != len(support_masks) or not len(support_images):
            raise InputError(
                "Segmenter: expected one mask for each of one or more support photos, received "
                f"{len(support_images)} photos and {len(support_masks)} masks."
            )
        names = names or [f"support {i + 1}" for i in range(len(support_images))]
        supports = []
        for image, mask, name in zip(support_images, support_masks, names, strict=True):
            check_labelled(image, mask, name)
            supports.append(LabelledPhoto(image, mask, name))
        _check_distinct(supports)
        self.learner = learner or Learner(network, options, keep_features=True)
        self._predictor = self.learner.fit(supports)

    def segment(self, image: np.ndarray | LabelledPhoto) -> np.ndarray:
        """Probability of the foreground, float32 [H,W], at the photo's size."""
        return self._predictor.segment(_query(image))

    def steps(self, image: np.ndarray | LabelledPhoto) -> np.ndarray:
        """Probabilities float32 [T,H,W] after each refinement step, at the photo's size."""
        return self._predictor.steps(_query(image))

    def segment_and_steps(
        self, image: np.ndarray | LabelledPhoto, longest: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """`segment`, and `steps` [T,h,w] of a longer side of at most `longest` px: those of a
        large photo at its own size take gigabytes."""
        query = _query(image)
        maps, size = self._predictor.maps(query), query.image.shape[:2]
        small = drawing.fitted_size(size, min(longest, max(size)))[::-1]
        probability = self.learner.restore([steps[-1:] for steps in maps], size)[0]
        return probability, self.learner.restore(maps, small)

    def presence(self, image: np.ndarray | LabelledPhoto) -> float:
        """How sure it is that the object is in a photo at all, up to 1 (`answers.presence`)."""
        return self._predictor.presence(_query(image))

    def forget(self, image: np.ndarray | LabelledPhoto) -> None:
        """Lets go of a photo's features, which otherwise stay for another question about it, up
        to `Options.feature_cache_gb`."""
        self.learner.cache.forget(_query(image))


def _query(image):
    if isinstance(image, LabelledPhoto):
        return image
    check_photo(image, "query")
    return LabelledPhoto(image, name="query")


def _check_distinct(supports):
    first = {}
    for photo in supports:
        other = first.setdefault(photo.masked_key, photo)
        if other is not photo:
            raise InputError(
                f"{photo.name}: expected different supports, received the photo and mask of "
                f"{other.name} again. Leave one of them out."
            )
