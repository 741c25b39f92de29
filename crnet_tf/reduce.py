"""Measures the principal components of reduced levels on photos without labels.

    python -m crnet_tf.reduce --photos=FOLDER --backbone_weights=resnet50.npz --out=levels.npz
    python -m crnet_tf.train --feature_levels=reduced --reduction=levels.npz ...

Training does the same with its own photos. A file of one's own lets several trainings, such as
those of four folds, share one encoder, and with it one --feature_store.
"""

import dataclasses

import numpy as np
from absl import flags

from crnet_tf.common import cli, fields
from crnet_tf.common.progress import with_progress
from crnet_tf.config import Config
from crnet_tf.images.photo_folder import query_paths
from crnet_tf.images.photos import read_photo

FIELDS = (
    "image_size", "backbone", "backbone_weights", "backbone_preprocessing", "backbone_stride",
    "level_channels", "seed",
)  # fmt: skip


def define_flags():
    fields.define_flags(Config, only=FIELDS)
    flags.DEFINE_string("photos", None, "Folder of photos, 200 or more.", required=True)
    flags.DEFINE_integer("count", 200, "How many of them, by chance.", 1)
    flags.DEFINE_string("out", None, "The .npz file to write.", required=True)


def main():
    from crnet_tf.data.resizing import resize_image
    from crnet_tf.network import reduction
    from crnet_tf.network.model import build_crnet

    args = flags.FLAGS
    settings = fields.from_flags(Config, {"feature_levels": "reduced"})
    # The heads are not needed: small ones are built sooner.
    network = build_crnet(dataclasses.replace(settings, channels=1))
    paths = query_paths(args.photos)
    random = np.random.default_rng(settings.seed)
    chosen = [paths[number] for number in random.permutation(len(paths))[: args.count]]
    photos = (resize_image(read_photo(path), settings.image_size) for path in chosen)
    photos = with_progress(photos, "photos", len(chosen))
    measured = reduction.measure(network.parts.encoder, photos, settings.seed)
    reduction.save(measured, args.out)
    kept = (f"{100 * value:.0f} %" for name, value in measured.items() if "kept" in name)
    print(
        f"{args.out}: of {len(chosen)} photos; share of the variance kept: {', '.join(kept)}."
    )


if __name__ == "__main__":
    cli.run(main, define_flags)
