"""The bridge to the TensorFlow Model Garden: its decoder on our records, its ResNet-50 to .npz.

    python tools/model_garden.py --records=records/voc
    python tools/model_garden.py --checkpoint=ckpt-28080 --out=resnet50.npz

Runs in an environment of its own, `pip install tf-models-official==2.20.0` (TensorFlow 2.20,
Keras 2 and 3). Without --checkpoint a ResNet-50 of random weights is saved, converted and
compared with this project's backbone, stage by stage.

Batch norm's epsilon goes into the variances, the biases it has not become zeros. What weights
cannot carry: the Model Garden strides in the 3x3 of a stage's first block, keras.applications
in the 1x1 before it. The file says so (entry `stride`), and our backbone follows it; the
comparison shows both ways.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
import tensorflow as tf
from absl import app, flags
from official.vision.dataloaders import segmentation_input
from official.vision.modeling.backbones import resnet

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from crnet_tf.network import backbones
from crnet_tf.network.preprocessing import PREPROCESSING

BLOCKS = {2: 3, 3: 4, 4: 6, 5: 3}
KERAS_EPSILON = 1.001e-5
SIZE = 65  # 8 n + 1: both ways of padding a stride of 2 agree
# Stages at 1/8 in our backbone: last layer, channels, and every how manieth cell theirs has.
STAGES = {
    3: ("conv3_block4_out", 512, 1),
    4: ("conv4_block6_out", 1024, 2),
    5: ("conv5_block3_out", 2048, 4),
}


def read_records(folder: pathlib.Path, size: int = 97) -> int:
    """Records that the Model Garden's segmentation decoder and parser took.

    Raises:
        ValueError: a decoded label map has another size than its record says.
    """
    decoder = segmentation_input.Decoder()
    parser = segmentation_input.Parser([size, size], preserve_aspect_ratio=False)
    parse = parser.parse_fn(is_training=False)
    count = 0
    for split in json.loads((folder / "index.json").read_text())["splits"]:
        files = sorted(map(str, (folder / split).glob("*.tfrecord")))
        for serialized in tf.data.TFRecordDataset(files):
            decoded = decoder.decode(serialized)
            label = tf.io.decode_png(decoded["image/segmentation/class/encoded"])
            said = decoded["image/height"], decoded["image/width"], 1
            if label.shape != tuple(map(int, said)):
                raise ValueError(f"expected a label map of {said}, received {label.shape}.")
            image, labels = parse(decoded)
            tf.debugging.assert_equal(tf.shape(image), [size, size, 3])
            tf.debugging.assert_equal(tf.shape(labels["masks"])[-3:], [size, size, 1])
            count += 1
    return count


def garden_resnet(epsilon: float):
    """Their ResNet-50: image -> {"2": features of stage 2, ...}."""
    specs = tf.keras.layers.InputSpec(shape=[None, None, None, 3])
    return resnet.ResNet(50, input_specs=specs, norm_epsilon=epsilon)


def restore(network, checkpoint: str) -> None:
    """Reads a checkpoint of the backbone, or of a model that holds one as `backbone`."""
    names = [name for name, _ in tf.train.list_variables(checkpoint)]
    wrapped = tf.train.Checkpoint(backbone=network)
    if any(name.startswith("model/") for name in names):
        wrapped = tf.train.Checkpoint(model=wrapped)
    wrapped.restore(checkpoint).expect_partial().assert_existing_objects_matched()


def converted(network, epsilon: float) -> dict:
    """{"<layer>/<variable>": array} with the layer names of keras.applications."""
    stem = [layer for layer in network.layers if layer.weights and layer.name[:5] != "bottl"]
    arrays = _pair("conv1", *stem[:2], epsilon)
    blocks = iter([layer for layer in network.layers if hasattr(layer, "_conv3")])
    for stage, repeats in BLOCKS.items():
        for number in range(1, repeats + 1):
            block, name = next(blocks), f"conv{stage}_block{number}"
            if number == 1:
                arrays |= _pair(f"{name}_0", block._shortcut, block._norm0, epsilon)
            for part in (1, 2, 3):
                layers = (getattr(block, f"_{kind}{part}") for kind in ("conv", "norm"))
                arrays |= _pair(f"{name}_{part}", *layers, epsilon)
    return arrays | {"preprocessing": np.array("torch"), "stride": np.array("3x3")}


def _pair(name, convolution, norm, epsilon):
    kernel = convolution.kernel.numpy()
    return {
        f"{name}_conv/kernel": kernel,
        f"{name}_conv/bias": np.zeros(kernel.shape[-1], np.float32),
        f"{name}_bn/gamma": norm.gamma.numpy(),
        f"{name}_bn/beta": norm.beta.numpy(),
        f"{name}_bn/moving_mean": norm.moving_mean.numpy(),
        f"{name}_bn/moving_variance": norm.moving_variance.numpy() + epsilon - KERAS_EPSILON,
    }


def randomised(epsilon: float):
    """Their network with random batch norms too: fresh ones would hide a wrong mapping."""
    network, random = garden_resnet(epsilon), np.random.default_rng(0)
    for variable in network.weights:
        if len(variable.shape) == 1:
            low = -0.1 if "beta" in variable.name or "mean" in variable.name else 0.7
            variable.assign(random.uniform(low, low + 0.2, variable.shape))
    return network


def differences(network, path: str, stride: str) -> list[float]:
    """Of each of `STAGES`: largest difference over largest feature.

    Args:
        network: theirs.
        path: .npz of its weights, for ours.
        stride: of ours; "auto" is what the file says.
    """
    normal = np.random.default_rng(1).normal(size=(1, SIZE, SIZE, 3)).astype(np.float32)
    wanted = network(normal, training=False)
    mean, std, _ = PREPROCESSING["torch"]  # ours takes RGB 0..255
    ends, channels, every = zip(*STAGES.values(), strict=True)
    cut = backbones.build_backbone("resnet50", (SIZE, SIZE, 3), ends, path, stride=stride)
    ours = cut.encoder
    levels = np.split(ours(normal * std + mean), np.cumsum(channels)[:-1], axis=-1)
    found = []
    for stage, level, step in zip(STAGES, levels, every, strict=True):
        theirs = wanted[str(stage)].numpy()
        difference = np.abs(level[:, ::step, ::step] - theirs).max()
        found.append(float(difference / np.abs(theirs).max()))
    return found


def self_check(epsilon: float) -> None:
    """Saves, reads back, converts and compares a network of random weights; prints a table."""
    network = randomised(epsilon)
    with tempfile.TemporaryDirectory() as folder:
        saved = tf.train.Checkpoint(backbone=network).save(f"{folder}/ckpt")
        other = garden_resnet(epsilon)
        restore(other, saved)
        path = f"{folder}/resnet50.npz"
        np.savez(path, **converted(other, epsilon))
        columns = (differences(network, path, stride) for stride in ("auto", "1x1"))
        print("| stage | as the file says (3x3) | strides in the 1x1 |\n|---|--:|--:|")
        for stage, equal, plain in zip(STAGES, *columns, strict=True):
            print(f"| {stage} | {equal:.1e} | {plain:.1e} |")
            if equal > 1e-4:
                raise ValueError(f"stage {stage}: expected equal features, received {equal}.")


def main(_):
    given = flags.FLAGS
    if given.records:
        count = read_records(pathlib.Path(given.records))
        print(f"{given.records}: the Model Garden's decoder and parser read {count:,} records.")
    if given.checkpoint:
        network = garden_resnet(given.epsilon)
        restore(network, given.checkpoint)
        np.savez(given.out, **converted(network, given.epsilon))
        print(f"{given.out} written.")
    else:
        self_check(given.epsilon)


if __name__ == "__main__":
    flags.DEFINE_string("records", None, "Folder of records to read.")
    flags.DEFINE_string("checkpoint", None, "Of their ResNet-50, without .index.")
    flags.DEFINE_string("out", "resnet50.npz", "Converted weights.")
    flags.DEFINE_float("epsilon", 1e-5, "Of their batch norms; 1e-5 in their ImageNet runs.")
    app.run(main)
