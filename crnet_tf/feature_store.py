"""Features of a frozen encoder, computed once for some augmented views of every photo.

A training step then starts from the features: same network, same losses, no backbone pass.
The price is that a photo is seen in V augmentations, not in ever new ones. View 0 is the
photo as it is; view v > 0 is flipped, scaled and cropped like CANet's support.

    store/meta.json      what the features are of; another setting is an error
    store/features.f16   [N, 2, h, w, F]: photo, and photo with its background masked
    store/masks.u8       [N, S, S, 1]
    store/checksums.u32  [N]: CRC-32 of a view, written after it; 0 while it is missing

N counts (class, photo) pairs times views; all files are memory-mapped. Opening reads every
finished view once against its checksum and computes damaged and missing ones: a killed build
goes on where it was, and training never starts from a store that is not whole.
"""

import dataclasses
import json
import math
import pathlib
import shutil
import zlib

import keras
import numpy as np
import tensorflow as tf

from crnet_tf import episodes, files, manifest, model, records
from crnet_tf.config import Config
from crnet_tf.parts import encode as encode_photos

ENCODER_FIELDS = (
    "image_size", "backbone", "backbone_weights", "backbone_preprocessing", "backbone_stride",
    "feature_levels", "multi_level", "condition", "precision", "feature_views", "seed",
)  # fmt: skip
DEFAULT_GB = 100.0


@dataclasses.dataclass(frozen=True)
class FeatureStore:
    """Memory-mapped views of the training photos; made by `open_store`."""

    pairs: tuple[tuple[int, str], ...]  # (class id, photo id)
    views: int
    features: np.memmap
    masks: np.memmap

    def batches(
        self, batch_size: int, augment: str, seed: int, skip: int = 0
    ) -> tf.data.Dataset:
        """Endless 1-shot batches for `model.on_features`: (inputs, targets).

        Classes are drawn uniformly, the two photos are distinct; batch n depends on
        `seed` and n alone. As on images, "canet" augments the support only, "symmetric"
        both, "none" nothing.
        """
        by_class = {}
        for i, (class_id, _) in enumerate(self.pairs):
            by_class.setdefault(class_id, []).append(i)
        classes = sorted(by_class)

        def generate():
            number = skip
            while True:
                random = np.random.default_rng([seed, number])
                drawn = [
                    random.choice(by_class[random.choice(classes)], 2, replace=False)
                    for _ in range(batch_size)
                ]
                support, query = (np.array(rows) for rows in zip(*drawn, strict=True))
                support_view = self._views(random, batch_size, augment != "none")
                query_view = self._views(random, batch_size, augment == "symmetric")
                yield self._batch(
                    support * self.views + support_view, query * self.views + query_view
                )
                number += 1

        shape, mask = (
            (batch_size, *self.features.shape[2:]),
            (batch_size, *self.masks.shape[1:]),
        )
        features = tf.TensorSpec(shape, tf.float16)
        masks = tf.TensorSpec(mask, tf.uint8)
        names = ("support_features", "category_features", "query_features")
        signature = (
            {name: features for name in names} | {"support_mask": masks},
            {"support_mask": masks, "query_mask": masks},
        )
        return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)

    def _views(self, random, count, augmented):
        if not augmented or self.views == 1:
            return np.zeros(count, int)
        return random.integers(0, self.views, count)

    def _batch(self, support, query):
        support_mask = self.masks[support]
        inputs = {
            "support_features": self.features[support, 0],
            "category_features": self.features[support, 1],
            "query_features": self.features[query, 0],
            "support_mask": support_mask,
        }
        return inputs, {"support_mask": support_mask, "query_mask": self.masks[query]}


def open_store(
    network: model.CRNet,
    index: records.Index,
    classes,
    directory,
    unseen=(),
    split="train",
    max_gb: float = DEFAULT_GB,
) -> FeatureStore:
    """Opens the store in `directory`, computing what is missing or damaged.

    Args:
        unseen: class ids; photos that show one of them are left out.
        max_gb: bound on the size of the whole store, 1e9 bytes.

    Raises:
        ValueError: the store is of other settings, or larger than `max_gb`.
        OSError: not enough disk space for what is missing.
    """
    settings: Config = network.config
    directory = pathlib.Path(directory)
    archive = manifest.Archive(index, split, classes)
    if unseen:
        episodes.check_remaining(index, split, classes, unseen, shot=1)
    pairs = tuple(
        (c, name)
        for c, photos in archive.by_class.items()
        for name, serialized in photos.items()
        if not (unseen and episodes.shows(serialized, unseen))
    )
    meta = {
        "records_sha256": index.sha256,
        "classes": list(classes),
        "unseen": list(unseen),
        "weights_size": _size_of(settings.backbone_weights),
        **{name: getattr(settings, name) for name in ENCODER_FIELDS},
    }
    count, views = len(pairs) * settings.feature_views, settings.feature_views
    size = settings.image_size
    encoded = network.parts.encoder.compute_output_shape((None, size, size, 3))
    specs = {
        "features.f16": (np.float16, (count, 2, *encoded[1:])),
        "masks.u8": (np.uint8, (count, size, size, 1)),
        "checksums.u32": (np.uint32, (count,)),
    }
    _check_settings(directory, meta)
    _check_room(directory, specs, max_gb)
    directory.mkdir(parents=True, exist_ok=True)
    files.write_text(directory / "meta.json", json.dumps(meta, indent=1))
    arrays = {
        # A file that was cut off is made whole again with zeros, which no checksum fits.
        name: np.memmap(
            directory / name, dtype, "r+" if (directory / name).exists() else "w+", shape=shape
        )
        for name, (dtype, shape) in specs.items()
    }
    _forget_damaged(arrays, pairs, views)
    _fill(network, archive, pairs, views, arrays)
    return FeatureStore(pairs, views, arrays["features.f16"], arrays["masks.u8"])


def _size_of(weights):
    """Bytes of a weights file, to notice another one under the same name."""
    path = pathlib.Path(weights)
    return path.stat().st_size if path.is_file() else None


def _check_settings(directory, meta):
    """Raises ValueError when the folder holds other features."""
    file = directory / "meta.json"
    if not file.exists():
        return
    # Stores of before this was a choice do not say it.
    before = {"backbone_stride": "1x1"} | json.loads(file.read_text())
    differing = sorted(key for key in meta if before.get(key) != meta[key])
    if differing:
        raise ValueError(
            f"{directory} holds features of other settings: "
            + ", ".join(f"{k} was {before.get(k)!r}, now {meta[k]!r}" for k in differing)
            + ". Give another --feature_store, or remove that folder."
        )


def _check_room(directory, specs, max_gb):
    """Raises when the store is larger than allowed, or its missing part than what is free."""
    needed = sum(np.dtype(kind).itemsize * math.prod(shape) for kind, shape in specs.values())
    kept = sum(_bytes_on_disk(directory / name) for name in specs)
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    numbers = (
        f"{directory}: the feature store needs {needed / 1e9:.2f} GB ({kept / 1e9:.2f} GB are "
        f"there); --feature_store_gb allows {max_gb:g} GB, and {free / 1e9:.2f} GB are free. "
    )
    if needed > max_gb * 1e9:
        raise ValueError(
            numbers + "Raise --feature_store_gb, or lower --feature_views or --image_size."
        )
    if needed - kept > free:
        raise OSError(
            numbers + "Lower --feature_views or --image_size, or give another --feature_store."
        )


def _bytes_on_disk(path):
    """What a file takes; its unwritten parts (it is made sparse) take nothing."""
    return path.stat().st_blocks * 512 if path.exists() else 0


def _checksum(features, mask):
    """CRC-32 of one view; never 0, which says that it is missing."""
    checksum = zlib.crc32(np.ascontiguousarray(features))
    return zlib.crc32(np.ascontiguousarray(mask), checksum) or 1


def _forget_damaged(arrays, pairs, views):
    """Names finished views whose content is not what was written, and marks them missing."""
    checksums = arrays["checksums.u32"]
    finished = np.flatnonzero(checksums)
    if not len(finished):
        return
    print(f"Feature store: checking {len(finished)} of {len(checksums)} views.", flush=True)
    damaged = [
        row
        for row in finished
        if _checksum(arrays["features.f16"][row], arrays["masks.u8"][row]) != checksums[row]
    ]
    if damaged:
        named = [f"view {r % views} of {pairs[r // views][1]}" for r in damaged[:5]]
        more = ", ..." if len(damaged) > len(named) else ""
        print(f"Feature store: {len(damaged)} views are damaged: {', '.join(named)}{more}.")
        checksums[damaged] = 0


def _fill(network, archive, pairs, views, arrays, batch_size=8):
    checksums, seed = arrays["checksums.u32"], network.config.seed
    size = network.config.image_size
    missing = np.flatnonzero(checksums[:] == 0)
    if not len(missing):
        return
    print(f"Feature store: computing {len(missing)} of {len(checksums)} views.", flush=True)

    def generate():
        for row in missing:
            class_id, name = pairs[row // views]
            yield archive.by_class[class_id][name], class_id, row

    def decode(serialized, class_id, row):
        record = records.parse(serialized)
        image, mask = record["image"], episodes.binary_mask(record["label"], class_id)
        return *tf.cond(
            row % views == 0,
            lambda: (episodes.resize_image(image, size), episodes.resize_mask(mask, size)),
            lambda: episodes.flip_scale_crop(image, mask, size, tf.stack([seed, row])),
        ), row

    @tf.function
    def encode(image, mask):
        features = encode_photos(network.parts, {"support_image": image, "support_mask": mask})
        # Without a condition module there are no masked features to keep.
        both = [features["support"], features.get("category", features["support"])]
        return tf.cast(tf.stack(both, axis=1), tf.float16)

    signature = (tf.TensorSpec([], tf.string),) + 2 * (tf.TensorSpec([], tf.int64),)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    bar = keras.utils.Progbar(len(missing), unit_name="view")
    for image, mask, row in dataset.map(decode, tf.data.AUTOTUNE).batch(batch_size).prefetch(1):
        row, features, mask = row.numpy(), encode(image, mask).numpy(), mask.numpy()
        arrays["features.f16"][row] = features
        arrays["masks.u8"][row] = mask
        checksums[row] = [_checksum(*view) for view in zip(features, mask, strict=True)]
        bar.add(len(row))
    for file in arrays.values():
        file.flush()
