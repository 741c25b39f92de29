"""Trains CRNet on the base classes of a fold.

    python -m crnet_tf.train --fold=1 --records=records/voc --out=runs/voc1

Leaves in --out: `run.json` (flags, versions, records, git revision, duration), `best.keras`
(by held-out photos of the base classes), `last.keras` (to resume), and `logs/` for
TensorBoard. The same command again resumes where a killed run stopped. Without --records it
trains on the embedded demo set.
"""

import dataclasses
import pathlib
import resource
import sys
import time

import keras
import tensorflow as tf
from absl import flags

from crnet_tf import config
from crnet_tf.common import cli, fields
from crnet_tf.common.errors import InputError
from crnet_tf.config import Config
from crnet_tf.data import episodes, records
from crnet_tf.data.demo.build import build_demo
from crnet_tf.evaluation import manifest
from crnet_tf.network import model
from crnet_tf.training import callbacks, checkpoints, feature_store, optimizers, runs

DEMO_DIR = pathlib.Path("data/demo")
DEMO_NOTICE = (
    "No --records given: training on the embedded procedural demo set, not on PASCAL-5i. "
    "For PASCAL-5i build the records first and give them:\n"
    "  python -m pipelines.build_voc --voc_dir=VOCdevkit/VOC2012 --out=records/voc\n"
    "  python -m crnet_tf.train --fold=1 --records=records/voc"
)


def train(
    settings: Config,
    index: records.Index,
    out: pathlib.Path,
    feature_dir=None,
    feature_gb: float = feature_store.DEFAULT_GB,
) -> model.CRNet:
    """Trains to `settings.steps`, from `out/last.keras` where there is one.

    Args:
        feature_dir: folder of the feature store of `settings.feature_views`.
        feature_gb: bound on its size, 1e9 bytes.

    Raises:
        ValueError: classes with too few photos, a damaged file of records, or a run of another
            configuration in `out`.
        FloatingPointError: the loss or the weights became NaN or infinite.
    """
    keras.utils.set_random_seed(settings.seed)
    last = out / runs.LAST
    done = checkpoints.finished_epochs(last) if last.exists() else 0
    validation = validation_episodes(settings, index)
    with _strategy(settings).scope():
        network = model.build_crnet(settings)
        network.compile(optimizer=optimizers.optimizer(settings), jit_compile=False)
        network.optimizer.build(network.trainable_variables)
        if done:
            network.load_weights(last)
            print(f"Resuming {out} after epoch {done}.", flush=True)
        trained, dataset = training_data(
            network,
            index,
            done * settings.steps_per_epoch,
            feature_dir or out / "features",
            feature_gb,
        )
    with records.whole(index.directory):
        trained.fit(
            dataset,
            initial_epoch=done,
            epochs=settings.steps // settings.steps_per_epoch,
            steps_per_epoch=settings.steps_per_epoch,
            callbacks=[
                callbacks.SeedDropout(network, settings.seed),
                callbacks.StopOnNonFiniteLoss(),
                callbacks.Validate(network, validation, out, settings.select_on),
                # After the validation: a run killed in between repeats the epoch.
                callbacks.SaveLast(network, last),
                callbacks.TensorBoard(
                    out / "logs", done * settings.steps_per_epoch, settings.steps_per_epoch
                ),
            ],
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 2,  # a bar would fill a log file
        )
    return network


def training_data(
    network: model.CRNet,
    index: records.Index,
    done: int,
    feature_dir,
    feature_gb: float = feature_store.DEFAULT_GB,
):
    """What `fit` gets: the model to train, and batches for it from step `done` on.

    From images that is the network itself; with `feature_views`, its twin on features.
    """
    settings = network.config
    classes = index.train_classes(*settings.held_out)
    episodes.check_counts(index, "train", classes, 1)
    unseen = index.dropped_classes(*settings.held_out) if settings.drop_novel_images else ()
    if settings.feature_views:
        store = feature_store.open_store(
            network, index, classes, feature_dir, unseen, max_gb=feature_gb
        )
        twin = model.on_features(network)
        twin.compile(optimizer=network.optimizer, jit_compile=False)
        return twin, store.batches(
            settings.batch_size, settings.augment, settings.seed, skip=done
        )
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
    )
    return network, drawn.map(episodes.training_pair)


def validation_episodes(settings: Config, index: records.Index) -> dict:
    """{"base": (archive, entries), "novel": ...} out of the val split."""
    chosen = {}
    for name, choose in (("base", index.validation_classes), ("novel", index.test_classes)):
        classes = choose(*settings.held_out)
        episodes.check_counts(index, "val", classes, 1)
        archive = manifest.Archive(index, "val", classes)
        entries = manifest.draw(archive, 1, settings.val_episodes, settings.seed)
        chosen[name] = archive.only(entries), entries
    return chosen


def _strategy(settings: Config) -> tf.distribute.Strategy:
    """Mirrored over the visible GPUs where there are several."""
    devices = len(tf.config.list_logical_devices("GPU"))
    if devices < 2:
        return tf.distribute.get_strategy()
    if settings.batch_size % devices:
        raise InputError(
            f"batch_size: expected a multiple of the {devices} visible GPUs, received "
            f"{settings.batch_size}. Change it, or hide GPUs with CUDA_VISIBLE_DEVICES."
        )
    if settings.clip_norm:
        raise InputError(
            f"clip_norm: expected 0 on {devices} GPUs, received {settings.clip_norm}: Keras "
            "clips each device's share, not their sum. Leave it off, or use one GPU."
        )
    if settings.precision == "mixed_float16":
        raise InputError(
            f"precision: expected float32 or mixed_bfloat16 on {devices} GPUs, received "
            "mixed_float16: Keras looks for overflow on the first of them alone. Choose one of "
            "those, or use one GPU."
        )
    return tf.distribute.MirroredStrategy()


def demo_records() -> pathlib.Path:
    """Records of the embedded demo set, built when missing."""
    directory = DEMO_DIR / "records"
    if not (directory / records.INDEX_NAME).exists():
        build_demo(DEMO_DIR)
    return directory


def define_flags():
    config.define_flags()
    text = flags.DEFINE_string
    text("records", None, "Folder of records with index.json; default: the demo set.")
    text("out", None, "Run directory; default: runs/DATASET-foldN.")
    text("feature_store", None, "Folder for --feature_views; default: OUT/features.")
    flags.DEFINE_float(
        "feature_store_gb",
        feature_store.DEFAULT_GB,
        "Bound on its size, 1e9 bytes; a larger one is refused before anything is written.",
        lower_bound=0,
    )


def main():
    args, notice = flags.FLAGS, ""
    if not args.records:
        notice = DEMO_NOTICE
        print(notice, flush=True)
    settings = config.from_flags("paper" if args.records else "demo")
    if args.feature_store and not settings.feature_views:
        raise InputError(
            "feature_store: expected --feature_views beside it, which says how many views of "
            "each photo to keep, received none. Give --feature_views=2, or leave it out."
        )
    index = records.load_index(args.records or demo_records())
    settings = dataclasses.replace(settings, dataset=index.dataset)
    out = runs.directory(args.out, settings)
    with runs.session(out, settings, index, notice) as session:
        started = time.time()
        train(settings, index, out, args.feature_store, args.feature_store_gb)
        unit = 2**20 if sys.platform == "darwin" else 2**10
        session["seconds"] = round(time.time() - started, 1)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        session["peak_memory_mb"] = peak // unit
    print(f"Best checkpoint: {out}/best.keras. TensorBoard: tensorboard --logdir={out}/logs")


if __name__ == "__main__":
    define_flags()
    flags.adopt_module_key_flags(config)
    flags.adopt_module_key_flags(fields)
    cli.run(main)
