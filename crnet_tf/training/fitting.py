"""A training by Keras' `fit`: its data, its validation, its devices, from start to end.

`jax_loop` is the other one, for a machine without TensorFlow.
"""

import functools
import math
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

from crnet_tf.common.progress import with_progress
from crnet_tf.config import Config
from crnet_tf.data import episodes, records
from crnet_tf.data.resizing import resize_image
from crnet_tf.data.shares import WHOLE, Share
from crnet_tf.evaluation import manifest
from crnet_tf.network import model, reduction
from crnet_tf.training import (
    callbacks,
    feature_store,
    runs,
    starting,
    worker_loop,
    workers,
)
from crnet_tf.training.corrupted_masks import with_query_caches

MEASURED_PHOTOS = 200  # for principal components


def train(
    settings: Config,
    index: records.Index,
    out: pathlib.Path,
    *,
    init=None,
    feature_dir=None,
    feature_gb: float = runs.FEATURES_GB,
    share: Share = WHOLE,
    everywhere: tf.distribute.Strategy | None = None,
) -> model.CRNet:
    """Trains to `settings.steps`, from `out/last.keras` where there is one.

    Args:
        init: checkpoint that a new run starts from.
        feature_dir: folder of the feature store of `settings.feature_views`.
        feature_gb: bound on its size, 1e9 bytes.
        share: which of how many workers this is, see `workers`.
        everywhere: over which devices; default: those of `workers.strategy`.

    Raises:
        ValueError: classes with too few photos, a damaged file of records, or a run of another
            configuration in `out`.
        FloatingPointError: the loss or the weights became NaN or infinite.
    """
    everywhere = everywhere or workers.strategy(settings, share)
    keras.utils.set_random_seed(settings.seed)
    with everywhere.scope():
        network, done = starting.begin(settings, out, init)
        if settings.feature_levels == "reduced" and not (done or init or settings.reduction):
            measure_levels(network, index)
        if share.workers > 1:
            workers.take_chiefs(everywhere, network, done)
        steps_done = done * settings.steps_per_epoch
        trained, dataset = training_data(
            network, index, steps_done, feature_dir or out / "features", feature_gb, share
        )
    fit = functools.partial(trained.fit, shuffle=False)
    if share.workers > 1:
        fit = functools.partial(worker_loop.fit, trained, everywhere)
        each = settings.batch_size // everywhere.num_replicas_in_sync
        dataset = dataset.rebatch(each, drop_remainder=True)
    with records.whole(index.directory):
        fit(
            dataset,
            initial_epoch=done,
            epochs=settings.steps // settings.steps_per_epoch,
            steps_per_epoch=settings.steps_per_epoch,
            callbacks=_callbacks(network, index, out, steps_done, share),
            verbose=_verbosity(share),
        )
    return network


def _callbacks(network, index, out, steps_done, share):
    settings = network.config
    everyones = [
        callbacks.SeedDropout(network, settings.seed),
        callbacks.StopOnNonFiniteLoss(),
    ]
    if share.worker:
        return everyones
    validation = validation_episodes(settings, index)
    return [
        *everyones,
        callbacks.Validate(network, validation, out, settings.select_on),
        # After the validation: a run killed in between repeats the epoch.
        callbacks.SaveLast(network, out / runs.LAST),
        callbacks.TensorBoard(out / "logs", steps_done, settings.steps_per_epoch),
    ]


def _verbosity(share):
    if share.worker:
        return 0
    return 1 if sys.stdout.isatty() else 2  # a bar would fill a log file


def measure_levels(network: model.CRNet, index: records.Index) -> None:
    """Measures the principal components of reduced levels on the photos that the network is
    going to be trained on; their label maps are not looked at."""
    settings = network.config
    classes = index.train_classes(*settings.unseen_folds)
    of_each = math.ceil(MEASURED_PHOTOS / len(classes))
    random, chosen = np.random.default_rng(settings.seed), {}
    for stream in records.streams(index, "train", classes).values():
        names = sorted(stream)
        for number in random.permutation(len(names))[:of_each]:
            chosen[names[number]] = stream[names[number]]
    size = settings.image_size
    photos = (resize_image(records.parse(one)["image"], size) for one in chosen.values())
    photos = with_progress(photos, "photos for the reduction", len(chosen))
    reduction.put(network.parts.encoder, reduction.measure(network.parts.encoder, photos))


def training_data(
    network: model.CRNet,
    index: records.Index,
    done: int,
    feature_dir,
    feature_gb: float = runs.FEATURES_GB,
    share: Share = WHOLE,
):
    """What `fit` gets: the model to train, and batches for it from step `done` on.

    From images that is the network itself; with `feature_views`, its twin on features.
    """
    settings = network.config
    classes = index.train_classes(*settings.unseen_folds)
    episodes.check_counts(index, "train", classes, 1)
    unseen = index.dropped_classes(*settings.unseen_folds) if settings.drop_novel_images else ()
    if settings.feature_views:
        with workers.chief_first(share):
            store = feature_store.open_store(
                network, index, classes, feature_dir, unseen, max_gb=feature_gb
            )
        twin = model.on_features(network)
        twin.compile(optimizer=network.optimizer, jit_compile=False)
        return twin, store.batches(settings, done, share)
    drawn = episodes.episodes(
        index,
        classes,
        seed=settings.seed,
        image_size=settings.image_size,
        batch_size=settings.batch_size,
        augment=settings.augment,
        colour_rotation=settings.colour_rotation,
        skip=done,
        unseen=unseen,
        without_common_class=settings.without_common_class,
        share=share,
    )
    size = network.parts.encoder.compute_output_shape((1, *2 * (settings.image_size,), 3))[1:3]
    return network, with_query_caches(
        drawn.map(episodes.training_pair), size, settings, done, share
    )


def validation_episodes(settings: Config, index: records.Index) -> dict:
    """{"base": (archive, entries), "novel": ...} out of the val split."""
    chosen = {}
    for name, choose in (("base", index.validation_classes), ("novel", index.test_classes)):
        classes = choose(*settings.unseen_folds)
        episodes.check_counts(index, "val", classes, 1)
        archive = manifest.Archive(index, "val", classes)
        entries = manifest.draw(archive, 1, settings.val_episodes, settings.seed)
        chosen[name] = archive.only(entries), entries
    return chosen
