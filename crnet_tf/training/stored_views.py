"""Stored features of the training photos, and the batches that a training draws from them."""

import dataclasses
import zlib

import numpy as np
import tensorflow as tf

from crnet_tf.common.errors import InputError
from crnet_tf.config import Config
from crnet_tf.data.shares import WHOLE, Share
from crnet_tf.images.mask_values import VOID
from crnet_tf.training.corrupted_masks import with_query_caches

# What is mirrored together.
MIRRORED = (
    ("support_features", "category_features", "support_mask"),
    ("query_features", "query_mask"),
)


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

    def batches(self, settings: Config, skip: int = 0, share: Share = WHOLE) -> tf.data.Dataset:
        """Endless 1-shot batches for `model.on_features`: (inputs, targets).

        Classes are drawn uniformly, the two photos are distinct; batch n depends on the seed
        and n alone. As on images, "canet" augments the support only, "symmetric" both, "none"
        nothing.
        """

        def generate():
            number = skip
            while True:
                random = np.random.default_rng([settings.seed, number])
                drawn = [self._episode(random, settings) for _ in range(settings.batch_size)]
                drawn = drawn[share.of(settings.batch_size)]  # mapped: nothing is read yet
                batch = {name: np.stack([one[name] for one in drawn]) for name in drawn[0]}
                masks = {"query_mask": batch.pop("query_mask")}
                yield batch, masks | {"support_mask": batch["support_mask"]}
                number += 1

        first = next(iter(self.classes.values()))
        count = settings.batch_size // share.workers
        masks = tf.TensorSpec((count, *first.masks.shape[1:]), tf.uint8)
        size = first.features.shape[2:]
        names = ["support_features", "query_features"]
        names += ["category_features"] if first.features.shape[1] > 1 else []
        features = tf.TensorSpec((count, *size), tf.float16)
        signature = (
            {name: features for name in names} | {"support_mask": masks},
            {"support_mask": masks, "query_mask": masks},
        )
        batches = tf.data.Dataset.from_generator(generate, output_signature=signature)
        return with_query_caches(batches, size[:2], settings, skip, share).prefetch(2)

    def _episode(self, random, settings):
        support_class = random.choice(sorted(self.classes))
        views = self.classes[support_class]
        varied = np.array([settings.augment != "none", settings.augment == "symmetric"])
        view = random.integers(0, self.views, 2) * varied
        support, query = random.choice(views.drawn, 2, replace=False) * self.views + view
        episode = _photo("support", views, support) | _photo("query", views, query)
        if len(views.features[support]) > 1:
            episode["category_features"] = views.features[support, 1]
        if settings.without_common_class and random.random() < settings.without_common_class:
            episode |= self._of_another_class(random, support_class, view[1])
        for names in MIRRORED if settings.mirror_features else ():
            if random.random() < 0.5:
                episode |= {n: episode[n][:, ::-1] for n in names if n in episode}
        return episode

    def _of_another_class(self, random, class_id, view):
        """A query that does not show the class: what is void in it stays so, the rest is
        background."""
        names = {*self.classes[class_id].names}
        others = {
            c: [number for number in views.drawn if views.names[number] not in names]
            for c, views in sorted(self.classes.items())
        }
        possible = [c for c, numbers in others.items() if numbers]
        if not possible:
            raise InputError(
                "without_common_class: expected photos that do not show the class, received "
                f"none for class {class_id}. Leave the flag out, or add photos."
            )
        other = random.choice(possible)
        row = random.choice(others[other]) * self.views + view
        query = _photo("query", self.classes[other], row)
        mask = query["query_mask"]
        return query | {"query_mask": np.where(mask == VOID, mask, 0).astype(np.uint8)}


def _photo(branch, views, row):
    return {f"{branch}_features": views.features[row, 0], f"{branch}_mask": views.masks[row]}
