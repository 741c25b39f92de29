"""Small files that would become large or slow: each must be answered or refused soon, in little
memory. Part of tools/malformed_campaign.py."""

import io
import json
import math
import pathlib
import resource
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

from helpers import annotation_files, malformed_images
from helpers.annotation_files import SIZE
from helpers.forks import in_fork, resident

from crnet_tf.common.cli import MISTAKES
from crnet_tf.data.index import load_index
from crnet_tf.evaluation import manifest
from crnet_tf.fewshot import learnt_files
from crnet_tf.images import photos
from crnet_tf.network.checkpoint import load_checkpoint
from export.server import tensors
from pipelines.downloading import unpack

MANY, GIGABYTE = 10**6, 10**9
# Of CPU and of memory; and beside, for what reading a large file takes whatever is in it.
MOST_S, MOST_S_A_MB = 1.0, 0.1
MOST_BYTES, MOST_BYTES_A_BYTE = 200 * 2**20, 10


class Bomb(NamedTuple):
    """Content of a file, made only when it is needed, and what reads the file."""

    name: str
    content: Callable[[], bytes]
    read: Callable[[pathlib.Path], object]


# === Contents ===


def _wide_png():
    return malformed_images.png(20_000, 20_000, malformed_images.zipped(20_000 * 20_001))


def _long_text_png():
    content = malformed_images.well_formed()["rgb.png"]
    return malformed_images.with_chunk(content, b"zTXt", b"a\0\0" + _zeros())


def _zeros():
    """A gigabyte of zeros, deflated."""
    packer, block = zlib.compressobj(9), bytes(10**7)
    return b"".join([packer.compress(block) for _ in range(100)] + [packer.flush()])


def _nested():
    return b"[" * MANY


def _circle(scale):
    steps = (i * 2 * math.pi / MANY for i in range(MANY))
    return [scale * (0.5 + 0.4 * f(step)) for step in steps for f in (math.cos, math.sin)]


def _coco(segmentation):
    one = {"id": 1, "image_id": 7, "category_id": 1, "iscrowd": 0}
    annotations = [one | {"segmentation": segmentation()}]
    return json.dumps(annotation_files.COCO | {"annotations": annotations}).encode()


def _labelme():
    flat = _circle(10)
    points = [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
    shape = {"label": "cat", "shape_type": "polygon", "points": points}
    return json.dumps(annotation_files.LABELME | {"shapes": [shape]}).encode()


def _studio(value, **size):
    at = {"original_height": SIZE[0], "original_width": SIZE[1]} | size
    result = [{"type": "brushlabels", **at, "value": {"brushlabels": ["cat"], **value}}]
    task = {"data": annotation_files.STUDIO[0]["data"], "annotations": [{"result": result}]}
    return json.dumps([task]).encode()


def _studio_points():
    flat = _circle(100)
    return _studio({"points": list(zip(flat[::2], flat[1::2], strict=True))})


def _studio_strokes():
    """A stroke on 15,000 x 15,000 px in blocks of 2^16 equal values."""
    count = 15_000 * 15_000 * 4
    bits = f"{count:032b}" + "00111" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    bits += ("111" + "1" * 16 + "1" * 8) * (count // 2**16 + 1)
    bits += "0" * (-len(bits) % 8)
    rle = list(int(bits, 2).to_bytes(len(bits) // 8))
    return _studio({"rle": rle}, original_height=15_000, original_width=15_000)


def _yaml():
    """Lists of lists that name one another: 10^9 names in a few lines."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for i in range(1, 9):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]")
    return "\n".join([*lines, "names: *a8", "train: ."]).encode()


def _zip(*names):
    """An archive whose members are of a gigabyte each."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            with archive.open(name, "w", force_zip64=True) as member:
                for _ in range(100):
                    member.write(bytes(10**7))
    return buffer.getvalue()


def _many_members():
    """10^6 empty files, as their list alone says: 46 bytes each."""
    entry = b"PK\1\2" + struct.pack("<6H3I5H2I", *[20, 20, 0, 0, 0, 33], *[0] * 3, 1, *[0] * 6)
    size = MANY * (len(entry) + 1)
    end64 = b"PK\6\6" + struct.pack("<Q2H2I4Q", 44, 45, 45, 0, 0, MANY, MANY, size, 0)
    locator = b"PK\6\7" + struct.pack("<IQI", 0, size, 1)
    end = b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return (entry + b"a") * MANY + end64 + locator + end


# === Readers ===


def _annotations(kind):
    def read(path):
        annotation_files.write_photo(path.parent)
        content = path.read_bytes()
        return annotation_files.read(path.parent, kind, content)

    return read


def _yolo_lines(path):
    annotation_files.write_photo(path.parent)
    right = json.dumps(annotation_files.YOLO).encode()
    return annotation_files.read(path.parent, "yolo", right, path.read_bytes())


def _index(path):
    return load_index(path.rename(path.with_name("index.json")).parent)


def _request(path):
    return tensors.read(path.read_bytes(), max_values=2**23)


def _unpacked(path):
    out = path.with_name("out")
    out.mkdir()
    return unpack.unpack(path, out)


BOMBS = [
    Bomb("PNG of 20,000 x 20,000 px", _wide_png, photos.read_photo),
    Bomb("PNG with a text of 1 GB", _long_text_png, photos.read_photo),
    *(
        Bomb(f"10^6 brackets: {kind}", _nested, _annotations(kind))
        for kind in annotation_files.DOCUMENTS
    ),
    Bomb("10^6 brackets: index.json", _nested, _index),
    Bomb("10^6 brackets: manifest", _nested, manifest.read),
    Bomb("10^6 brackets: request", _nested, _request),
    Bomb("10^6 corners: coco", lambda: _coco(lambda: [_circle(10)]), _annotations("coco")),
    Bomb("10^6 corners: labelme", _labelme, _annotations("labelme")),
    Bomb("10^6 corners: labelstudio", _studio_points, _annotations("labelstudio")),
    Bomb("10^6 corners: yolo", lambda: ("0 " + " ".join(map(str, _circle(1)))).encode(),
         _yolo_lines),
    Bomb(
        "run lengths of 10^10 px: coco",
        lambda: _coco(lambda: {"size": [10**5, 10**5], "counts": [0, 10**10]}),
        _annotations("coco"),
    ),
    Bomb("strokes on 15,000 x 15,000 px", _studio_strokes, _annotations("labelstudio")),
    Bomb("YAML of 10^9 names", _yaml, _annotations("yolo")),
    Bomb("checkpoint with members of 1 GB",
         lambda: _zip("metadata.json", "config.json", "model.weights.h5"), load_checkpoint),
    Bomb("file of Segmenter.save with 1 GB", lambda: _zip("learnt.json"), learnt_files.read),
    Bomb("ZIP of 1 GB to unpack", lambda: _zip("a"), _unpacked),
    Bomb("ZIP of 10^6 files to unpack", _many_members, _unpacked),
    Bomb("request of 10^6 numbers", lambda: json.dumps({"inputs": [1.5] * MANY}).encode(),
         _request),
]  # fmt: skip


def _write(bomb, path):
    path.write_bytes(bomb.content())


def _measure(bomb, path):
    """In the fork: prints how it ended, its seconds of CPU and the memory it took."""
    before, started = resident(), time.process_time()
    try:
        outcome = "refused: no photo" if bomb.read(path) == [] else "answered"
    except MISTAKES as error:
        outcome = f"refused: {error}"[:150].replace(str(path), "FILE")
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([outcome, seconds, max(0, peak - before)]))


def explode(bomb: Bomb) -> dict:
    """What came of a bomb: outcome, seconds, bytes, and whether that was a fault."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "bomb.keras")
        in_fork(_write, bomb, path)
        size = path.stat().st_size
        ended = in_fork(_measure, bomb, path, kill_after=600)
    lines = [line for line in ended.output.splitlines() if line.startswith("[")]
    if ended.status or not lines:
        outcome = f"ended with {ended.status}: {ended.output.strip()[-300:]}"
        return {"name": bomb.name, "size": size, "outcome": outcome, "seconds": ended.seconds,
                "bytes": ended.peak, "fault": True}  # fmt: skip
    outcome, seconds, used = json.loads(lines[-1])
    most_s, most_bytes = (
        MOST_S + MOST_S_A_MB * size / 1e6,
        MOST_BYTES + MOST_BYTES_A_BYTE * size,
    )
    fault = seconds > most_s or used > most_bytes
    return {"name": bomb.name, "size": size, "outcome": outcome, "seconds": seconds,
            "bytes": used, "fault": fault}  # fmt: skip


def table(rows: list[dict]) -> str:
    """Markdown."""
    lines = [
        "| bomb | file, kB | outcome | CPU, s | memory, MiB | fault |",
        "|---|--:|---|--:|--:|---|",
    ]
    for row in rows:
        outcome = row["outcome"].partition(":")[0]
        lines.append(
            f"| {row['name']} | {row['size'] / 1e3:.0f} | {outcome} | {row['seconds']:.2f} | "
            f"{row['bytes'] / 2**20:.0f} | {'yes' if row['fault'] else ''} |"
        )
    return "\n".join(lines)
