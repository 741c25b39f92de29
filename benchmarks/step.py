"""Where the seconds of a training step go: input, backbone, heads, backward pass.

    python -m benchmarks.step --records=records/voc --image_size=225 --backbone=resnet50

Prints one Markdown table of medians, all taken in the same run and in turn, so that their
ratios hold on a busy machine too; beside them the same step from stored features, and the
peak of resident memory. Writes nothing but the demo set, where no records are given.
"""

import dataclasses
import platform
import resource
import time

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks import timing
from crnet_tf.common import cli
from crnet_tf.config import Config
from crnet_tf.data import episodes, records
from crnet_tf.network import losses, model, parts
from crnet_tf.training import feature_store, stored_views
from pipelines.build_demo import build_demo

INPUT_BATCHES = 40  # enough that what was prefetched at the start does not count
BASE_FOLD = 0


def input_seconds(index: records.Index, settings: Config, batches: int = INPUT_BATCHES):
    """Seconds per batch of the input pipeline alone, and one batch (inputs, targets)."""
    stream = iter(
        episodes.episodes(
            index,
            index.train_classes(settings.fold),
            image_size=settings.image_size,
            batch_size=settings.batch_size,
            augment=settings.augment,
        ).map(episodes.training_pair)
    )
    batch = next(stream)
    started = time.perf_counter()
    for _ in range(batches):
        next(stream)
    return (time.perf_counter() - started) / batches, batch


def stages(network: model.CRNet, batch) -> dict:
    """Functions to be timed: {name: callable without arguments that waits for its result}."""
    inputs, targets = batch
    settings = network.config
    encode = tf.function(lambda: parts.encode(network.parts, inputs))
    features = encode()

    @tf.function
    def heads():
        outputs = parts.train_outputs(
            network.parts, features, inputs["support_mask"], settings.train_refine_steps
        )
        named = losses.crnet_losses(outputs, targets["support_mask"], targets["query_mask"])
        return losses.total(named, settings)

    network.compile(optimizer(settings), jit_compile=False)
    from_features = model.on_features(network)
    from_features.compile(optimizer(settings), jit_compile=False)
    unvaried = dataclasses.replace(settings, augment="none")
    stored = iter(store(network, batch).batches(unvaried))
    return {
        "backbone": lambda: float(encode()["query"][0, 0, 0, 0]),
        "heads": lambda: float(heads()),
        "step": lambda: network.train_on_batch(inputs, targets),
        "features": lambda: from_features.train_on_batch(*next(stored)),
    }


def store(network: model.CRNet, batch) -> stored_views.FeatureStore:
    """The photos of one batch as a feature store: two photos of as many classes as episodes."""
    inputs, targets = batch
    masks = (inputs["support_mask"], targets["query_mask"])
    images = inputs["support_image"], inputs["query_image"]
    features = [
        feature_store.encode(network.parts, image, mask)
        for image, mask in zip(images, masks, strict=True)
    ]
    of_classes = zip(np.stack(features, axis=1), np.stack(masks, axis=1), strict=True)
    classes = {
        number: stored_views.ClassViews(("a", "b"), (0, 1), *views, np.ones(2, np.uint32))
        for number, views in enumerate(of_classes)
    }
    return stored_views.FeatureStore(1, classes)


def table(seconds: dict, settings: Config) -> str:
    """Markdown of the stages' seconds with the "input" seconds per batch."""
    step = seconds["step"]
    rows = {
        "input pipeline alone": seconds["input"],
        "backbone, three passes": seconds["backbone"],
        "heads and losses, forward": seconds["heads"],
        "backward and update": max(0.0, step - seconds["backbone"] - seconds["heads"]),
        "**step**": step,
        "step from stored features": seconds["features"],
    }
    lines = [f"| batch of {settings.batch_size} | seconds | of the step |", "|---|--:|--:|"]
    lines += [f"| {name} | {s:.3f} | {100 * s / step:.1f} % |" for name, s in rows.items()]
    return "\n".join(lines)


def optimizer(settings: Config):
    """The paper's, of a network to be timed."""
    return keras.optimizers.SGD(settings.learning_rate, settings.momentum)


def define_flags():
    define_common_flags()
    flags.DEFINE_integer("image_size", 225, "Side of the network's input, px.")


def define_common_flags():
    """Flags that `benchmarks.training` has too."""
    flags.DEFINE_string("records", None, "Folder of records; default: the demo set.")
    flags.DEFINE_string("backbone", "resnet50", "resnet50, vgg16 or tiny.")
    flags.DEFINE_string("backbone_weights", "none", "As in training; they cost no time.")
    flags.DEFINE_integer("channels", 256, "Channels of the heads.")
    flags.DEFINE_integer("batch_size", 4, "Episodes a step.")
    flags.DEFINE_string("precision", "float32", "As in training.")
    flags.DEFINE_integer("steps", 3, "Timed rounds.", lower_bound=1)


def main():
    args = flags.FLAGS
    names = ("image_size", "backbone", "backbone_weights", "channels", "batch_size")
    settings = Config(
        fold=BASE_FOLD, precision=args.precision, **{name: args[name].value for name in names}
    )
    index = records.load_index(args.records) if args.records else build_demo("data/demo")
    network = model.build_crnet(settings)
    input_batch, batch = input_seconds(index, settings)
    seconds = {"input": input_batch} | timing.in_turn(stages(network, batch), args.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    devices = [device.device_type for device in tf.config.list_logical_devices()]
    print(
        f"{settings.backbone}, {settings.image_size} px, {settings.channels} channels, "
        f"{settings.precision}; records {index.dataset}; TensorFlow {tf.__version__}, Python "
        f"{platform.python_version()}, {', '.join(devices)}; medians of {args.steps} rounds\n\n"
        f"{table(seconds, settings)}\n\n"
        f"Input pipeline: {settings.batch_size / seconds['input']:.1f} episodes/s, "
        f"{seconds['step'] / seconds['input']:.1f} times as fast as the step (wanted: 10).\n"
        f"From stored features a step is {seconds['step'] / seconds['features']:.2f} times as "
        f"fast.\nPeak resident memory: {peak:.2f} GiB."
    )


if __name__ == "__main__":
    cli.run(main, define_flags)
