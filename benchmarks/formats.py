"""One checkpoint as SavedModel, TFLite and ONNX: size, speed, memory, and accuracy lost.

    python -m benchmarks.formats --checkpoint=runs/voc1/best.keras --records=records/voc \\
        --episodes=200 --out=runs/formats

Exports every format into `--out` (nothing is exported twice, and exports of another checkpoint
are refused), runs each file in a process of its own (`run_file.py`), and scores all of them on
the same one-shot episodes of unseen classes beside the Keras network. Prints a Markdown table.
"""

import contextlib
import io
import json
import pathlib
import subprocess
import sys
import types
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import flags

from crnet_tf.common import cli
from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.data import records
from crnet_tf.evaluation import draws, manifest, scoring
from crnet_tf.fewshot.learner import Learner
from crnet_tf.network import metrics, model
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.options import Options
from export.graph import signatures
from export.graph.settings import Sizes
from export.package import (
    fixed_size_export,
    metadata,
    onnx,
    saved_model,
    tflite,
)
from export.package.fixed_size_export import Photos
from export.package.fixed_size_files import framed

RUN_FILE = pathlib.Path(__file__).with_name("run_file.py")
COMPARED = 3  # episodes that an export is compared on


class Row(NamedTuple):
    """A format: path and signature of a whole answer, and of one from an encoded support."""

    name: str
    whole: tuple[pathlib.Path, str]
    query: tuple[pathlib.Path, str]


class Answering:
    """A function of supports and query in the place of a `Learner`, for `scoring.evaluate`.

    Attributes:
        answers: probability [S,S] of every query asked for.
    """

    adapted = None
    encoder = types.SimpleNamespace(keep=False)  # no presence

    def __init__(self, learner: Learner, function, sizes: Sizes):
        self.frame, self.restore = learner.frame, learner.restore
        self.function, self.sizes, self.answers = function, sizes, []

    def fit(self, supports, adapted=None):
        self.supports = [framed(photo, self.sizes) for photo in supports]
        return self

    def maps(self, query):
        self.answers.append(self.function(self.supports, framed(query, self.sizes)))
        return [self.answers[-1][None]]


def keras_answer(learner: Learner):
    """Framed supports and query -> probability [S,S] of the Keras network."""
    return lambda supports, query: learner.fit(supports).maps(query)[0][-1]


def file_answer(row: Row):
    """The same of an exported file."""
    path, signature = row.whole
    if path.is_dir():
        loaded = tf.saved_model.load(str(path))
        function = loaded.signatures[signature]
    else:
        load = tflite.load if path.suffix == ".tflite" else onnx.load
        loaded = function = load(path.read_bytes())

    def answer(supports, query):
        given = inputs(supports, query)
        if path.is_dir():
            given = {name: tf.constant(value) for name, value in given.items()}
        return np.asarray(function(**given)["probability"])[0]

    answer.loaded = loaded  # signatures do not keep their model alive
    return answer


def inputs(supports, query) -> dict:
    """Arrays of framed photos, by the names of the signatures."""
    return {
        "support_image": np.stack([photo.image for photo in supports]),
        "support_mask": np.stack([photo.mask for photo in supports]),
        "query_image": query.image[None],
    }


def export(args, network, index) -> list[Row]:
    """Every format in a folder of its own under --out, made where it is not there.

    Raises:
        ValueError: see `is_exported`.
    """
    held_out = manifest.Archive(index, "val", draws.chosen_classes(network, index, "base"))
    drawn = manifest.draw(held_out, 1, COMPARED, seed=1)
    pairs = [scoring.photos_of(held_out, entry) for entry in drawn]
    supports, queries = pairs[0][0], [query for _, query in pairs]
    photos = Photos({}, supports, queries, args.records, args.representatives)
    out = pathlib.Path(args.out)
    saved = out / "saved_model" / "1"
    if not is_exported(saved, args.checkpoint):
        exact = Options(kshot="mean")
        saved_model.export(
            args.checkpoint, saved.parent, options=exact, examples=(supports, queries)
        )
    rows = [Row("SavedModel", (saved, "serving_default"), (saved, "segment_with_support"))]
    for runtime, kind in (
        *(("TFLite", kind) for kind in tflite.FORMATS.values()),
        ("ONNX", onnx.FORMAT),
    ):
        folder = out / f"{runtime}-{kind.name}" / "1"
        if not is_exported(folder, args.checkpoint):
            fixed_size_export.export(args.checkpoint, folder.parent, [kind], photos=photos)
        whole, query = (
            (folder / f"{graph}-{kind.name}{kind.suffix}", graph)
            for graph in (signatures.WHOLE, signatures.QUERY)
        )
        rows.append(Row(f"{runtime} {kind.name}", whole, query))
    return rows


def is_exported(folder: pathlib.Path, checkpoint: str) -> bool:
    """Whether a version folder is there.

    Raises:
        ValueError: it was made of another checkpoint.
    """
    if not folder.exists():
        return False
    (path,) = folder.glob(f"**/{metadata.FILE.name}")
    found = json.loads(path.read_text())["checkpoint"]
    expected = metadata.sha256(checkpoint)
    if found["sha256"] != expected:
        raise InputError(
            f"{folder}: expected an export of {checkpoint} (sha256 {expected[:12]}), received "
            f"one of {found['name']} ({found['sha256'][:12]}). Give another --out, or remove "
            "that folder."
        )
    return True


def measured(row: Row, given: dict, args) -> dict:
    """What `run_file.py` says of both: {"whole": ..., "query": ...}."""
    said = {}
    for part, (path, signature) in (("whole", row.whole), ("query", row.query)):
        command = [
            sys.executable,
            RUN_FILE,
            path,
            signature,
            given[part],
            args.runs,
            args.threads,
        ]
        answer = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if answer.returncode:
            raise BlockedError(f"{path}: expected it to run, received {answer.stderr[-1000:]}")
        said[part] = json.loads(answer.stdout.splitlines()[-1])
    return said


def scored(learner: Learner, rows: list[Row], archive, entries, sizes: Sizes) -> dict:
    """{name: (mIoU in percent, largest difference of a probability to Keras)}."""
    functions = {"Keras float32": keras_answer(learner)}
    found, first = {}, None
    for name, row in [*functions.items(), *((row.name, row) for row in rows)]:
        print(f"{len(entries)} episodes, {name}", flush=True)
        asked = Answering(learner, row if callable(row) else file_answer(row), sizes)
        totals = scoring.evaluate(asked, archive, entries).totals["crnet"]["crnet"]
        first = first or asked.answers
        gaps = [np.abs(a - b).max() for a, b in zip(asked.answers, first, strict=True)]
        found[name] = 100 * metrics.mean_iou(totals), float(np.max(gaps))
    return found


def runs_on_gpu(path: pathlib.Path) -> str:
    """What TFLite's analyzer says of the GPU delegate."""
    if path.suffix != ".tflite":
        return "-"
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        tf.lite.experimental.Analyzer.analyze(model_path=str(path), gpu_compatibility=True)
    return "yes" if "looks compatible with GPU delegate" in said.getvalue() else "in part"


def megabytes(path: pathlib.Path) -> float:
    """Size of a file, or of all files of a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def table(rows: list[Row], said: dict, found: dict) -> str:
    """Markdown of what `measured` and `scored` say of every row."""
    base, _ = found["Keras float32"]
    lines = [
        "| format | whole, MB | query, MB | whole, ms (p95) | query, ms (p95) | peak MiB "
        "| largest difference | mIoU | lost | GPU delegate |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
        f"| Keras float32 | | | | | | | {base:.1f} | | |",
    ]
    for row in rows:
        whole, query = said[row.name]["whole"], said[row.name]["query"]
        miou, gap = found[row.name]
        lines.append(
            f"| {row.name} | {megabytes(row.whole[0]):.1f} | {megabytes(row.query[0]):.1f} "
            f"| {whole['median']:.1f} ({whole['p95']:.1f}) "
            f"| {query['median']:.1f} ({query['p95']:.1f}) | {query['peak_mib']:.0f} "
            f"| {gap:.1e} | {miou:.1f} | {base - miou:+.2f} | {runs_on_gpu(row.query[0])} |"
        )
    return "\n".join(lines)


def prepared(learner, rows, archive, entry, sizes, out) -> dict:
    """Files of inputs of the first episode: {"whole": path, "query": path}."""
    supports, query = scoring.photos_of(archive, entry)
    supports = [framed(photo, sizes) for photo in supports]
    given = inputs(supports, framed(query, sizes))
    encode = tf.saved_model.load(str(rows[0].whole[0])).signatures["encode_support"]
    names = "support_image", "support_mask"
    state = encode(**{name: tf.constant(given[name]) for name in names})
    paths = {part: pathlib.Path(out) / f"{part}.npz" for part in ("whole", "query")}
    np.savez(paths["whole"], **given)
    np.savez(paths["query"], query_image=given["query_image"], **state)
    return paths


def define_flags():
    flags.DEFINE_string("checkpoint", None, "A .keras file written by training.", required=True)
    flags.DEFINE_string("records", None, "Folder of records with index.json.", required=True)
    flags.DEFINE_string(
        "out", None, "Folder of the exports; those there are used.", required=True
    )
    flags.DEFINE_integer("episodes", 200, "One-shot episodes scored.", lower_bound=1)
    flags.DEFINE_integer("representatives", 100, "Episodes int8 is calibrated on.", 1)
    flags.DEFINE_integer("runs", 30, "Timed calls of every file.", lower_bound=1)
    flags.DEFINE_integer("threads", 2, "Threads of every runtime.", lower_bound=1)


def main():
    args = flags.FLAGS
    network = model.in_float32(load_checkpoint(args.checkpoint))
    index, sizes = records.load_index(args.records), Sizes().of(network)
    rows, learner = export(args, network, index), Learner(network)
    archive = manifest.Archive(index, "val", index.test_classes(network.config.fold))
    entries = manifest.draw(archive, 1, args.episodes, seed=0)
    given = prepared(learner, rows, archive, entries[0], sizes, args.out)
    said = {row.name: measured(row, given, args) for row in rows}
    found = scored(learner, rows, archive, entries, sizes)
    config = network.config
    print(
        f"\n{config.backbone}, {config.image_size} px, {config.channels} channels; "
        f"{args.threads} threads, {args.runs} calls; {args.episodes} episodes, manifest "
        f"{manifest.sha256(entries)[:12]}\n\n{table(rows, said, found)}"
    )


if __name__ == "__main__":
    cli.run(main, define_flags)
