"""Photos a second of building records and of reading episodes, beside plain ways of doing so.

    python -m benchmarks.data --records=records/voc --voc_dir=VOCdevkit/VOC2012

Building: every builder on the same `--photos` photos, each against a loop that reads photos and
finished label maps and hands them to tf.io.TFRecordWriter unchecked. Reading: one-shot training
episodes, decoded, flipped, scaled, cropped and batched, against a PyTorch DataLoader of two
workers that does the same to the same photos with Pillow. All take turns in one run; the
figures are medians. PyTorch is no dependency: without it that row is left out.
"""

import contextlib
import importlib.util
import os
import pathlib
import platform
import shutil
import statistics
import tempfile

import tensorflow as tf
from absl import flags

from benchmarks import builders, timing, torch_episodes
from crnet_tf.common import cli
from crnet_tf.data import episodes, records
from pipelines.sources import voc as voc_source

FOLD = 1


def listed_classes(index: records.Index) -> dict:
    """{photo id: class ids it is listed under} of the training split."""
    listed = {}
    for class_id in map(int, index.splits["train"]["classes"]):
        for data in tf.data.TFRecordDataset(index.files("train", class_id)).as_numpy_iterator():
            listed.setdefault(records.filename(data), []).append(class_id)
    return listed


def building(pairs, rounds: int) -> dict:
    """{builder: ([photos/s a round], [those of the plain loop])}, in turn."""
    rates = {}
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        work = pathlib.Path(folder)
        with contextlib.redirect_stderr(nowhere):  # progress
            for case in builders.cases(pairs, work / "in"):
                rates[case.name] = _build_in_turn(case, work, rounds)
    return rates


def _build_in_turn(case, work, rounds):
    index = case.build(work / "first")
    given = builders.sources(index, case, work / "labels")
    rates = [], []
    for _ in range(rounds):
        for rate, function in zip(
            rates, (case.build, lambda out: builders.write_plainly(given, out)), strict=True
        ):
            rate.append(len(given) / timing.seconds(function, work / "timed"))
            shutil.rmtree(work / "timed")
    for name in ("first", "labels"):
        shutil.rmtree(work / name)
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
        # Batches that a stream has read ahead while the others ran are few of so many.
        for name, stream in streams.items():
            rates[name].append(4 * batches / timing.seconds(_take, stream, batches))
    return rates


def _take(stream, count):
    for _ in range(count):
        next(stream)


def table(built: dict, read: dict) -> str:
    """Two tables in Markdown, of medians and of their ratios."""
    lines = [
        "| builder | photos a second | plain TFRecordWriter | ratio, wanted 0.9 |",
        "|---|--:|--:|--:|",
    ]
    for name, rates in built.items():
        rate, plain = map(statistics.median, rates)
        lines.append(f"| {name} | {rate:.0f} | {plain:.0f} | {rate / plain:.2f} |")
    ours = statistics.median(read["tf.data"])
    lines += ["", "| reading | episodes a second | ratio, wanted 2 |", "|---|--:|--:|"]
    if "DataLoader" not in read:
        return "\n".join([*lines, f"| tf.data | {ours:.1f} | PyTorch is not installed |"])
    theirs = statistics.median(read["DataLoader"])
    lines.append(f"| tf.data | {ours:.1f} | {ours / theirs:.2f} |")
    lines.append(f"| PyTorch DataLoader, 2 workers | {theirs:.1f} | 1 |")
    return "\n".join(lines)


def define_flags():
    flags.DEFINE_string("records", None, "Folder of records to read.", required=True)
    flags.DEFINE_string("voc_dir", None, "The photos they were made of.", required=True)
    flags.DEFINE_integer("image_size", 321, "Side of an episode's photos, px.")
    flags.DEFINE_integer("photos", 300, "Photos that are built, a round.", 1)
    flags.DEFINE_integer("batches", 60, "Batches of 4 episodes that are read, a round.", 1)
    flags.DEFINE_integer("rounds", 3, "Of every kind, in turn.", 1)


def main():
    args = flags.FLAGS
    voc = voc_source.find_voc(pathlib.Path(args.voc_dir).resolve())  # photos are linked to
    index = records.load_index(args.records)
    read = reading(index, voc, args.image_size, args.batches, args.rounds)
    listed = voc_source.list_photos(voc)["train"][: args.photos]
    built = building([(photo.path, photo.label) for photo in listed], args.rounds)
    print(
        f"{args.photos} photos, {args.image_size} px, medians of {args.rounds} rounds; "
        f"TensorFlow {tf.__version__}, Python {platform.python_version()}\n\n"
        f"{table(built, read)}"
    )


if __name__ == "__main__":
    cli.run(main, define_flags)
