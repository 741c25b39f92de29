"""Takes a checkpoint apart for transport: what was trained, without the frozen encoder.

    python -m crnet_tf.heads --checkpoint=runs/voc1/best.keras --out=heads.npz
    python -m crnet_tf.heads --heads=heads.npz --backbone_weights=resnet50.npz --out=best.keras

The second command joins it again with the backbone weights that it was trained on, which are
the larger part of a checkpoint and already where it is to go. Needs no TensorFlow.
"""

import dataclasses
import io
import json
import pathlib

import numpy as np
from absl import flags

from crnet_tf.common import cli, files
from crnet_tf.common.errors import InputError
from crnet_tf.config import Config
from crnet_tf.network import model, pretrained
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.training.checkpoints import check_out, save_atomically

CONFIG, ENCODER = "config", "encoder"  # entries beside the arrays by path of the variable
MAX_FLOAT16 = np.finfo(np.float16).max


def take(network: model.CRNet, path, dtype: str = "float32") -> None:
    """Writes the trainable variables and the configuration as `.npz`.

    Args:
        dtype: "float32", or "float16" for half the size.

    Raises:
        ValueError: float16 cannot hold a weight.
    """
    arrays = {v.path: np.asarray(v) for v in network.trainable_variables}
    if dtype == "float16" and any(np.abs(a).max() > MAX_FLOAT16 for a in arrays.values()):
        raise InputError(f"dtype: expected weights up to {MAX_FLOAT16}. Use float32.")
    arrays = {name: values.astype(dtype) for name, values in arrays.items()}
    arrays[CONFIG] = np.array(json.dumps(dataclasses.asdict(network.config)))
    arrays[ENCODER] = pretrained.sums(network.parts.encoder)
    content = io.BytesIO()
    np.savez(content, **arrays)
    files.write_bytes(path, content.getvalue())


def join(path, backbone_weights: str) -> model.CRNet:
    """The network whose trained part `take` wrote, with an encoder of `backbone_weights`.

    Raises:
        FileNotFoundError: one of the files is missing.
        ValueError: the file is of something else, or the encoder is another one.
    """
    with files.open_npz(path) as arrays:
        if CONFIG not in arrays:
            raise InputError(
                f"{path}: expected a file of crnet_tf.heads, received another one."
            )
        config = Config.from_dict(json.loads(str(arrays[CONFIG])))
        network = model.build_crnet(
            dataclasses.replace(config, backbone_weights=backbone_weights)
        )
        found = pretrained.sums(network.parts.encoder)
        if not pretrained.same_weights(found, arrays[ENCODER]):
            raise InputError(
                f"{path} was trained on other backbone weights than {backbone_weights}: give "
                f"those of its run.json, which it knew as {config.backbone_weights!r}."
            )
        for variable in network.trainable_variables:
            variable.assign(arrays[variable.path].astype("float32"))
    return network


def define_flags():
    flags.DEFINE_string("checkpoint", None, "A .keras file to take apart.")
    flags.DEFINE_string("heads", None, "A file of this command, to join again.")
    flags.DEFINE_string("backbone_weights", "imagenet", "As in training, to join.")
    flags.DEFINE_enum("dtype", "float32", ["float32", "float16"], "Of the weights on disk.")
    flags.DEFINE_string("out", None, "File to write: .npz, or .keras.", required=True)


def main():
    args = flags.FLAGS
    if bool(args.checkpoint) == bool(args.heads):
        raise InputError("Expected one of --checkpoint and --heads, received both or neither.")
    out = pathlib.Path(args.out)
    if args.checkpoint and out.suffix != ".npz":
        raise InputError(f"out: expected a name that ends in .npz, received {args.out!r}.")
    if args.heads:
        check_out(out)
    files.make_folder(out.parent)
    if args.checkpoint:
        take(load_checkpoint(args.checkpoint), out, args.dtype)
    else:
        save_atomically(join(args.heads, args.backbone_weights), out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB.")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
