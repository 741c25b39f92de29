"""Photos a second of building records and of reading episodes, beside plain ways of doing so.

    python -m benchmarks.data --records=records/voc --voc_dir=VOCdevkit/VOC2012

Building: `build_voc` on `--photos` photos, against a loop that reads the same files and hands
them to tf.io.TFRecordWriter unchecked. Reading: one-shot training episodes, decoded, flipped,
scaled, cropped and batched, against a PyTorch DataLoader of two workers that does the same to
the same photos with Pillow. All take turns in one run; the figures are medians. PyTorch is no
dependency: without it that row is left out.
"""

import functools
import importlib.util
import pathlib
import platform
import shutil
import statistics
import tempfile
import time

import tensorflow as tf
from absl import flags

from benchmarks import torch_episodes
from crnet_tf import cli, episodes, photos, records
from pipelines import build_voc, writer

FOLD = 1


def build_plainly(pairs, index, folder: pathlib.Path) -> None:
    """The bare minimum: files read, put into Examples, written to one stream a class."""
    folder.mkdir()
    listed = listed_classes(index)
    streams = {}
    for photo, label in pairs:
        pixels = photos.read_label(label)
        image, mask = photo.read_bytes(), photos.encode_png(pixels)
        record = records.serialize(image, "jpeg", mask, photo.stem, *pixels.shape)
        for class_id in listed.get(photo.stem, ()):
            if class_id not in streams:
                streams[class_id] = tf.io.TFRecordWriter(str(folder / f"{class_id}.tfrecord"))
            streams[class_id].write(record)
    for stream in streams.values():
        stream.close()


def listed_classes(index: records.Index) -> dict:
    """{photo id: class ids it is listed under} of the training split."""
    listed = {}
    for class_id in map(int, index.splits["train"]["classes"]):
        for data in tf.data.TFRecordDataset(index.files("train", class_id)).as_numpy_iterator():
            listed.setdefault(records.filename(data), []).append(class_id)
    return listed


def build(pairs, folder: pathlib.Path) -> records.Index:
    """Records of `pairs` by the project's own writer."""
    make = functools.partial(build_voc._make_item, filter="oslsm", num_classes=20)
    names = tuple(map(str, range(1, 21)))
    about = {"dataset": "benchmark", "source": "photos", "filter": "oslsm"}
    return writer.write_records(folder, {"train": pairs}, make, class_names=names, **about)


def building(pairs, rounds: int) -> dict:
    """{"build": [photos/s a round], "plain": [...]}, in turn."""
    rates = {"build": [], "plain": []}
    work = pathlib.Path(tempfile.mkdtemp())
    try:
        index = build(pairs, work / "first")
        for number in range(rounds):
            for name, function in (
                ("build", lambda place: build(pairs, place)),
                ("plain", lambda place: build_plainly(pairs, index, place)),
            ):
                place = work / f"{name}{number}"
                rates[name].append(len(pairs) / _seconds(function, place))
                shutil.rmtree(place)
    finally:
        shutil.rmtree(work)
    return rates


def reading(index, voc_dir, image_size: int, batches: int, rounds: int) -> dict:
    """{"tf.data": [episodes/s a round], "DataLoader": [...]}, in turn; batches of 4."""
    classes = index.train_classes(FOLD)
    ours = iter(
        episodes.episodes(
            index, classes, image_size=image_size, batch_size=4, augment="symmetric"
        )
    )
    streams = {"tf.data": ours}
    if importlib.util.find_spec("torch"):
        by_class = {c: [] for c in classes}
        for name, listed in listed_classes(index).items():
            for class_id in set(listed) & set(classes):
                by_class[class_id].append(name)
        streams["DataLoader"] = torch_episodes.loader(voc_dir, by_class, image_size, 4)
    rates = {name: [] for name in streams}
    for stream in streams.values():
        _take(stream, batches)  # until what starts up is running
    for _ in range(rounds):
        for name, stream in streams.items():
            rates[name].append(4 * batches / _seconds(_take, stream, batches))
    return rates


def _take(stream, count):
    for _ in range(count):
        next(stream)


def _seconds(function, *arguments):
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def table(built: dict, read: dict) -> str:
    """Markdown of medians and of their ratios."""
    build_rate, plain = (statistics.median(built[name]) for name in ("build", "plain"))
    ours = statistics.median(read["tf.data"])
    lines = [
        "| | a second | ratio | wanted |",
        "|---|--:|--:|--:|",
        f"| build_voc, photos | {build_rate:.0f} | {build_rate / plain:.2f} | 0.9 |",
        f"| plain TFRecordWriter, photos | {plain:.0f} | 1 | |",
    ]
    if "DataLoader" in read:
        theirs = statistics.median(read["DataLoader"])
        lines += [
            f"| episodes, tf.data | {ours:.1f} | {ours / theirs:.2f} | 2 |",
            f"| episodes, PyTorch DataLoader, 2 workers | {theirs:.1f} | 1 | |",
        ]
    else:
        lines += [f"| episodes, tf.data | {ours:.1f} | PyTorch is not installed | |"]
    return "\n".join(lines)


def define_flags():
    flags.DEFINE_string("records", None, "Folder of records to read.", required=True)
    flags.DEFINE_string("voc_dir", None, "The photos they were made of.", required=True)
    flags.DEFINE_integer("image_size", 321, "Side of an episode's photos, px.")
    flags.DEFINE_integer("photos", 300, "Photos that are built, a round.", 1)
    flags.DEFINE_integer("batches", 10, "Batches of 4 episodes that are read, a round.", 1)
    flags.DEFINE_integer("rounds", 3, "Of every kind, in turn.", 1)


def main():
    args = flags.FLAGS
    voc = build_voc.find_voc(args.voc_dir)
    index = records.load_index(args.records)
    read = reading(index, voc, args.image_size, args.batches, args.rounds)
    built = building(build_voc.list_pairs(voc)["train"][: args.photos], args.rounds)
    print(
        f"{args.photos} photos, {args.image_size} px, medians of {args.rounds} rounds; "
        f"TensorFlow {tf.__version__}, Python {platform.python_version()}\n\n"
        f"{table(built, read)}"
    )


if __name__ == "__main__":
    define_flags()
    cli.run(main)
