"""Packs the photos of records into a few files for a machine without TensorFlow.

    python -m pipelines.pack_photos --records=records/voc --out=pack/voc --part_mb=60

Writes every photo once, as encoded in the records, for `python -m crnet_tf.train_jax`.
"""

import os
from collections.abc import Iterator

import tensorflow as tf
from absl import flags

from crnet_tf import cli, photo_pack, records
from crnet_tf.photo_pack import Photo
from pipelines.inspect_record import read_example


def photos_of(index: records.Index, split: str) -> Iterator[Photo]:
    """The photos of a split, each once, with all classes under which it is listed.

    Raises:
        ValueError: a record that cannot be read.
    """
    found = {}
    for class_id in sorted(int(c) for c in index.splits[split]["classes"]):
        for path in index.files(split, class_id):
            for serialized in tf.data.TFRecordDataset(path).as_numpy_iterator():
                example = read_example(serialized)
                if example is None:
                    raise ValueError(
                        f"{path}: expected records of photos, received another one. Check "
                        f"them: python -m pipelines.verify --records={index.directory}"
                    )
                name = example[records.FILENAME].decode()
                contents = example[records.IMAGE], example[records.LABEL]
                found.setdefault(name, ([], contents))[0].append(class_id)
    for name, (classes, (image, label)) in sorted(found.items()):
        yield Photo(name, split, tuple(classes), image, label)


def define_flags():
    flags.DEFINE_string("records", None, "Folder of records with index.json.", required=True)
    flags.DEFINE_string("out", None, "Folder to write.", required=True)
    flags.DEFINE_float("part_mb", 60.0, "Size of a file, 1e6 bytes.", lower_bound=0.001)


def main():
    args = flags.FLAGS
    index = records.load_index(args.records)
    photos = [photo for split in ("train", "val") for photo in photos_of(index, split)]
    written = photo_pack.write(args.out, index, photos, args.part_mb)
    for path in written:
        print(f"{path}: {os.path.getsize(path) / 1e6:.1f} MB")
    print(
        f"{len(photos)} photos. Next: python -m crnet_tf.train_jax --pack={args.out} --fold=1"
    )


if __name__ == "__main__":
    define_flags()
    cli.run(main)
