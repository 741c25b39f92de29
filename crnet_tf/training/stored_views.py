"""Stored features of the training photos, and the batches that a training draws from them."""

import dataclasses
import zlib

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class ClassViews:
    """Memory-mapped views of the photos of a class: photo n has rows n*V .. n*V + V-1."""

    names: tuple[str, ...]  # photo ids
    drawn: tuple[int, ...]  # the photos that are trained on
    features: np.ndarray
    masks: np.ndarray
    checksums: np.ndarray

    def rows(self, views: int) -> np.ndarray:
        """Rows of the photos that are trained on."""
        return (np.array(self.drawn)[:, None] * views + np.arange(views)).ravel()

    def checksum(self, row: int) -> int:
        """CRC-32 of what a view is now; never 0, which says that it is missing."""
        checksum = zlib.crc32(np.ascontiguousarray(self.features[row]))
        return zlib.crc32(np.ascontiguousarray(self.masks[row]), checksum) or 1

    def write(self, row: int, features: np.ndarray, mask: np.ndarray) -> None:
        """Keeps a view."""
        self.features[row], self.masks[row] = features, mask
        self.checksums[row] = self.checksum(row)


@dataclasses.dataclass(frozen=True)
class FeatureStore:
    """Views of the training photos by class id; made by `open_store`."""

    views: int
    classes: dict[int, ClassViews]

    def batches(
        self, batch_size: int, augment: str, seed: int, skip: int = 0
    ) -> tf.data.Dataset:
        """Endless 1-shot batches for `model.on_features`: (inputs, targets).

        Classes are drawn uniformly, the two photos are distinct; batch n depends on
        `seed` and n alone. As on images, "canet" augments the support only, "symmetric"
        both, "none" nothing.
        """

        def generate():
            number = skip
            while True:
                random = np.random.default_rng([seed, number])
                drawn = [self._episode(random, augment) for _ in range(batch_size)]
                batch = {name: np.stack([one[name] for one in drawn]) for name in drawn[0]}
                masks = {"query_mask": batch.pop("query_mask")}
                yield batch, masks | {"support_mask": batch["support_mask"]}
                number += 1

        first = next(iter(self.classes.values()))
        features = tf.TensorSpec((batch_size, *first.features.shape[2:]), tf.float16)
        masks = tf.TensorSpec((batch_size, *first.masks.shape[1:]), tf.uint8)
        names = ("support_features", "category_features", "query_features")
        signature = (
            {name: features for name in names} | {"support_mask": masks},
            {"support_mask": masks, "query_mask": masks},
        )
        return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)

    def _episode(self, random, augment):
        views = self.classes[random.choice(sorted(self.classes))]
        varied = np.array([augment != "none", augment == "symmetric"])
        view = random.integers(0, self.views, 2) * varied
        support, query = random.choice(views.drawn, 2, replace=False) * self.views + view
        return {
            "support_features": views.features[support, 0],
            "category_features": views.features[support, 1],
            "query_features": views.features[query, 0],
            "support_mask": views.masks[support],
            "query_mask": views.masks[query],
        }
