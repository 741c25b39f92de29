"""Trains CRNet on one GPU with JAX, on a machine without TensorFlow.

    KERAS_BACKEND=jax python -m crnet_tf.train_jax --pack=pack/voc --fold=1 --out=runs/voc1

Takes the photos that `pipelines.pack_photos` packed, keeps them on the device, and leaves in
--out what `crnet_tf.train` leaves but for TensorBoard: `run.json`, `best.keras`, `last.keras`
(the same command resumes from it), and `history.json`. The checkpoints are read under
TensorFlow as well. Needs the packages jax, keras, numpy, pillow, h5py and absl-py.
"""

import dataclasses
import json

from absl import flags

from crnet_tf import presets
from crnet_tf.common import cli
from crnet_tf.training import runs


def define_flags():
    presets.define_flags()
    flags.DEFINE_string("pack", None, "Folder written by pipelines.pack_photos.", required=True)
    flags.DEFINE_string("init", None, runs.INIT_HELP)
    flags.DEFINE_string("out", None, "Run directory; default: runs/DATASET-foldN.")


def main():
    from crnet_tf.data import photo_pack
    from crnet_tf.training import jax_loop

    args = flags.FLAGS
    settings = presets.from_flags()
    pack = photo_pack.read(args.pack)
    settings = dataclasses.replace(settings, dataset=pack.index.dataset)
    out = runs.directory(args.out, settings)
    with runs.session(out, settings, pack.index, init=args.init) as session:
        found = jax_loop.train(settings, pack, out, args.init)
        session.update(found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    cli.run(main, define_flags)
