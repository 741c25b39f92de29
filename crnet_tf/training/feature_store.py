"""Features of a frozen encoder, computed once for some augmented views of every photo.

A training step then starts from the features: same network, same losses, no backbone pass.
The price is that a photo is seen in V augmentations, not in ever new ones. View 0 is the
photo as it is; view v > 0 is flipped, scaled and cropped like CANet's support.

    store/meta.json               what the features are of; another setting is an error
    store/class_07/features.f16   [N*V, 2, h, w, F]: photo, and photo with its background masked
                                  (without --mask_image 1 instead of 2: the photo alone)
    store/class_07/masks.u8       [N*V, S, S, 1]
    store/class_07/checksums.u32  [N*V]: CRC-32 of a view, written after it; 0: missing

N counts the photos of a class; all files are memory-mapped. Folds and ablations on the same
encoder share one store: each computes what is missing of the classes it trains on, and reads
no other. Opening reads their finished views once against their checksums and computes damaged
and missing ones: a killed build goes on where it was, and training never starts from a store
that is not whole.
"""

import functools
import json
import math
import pathlib
import shutil

import numpy as np
import tensorflow as tf

from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.common.progress import with_progress
from crnet_tf.config import Config
from crnet_tf.data import augmentation, episodes, records, resizing
from crnet_tf.evaluation import manifest
from crnet_tf.fewshot.features import weights_fingerprint
from crnet_tf.network import model
from crnet_tf.network.parts import Parts
from crnet_tf.training import runs
from crnet_tf.training.stored_views import ClassViews, FeatureStore

ENCODER_FIELDS = (
    "image_size", "backbone", "backbone_preprocessing", "backbone_stride", "feature_levels",
    "multi_level", "precision", "feature_views", "seed",
)  # fmt: skip
OTHER_FILES = 1024  # that a training may have open besides


def open_store(
    network: model.CRNet,
    index: records.Index,
    classes,
    directory,
    unseen=(),
    max_gb: float = runs.FEATURES_GB,
) -> FeatureStore:
    """Opens the store of training photos in `directory`, computing what is missing or damaged.

    Args:
        unseen: class ids; photos that show one of them are left out.
        max_gb: bound on the size of the store with all that it holds, 1e9 bytes.

    Raises:
        ValueError: the store is of other settings, or larger than `max_gb`.
        OSError: not enough disk space for what is missing, or too few files may be open.
    """
    settings, directory = network.config, pathlib.Path(directory)
    archive = manifest.Archive(index, "train", classes)
    left_out = episodes.showing(index, archive.by_class, unseen) if unseen else ()
    drawn = {
        c: tuple(number for number, name in enumerate(photos) if name not in left_out)
        for c, photos in archive.by_class.items()
    }
    if unseen:
        left = {c: len(photos) for c, photos in drawn.items()}
        episodes.check_remaining(index, left, shot=1)
    meta = {
        "records_sha256": index.sha256,
        "split": archive.split,
        "weights": weights_fingerprint(network),
        **{name: getattr(settings, name) for name in ENCODER_FIELDS},
    }
    if not settings.mask_image:  # stores of before this was a choice do not say it
        meta["mask_image"] = False
    kinds = _files_of_a_class(network)
    _check_settings(directory, meta)
    _check_room(directory, kinds, settings.feature_views, drawn, max_gb)
    _check_open_files(len(kinds) * len(drawn))
    directory.mkdir(parents=True, exist_ok=True)
    files.write_text(directory / "meta.json", json.dumps(meta, indent=1))
    opened = {
        c: _open_class(_folder(directory, c), kinds, settings.feature_views, photos, drawn[c])
        for c, photos in archive.by_class.items()
    }
    _forget_damaged(opened, settings.feature_views)
    _fill(network, archive, opened)
    return FeatureStore(settings.feature_views, opened)


def _files_of_a_class(network):
    """{file: (dtype, shape of a view)}."""
    size = network.config.image_size
    encoded = network.parts.encoder.compute_output_shape((None, size, size, 3))
    return {
        "features.f16": (np.float16, (1 + network.config.mask_image, *encoded[1:])),
        "masks.u8": (np.uint8, (size, size, 1)),
        "checksums.u32": (np.uint32, ()),
    }


def _folder(directory, class_id):
    return directory / f"class_{class_id:02d}"


def _open_class(folder, kinds, views, photos, drawn):
    folder.mkdir(exist_ok=True)
    arrays = []
    for name, (dtype, shape) in kinds.items():
        # Not emptied, as "w+" would do: another training may have made it just now.
        (folder / name).open("ab").close()
        # A new file, or one that was cut off, is filled with zeros, which no checksum fits.
        shape = (len(photos) * views, *shape)
        arrays.append(np.memmap(folder / name, dtype, "r+", shape=shape))
    return ClassViews(tuple(photos), drawn, *arrays)


def _check_open_files(count):
    """Raises OSError where `count` more files than a training has anyway cannot be open: a
    mapped one stays so."""
    wanted = count + OTHER_FILES
    bound = files.allow_open(wanted)
    if bound < wanted:
        raise OSError(
            f"The feature store needs {count} open files: expected a bound of at least {wanted}"
            f" (ulimit -Hn), received {bound}. Raise it, or train without --feature_views."
        )


def _check_settings(directory, meta):
    """Raises ValueError when the folder holds other features."""
    file = directory / "meta.json"
    if not file.exists():
        return
    advice = "Give another --feature_store, or remove that folder."
    if (directory / "features.f16").exists():
        raise InputError(
            f"{directory} holds features of one fold, as earlier versions kept them: expected "
            f"a folder a class. {advice}"
        )
    before = files.read_json(file)
    differing = sorted(key for key in {*meta, *before} if before.get(key) != meta.get(key))
    if differing:
        changes = ", ".join(
            f"{k} was {before.get(k)!r}, now {meta.get(k)!r}" for k in differing
        )
        raise InputError(f"{directory} holds features of other settings: {changes}. {advice}")


def _check_room(directory, kinds, views, drawn, max_gb):
    """Raises when the store is larger than allowed, or its missing part than what is free."""
    view = sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in kinds.values())
    kept = {folder.name: _bytes_on_disk(folder) for folder in directory.glob("class_*")}
    missing = sum(
        max(0, len(photos) * views * view - kept.get(_folder(directory, c).name, 0))
        for c, photos in drawn.items()
    )
    needed = sum(kept.values()) + missing
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    numbers = (
        f"{directory}: the feature store needs {needed / 1e9:.2f} GB "
        f"({sum(kept.values()) / 1e9:.2f} GB are there); --feature_store_gb allows "
        f"{max_gb:g} GB, and {free / 1e9:.2f} GB are free. "
    )
    if needed > max_gb * 1e9:
        raise InputError(
            numbers + "Raise --feature_store_gb, or lower --feature_views or --image_size."
        )
    if missing > free:
        raise OSError(
            numbers + "Lower --feature_views or --image_size, or give another --feature_store."
        )


def _bytes_on_disk(folder):
    """What the files of a class take; unwritten parts (they are made sparse) take nothing."""
    found = [path.stat() for path in folder.iterdir()]
    # The blocks of a finished file are a little more than it holds.
    return sum(min(one.st_size, one.st_blocks * 512) for one in found)


def _forget_damaged(classes, views):
    """Names finished views whose content is not what was written, and marks them missing."""
    rows = [(part, row) for part in classes.values() for row in part.rows(views)]
    finished = [(part, row) for part, row in rows if part.checksums[row]]
    if not finished:
        return
    print(f"Feature store: checking {len(finished)} of {len(rows)} views.", flush=True)
    damaged = [
        (part, row) for part, row in finished if part.checksum(row) != part.checksums[row]
    ]
    if damaged:
        named = [f"view {row % views} of {part.names[row // views]}" for part, row in damaged]
        more = ", ..." if len(damaged) > 5 else ""
        print(f"Feature store: {len(damaged)} views are damaged: {', '.join(named[:5])}{more}.")
    for part, row in damaged:
        part.checksums[row] = 0


def encode(parts: Parts, image, mask):
    """Photos [B,S,S,3], masks [B,S,S,1] -> float16 [B,2,h,w,F]: whole, and background masked;
    [B,1,h,w,F] of a network that does not mask images.

    A network without condition module shares the store with those that have one.
    """
    photos = [image]
    if parts.mask_background is not None:
        photos.append(parts.mask_background(image, mask))
    features = [parts.encoder(photo, training=False) for photo in photos]
    return tf.cast(tf.stack(features, axis=1), tf.float16)


def _fill(network, archive, classes):
    views = network.config.feature_views
    missing = [
        (class_id, row)
        for class_id, part in classes.items()
        for row in part.rows(views)
        if not part.checksums[row]
    ]
    if not missing:
        return
    count = sum(len(part.drawn) for part in classes.values()) * views
    print(f"Feature store: computing {len(missing)} of {count} views.", flush=True)
    computed = _computed(network, archive, classes, missing)
    for class_id, row, features, mask in with_progress(computed, "views", len(missing)):
        classes[class_id].write(row, features, mask)
    for part in classes.values():
        for array in (part.features, part.masks, part.checksums):
            array.flush()


def _computed(network, archive, classes, missing):
    """Class id, row, features and mask of each missing view, in any order."""
    settings, encode_one = network.config, tf.function(functools.partial(encode, network.parts))
    # Then the features of a photo of several classes are the same in each.
    alike = settings.feature_views == 1 and network.parts.mask_background is None

    def name(place):
        class_id, row = place
        return classes[class_id].names[row // settings.feature_views]

    def generate():
        before = None
        for class_id, row in sorted(missing, key=name) if alike else missing:
            photo = name((class_id, row))
            again, before = alike and photo == before, photo
            yield archive.by_class[class_id][photo], class_id, row, again

    scalars = (tf.string, tf.int64, tf.int64, tf.bool)
    signature = tuple(tf.TensorSpec([], dtype) for dtype in scalars)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    dataset = dataset.map(functools.partial(_decode, settings), tf.data.AUTOTUNE)
    features = None
    # One by one: how sums are rounded depends on a photo's place in its batch, and a view must
    # be the same whichever others were missing with it.
    for image, mask, class_id, row, again in dataset.batch(1).prefetch(8):
        features = features if again[0] else encode_one(image, mask)
        yield tuple(array[0].numpy() for array in (class_id, row, features, mask))


def _decode(settings: Config, serialized, class_id, row, again):
    """A record -> image and mask of its view; the rest as it was."""
    record, size = records.parse(serialized), settings.image_size
    image, mask = record["image"], episodes.binary_mask(record["label"], class_id)
    seed = tf.stack([settings.seed, class_id * 2**32 + row])
    image, mask = tf.cond(
        row % settings.feature_views == 0,
        lambda: (resizing.resize_image(image, size), resizing.resize_mask(mask, size)),
        lambda: augmentation.flip_scale_crop(image, mask, size, seed),
    )
    return image, mask, class_id, row, again
