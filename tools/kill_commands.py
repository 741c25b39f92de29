"""The commands that tools/kill_campaign.py disturbs, the data they get, and what two of their
results have in common."""

import hashlib
import json
import pathlib
import re
import zipfile
from typing import NamedTuple

TINY = (
    "--backbone=tiny --backbone_weights=none --train_backbone --image_size=33 --channels=8 "
    "--global_kernel=3 --aspp_rates=1,2 --refine_steps=2 --fold=1 --batch_size=2 --ema=0.9 "
    "--steps_per_epoch=2 --steps=6 --val_episodes=1 --optimizer=adamw --dropout=0.3"
).split()
EXAMPLE = ["--support={data}/cup/1.png", "--support_mask={data}/cup/1_mask.png"]
NETWORK = "--checkpoint={data}/best.keras"
RECORDS = "--records={data}/records"


class Command(NamedTuple):
    """A command of `crnet`.

    Attributes:
        words: its name. flags: with {data}, the folder of `write_data`.
        out: what it writes, in the folder of a trial.
        partial: files of all photos; after an error they hold those that were done.
        again: whether a finished result may be written over.
    """

    words: str
    flags: list[str]
    out: str = "out"
    partial: tuple[str, ...] = ()
    again: bool = True


COMMANDS = [
    Command("build voc", ["--voc_dir={data}/VOC", "--overwrite"]),
    Command("build coco", ["--coco_dir={data}/coco", "--overwrite"]),
    Command("build folder", ["--source={data}/folders", "--overwrite"]),
    Command("build demo", ["--photos=60", "--overwrite"]),
    Command(
        "build episodes", [RECORDS, "--fold=1", "--episodes=6", "--tfrecords", "--overwrite"]
    ),
    Command("pack-photos", [RECORDS, "--part_mb=0.1"]),
    Command("train", [*TINY, RECORDS]),
    Command("calibrate", [NETWORK, RECORDS, "--episodes=3"], "out.keras"),
    Command("compact", [NETWORK], "out.keras"),
    Command("evaluate", [NETWORK, RECORDS, "--episodes=3"]),
    Command(
        "predict",
        [
            NETWORK, *EXAMPLE, "--query={data}/photos", "--engine=litert",
            "--format=png,folders,coco,labelme,labelstudio,yolo,voc",
        ],
        partial=("photos.csv", "*.json", "*.yaml", "*.csv", "*.txt"),
    ),
    Command("export saved-model", [NETWORK], again=False),
    Command("export tflite", [NETWORK, "--support_dir={data}/cup"], again=False),
    Command("export onnx", [NETWORK, "--support_dir={data}/cup"], again=False),
    Command("teach", [NETWORK, "--support_dir={data}/cup"], again=False),
]  # fmt: skip


def write_data(data: pathlib.Path) -> None:
    """Photos, masks, records and a tiny checkpoint. Computes: to be called in a fork."""
    import dataclasses

    from helpers import coco_files, networks, own_photos, voc

    from crnet_tf.images.png_files import write_png
    from pipelines.build_voc import build_voc

    voc.write_voc(data / "VOC", 40, 20)
    coco_files.write_coco(data / "coco")
    own_photos.write_folders(data / "folders", 8)
    build_voc(data / "VOC", data / "records")
    network = networks.with_prototypes()
    network.config = dataclasses.replace(network.config, dataset="pascal5i", refine_steps=1)
    network.save(data / "best.keras")
    for folder, numbers in (("cup", [1]), ("photos", range(2, 8))):
        (data / folder).mkdir()
        for number in numbers:
            photo = networks.photo(number)
            write_png(data / folder / f"{number}.png", photo.image)
            if folder == "cup":
                write_png(data / folder / f"{number}_mask.png", photo.mask)


# === What is the same in two results ===

# All of one length.
_DATES = re.compile(rb"\d{4}-\d\d-\d\d[T@ ]\d\d:\d\d:\d\d(\+00:00)?")
_SESSIONS = {"sessions", "seconds", "started", "exported"}
# TensorBoard's files are appended to, a file a session; a fingerprint has a random id in it.
_UNLIKE = {"logs", "fingerprint.pb"}


def states(folder: pathlib.Path) -> dict[str, str]:
    """{path in a folder: digest of what it means} of the files that readers look at."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and not _UNLIKE.intersection(name.parts):
            found[str(name)] = state(path, name)
    return found


def state(path: pathlib.Path, name: pathlib.Path) -> str:
    """Digest of a file that is, or will be, called `name`: equal where two runs of a command
    gave the same. Of a damaged file, one that no other has."""
    read = _MEANINGS.get(name.name, _MEANINGS.get(name.suffix, pathlib.Path.read_bytes))
    try:
        content = read(path)
    except Exception as error:
        content = f"unreadable: {error} {path.read_bytes()}".encode()
    return hashlib.sha256(content).hexdigest()[:16]


def _keras(path):
    """All members but `metadata.json`, which is a date; of an `epochs`, too."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(set(archive.namelist()) - {"metadata.json"})
        return b"".join(name.encode() + archive.read(name) for name in names)


def _onnx(path):
    """Operations and weights: tf2onnx counts its names in an order of its own."""
    import onnx

    graph = onnx.load(path).graph
    parts = [weights.raw_data for weights in graph.initializer]
    parts += [node.op_type.encode() for node in graph.node]
    parts += [value.SerializeToString() for value in (*graph.input, *graph.output)]
    return b"|".join(sorted(parts))


def _report(path):
    """JSON without what tells one session from another."""
    return json.dumps(_without_sessions(json.loads(_dated(path)))).encode()


def _without_sessions(value):
    if isinstance(value, dict):
        return {k: _without_sessions(v) for k, v in value.items() if k not in _SESSIONS}
    return [_without_sessions(v) for v in value] if isinstance(value, list) else value


def _dated(path):
    return _DATES.sub(b"DATE", path.read_bytes())


def _page(path):
    """A page without its dates and durations."""
    return re.sub(rb"\d+ h \d+ min \d+ s", b"TIME", _dated(path))


_MEANINGS = {
    ".keras": _keras,
    ".onnx": _onnx,
    "run.json": _report,
    "evaluation.json": _report,
    "metadata.json": _report,
    "report.html": _page,
    "saved_model.pb": _dated,
}
