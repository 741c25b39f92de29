"""Packs the photos of records into a few files for a machine without TensorFlow.

    python -m pipelines.pack_photos --records=records/voc --out=pack/voc --part_mb=60

Writes every photo once, as encoded in the records, for `python -m crnet_tf.train_jax`.
"""

import itertools
import os
import pathlib
from collections.abc import Iterator

from absl import flags

from crnet_tf.common import cli, files
from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import holds, locked, replaced
from crnet_tf.data import photo_pack
from crnet_tf.data.index import INDEX_NAME, Index, load_index
from crnet_tf.data.photo_pack import PackedPhoto


def photos_of(index: Index, split: str) -> Iterator[PackedPhoto]:
    """The photos of a split, each once, with all classes under which it is listed.

    Raises:
        ValueError: a record that cannot be read, or another number of them than listed.
    """
    from crnet_tf.data import records
    from crnet_tf.evaluation import manifest
    from pipelines.checking.inspect_record import read_example

    classes = sorted(int(c) for c in index.splits[split]["classes"])
    archive = manifest.Archive(index, split, classes)
    for name in sorted(archive.by_name):
        example = read_example(archive.by_name[name])
        if example is None:
            raise InputError(
                f"{name}: expected a record of a photo, received another one. Check the "
                f"records: python -m pipelines.verify --records={index.directory}"
            )
        listed = tuple(c for c in classes if name in archive.by_class[c])
        yield PackedPhoto(name, split, listed, example[records.IMAGE], example[records.LABEL])


def _is_ours(path):
    ours = INDEX_NAME, photo_pack.LIST_NAME, photo_pack.PARTS
    return len(path.parts) == 1 and any(path.match(pattern) for pattern in ours)


def define_flags():
    flags.DEFINE_string("records", None, "Folder of records with index.json.", required=True)
    flags.DEFINE_string("out", None, "Folder to write.", required=True)
    flags.DEFINE_float("part_mb", 60.0, "Size of a file, 1e6 bytes.", lower_bound=0.001)


def main():
    args = flags.FLAGS
    index = load_index(args.records)
    splits = ("train", "val")
    photos = itertools.chain.from_iterable(photos_of(index, split) for split in splits)
    with locked(pathlib.Path(args.out)) as out:
        holds(out, photo_pack.LIST_NAME, _is_ours)
        with replaced(out) as work:
            written = photo_pack.write(work, index, photos, args.part_mb)
    for path in written:
        print(f"{out / path.name}: {os.path.getsize(out / path.name) / 1e6:.1f} MB")
    count = len(files.read_json(out / photo_pack.LIST_NAME)["photos"])
    print(f"{count} photos. Next: python -m crnet_tf.train_jax --pack={args.out} --fold=1")


if __name__ == "__main__":
    cli.run(main, define_flags)
