"""What tools/malformed_campaign.py asks: everything that reads a file or a request, and the
faults that it is given."""

import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from helpers import annotation_files, image_readers, networks, own_photos
from helpers.file_mutations import changed_examples, changed_zips, hostile_archives
from helpers.json_mutations import VALUES, mutated
from helpers.live_server import b64, serving, write_sums
from helpers.malformed_images import damaged, well_formed
from helpers.request_mutations import changed_requests
from hypothesis import strategies as st
from PIL import Image

from crnet_tf import Segmenter
from crnet_tf.annotations import class_folders, label_maps
from crnet_tf.common.cli import MISTAKES
from crnet_tf.data import records
from crnet_tf.evaluation import manifest
from crnet_tf.fewshot import learnt_files
from crnet_tf.images.png_files import encode_png
from crnet_tf.network.checkpoint import load_checkpoint
from export.server.served import Served
from pipelines.build_folder import build_folder
from pipelines.checking import verifying
from pipelines.downloading import unpack


@dataclasses.dataclass
class Target:
    """One reader.

    Attributes:
        share: of all cases.
        prepare: writes what it needs into a folder; what it gives is handed to the others.
        cases: prepared -> a strategy of cases.
        ask: (prepared, folder, case) -> whether it was answered. It raises AssertionError for
            an error that is not clear, and nothing else.
    """

    name: str
    share: float
    cases: Callable[[Any], st.SearchStrategy]
    ask: Callable[[Any, pathlib.Path, Any], bool]
    prepare: Callable[[pathlib.Path], Any] = lambda folder: None


def clear(read: Callable, *arguments) -> bool:
    """Whether it reads; its error must be one for the user, and say what to do."""
    try:
        read(*arguments)
    except MISTAKES as error:
        assert any(
            word in str(error) for word in ("expected", "cannot be read", "damaged", "missing")
        ), f"unclear: {type(error).__name__}: {error}"
        return False
    return True


# === Photos and masks ===


def _image_case(_):
    return damaged(well_formed().values()) | st.binary(max_size=200)


def _ask_images(_, folder, content):
    Image.MAX_IMAGE_PIXELS = 50_000  # no file here takes much memory
    return image_readers.check(folder / "a.file", content)


# === Annotations ===


def _annotations(kind, share):
    document, text = annotation_files.DOCUMENTS[kind], annotation_files.text(kind)
    cases = mutated(document).map(_dumped) | VALUES.map(_dumped) | damaged([text])
    if kind == "yolo":
        lines = damaged([annotation_files.YOLO_LINES.encode()])
        cases = st.tuples(cases, st.none()) | st.tuples(st.just(text), lines)
    else:
        cases = st.tuples(cases)
    return Target(
        f"annotations: {kind}",
        share,
        lambda _: cases,
        lambda folder, _, case: annotation_files.check(folder, kind, *case),
        annotation_files.write_photo,
    )


def _dumped(document):
    return json.dumps(document).encode()


def _label_maps(folder):
    images, maps, table = own_photos.write_label_maps(folder, in_colour=True, count=2)
    return images, maps, table, table.read_bytes()


def _ask_table(prepared, _, content):
    images, maps, table, _ = prepared
    table.write_bytes(content)
    return clear(lambda: label_maps.list_photos(images, maps, table))


# === Records ===


class _Records(NamedTuple):
    """Records of a few photos, and what two of their files hold."""

    folder: pathlib.Path
    index: bytes
    shard: pathlib.Path
    serialized: list[bytes]


def _records(folder):
    source = own_photos.write_folders(folder / "in", 3)
    listing = class_folders.list_photos(source)
    made = folder / "records"
    build_folder(listing, class_folders.read_label, made, source="", name="mine")
    shard = min(made.glob("train/*.tfrecord"))
    index = (made / "index.json").read_bytes()
    return _Records(made, index, shard, list(records.stored([str(shard)])))


def _index_cases(made):
    return mutated(json.loads(made.index)).map(_dumped) | damaged([made.index])


def _ask_index(made, _, content):
    (made.folder / "index.json").write_bytes(content)
    return _ask_records(made)


def _shard_cases(made):
    return damaged([made.shard.read_bytes()]) | changed_examples(made.serialized)


def _ask_shard(made, _, content):
    """Bytes of the file, or the records in it."""
    if isinstance(content, bytes):
        made.shard.write_bytes(content)
    else:
        with tf.io.TFRecordWriter(str(made.shard)) as writer:
            for serialized in content:
                writer.write(serialized)
    return _ask_records(made)


def _ask_records(made):
    return clear(_read_records, made.folder) & clear(verifying.verify, made.folder)


def _read_records(folder):
    index = records.load_index(folder)
    archive = manifest.Archive(index, "train", range(1, len(index.class_names) + 1))
    for name in archive.by_name:
        archive.photo(name)


def _manifest(folder):
    entries = [manifest.Entry(n, (f"a{n}", "b"), "c") for n in range(3)]
    manifest.write(folder / "m.jsonl", entries)
    return (folder / "m.jsonl").read_bytes()


def _ask_manifest(_, folder, content):
    (folder / "m.jsonl").write_bytes(content)
    return clear(manifest.read, folder / "m.jsonl")


# === Archives: checkpoints, what a Segmenter learnt, downloads ===


def _checkpoint(folder):
    networks.build(refine_steps=1).save(folder / "right.keras")
    return (folder / "right.keras").read_bytes()


def _learnt(folder):
    (folder / "any.keras").write_bytes(b"looked at by its SHA-256 alone")
    segmenter = Segmenter(folder / "any.keras")
    segmenter.classes = {"cup": [networks.photo(1)]}
    segmenter.save(folder / "right.crnet")
    return (folder / "right.crnet").read_bytes()


def _reader_of_files(read, name):
    def ask(_, folder, content):
        (folder / name).write_bytes(content)
        return clear(read, folder / name)

    return ask


def _ask_unpack(_, folder, content):
    (folder / "a.tar").write_bytes(content)
    out = folder / "below" / "out"
    shutil.rmtree(folder / "below", ignore_errors=True)
    out.mkdir(parents=True)
    answered = clear(unpack.unpack, folder / "a.tar", out)
    outside = {*folder.iterdir()} - {folder / "a.tar", folder / "below"}
    outside |= {*(folder / "below").iterdir()} - {out}
    assert not outside and not pathlib.Path("/tmp/crnet-escaped").exists(), outside
    return answered


# === Requests ===


def _server(folder):
    """A server of a tiny model (and what keeps it running), and right requests to it."""
    (folder / "sum").mkdir()
    write_sums(folder / "sum", 1)
    stack = contextlib.ExitStack()
    server = stack.enter_context(serving([Served("sum", folder / "sum")], max_request_mb=1.0))
    photo = networks.photo(1)
    labels = b64(encode_png(photo.mask * np.uint8(photo.mask == 1)))
    export = {
        "photos": [{"name": "a.jpg", "labels": labels}], "class_names": ["cup"],
        "formats": ["coco", "folders"], "shapes": "polygons", "instances": False,
    }  # fmt: skip
    requests = [
        ("v1/models/sum:predict", {"inputs": {"x": [[1, 2]], "y": [[3, 4.5]]}}),
        ("v1/models/sum:predict", {"instances": [{"x": [1, 2], "y": [3, 4]}]}),
        ("v1/models/sum:predict", {"inputs": ["text", labels], "signature_name": "echo"}),
        ("grow", {"photo": b64(encode_png(photo.image)), "strokes": labels}),
        ("export", export),
    ]
    for path, body in requests:
        assert server.session.post(f"{server.url}/{path}", json=body).ok, path
    return server, requests, stack


def _request_cases(prepared):
    _, requests, _ = prepared
    texts = [(path, json.dumps(body).encode()) for path, body in requests]
    faulty = [st.tuples(st.just(path), damaged([text])) for path, text in texts]
    return changed_requests(requests) | st.one_of(faulty)


def _ask_server(prepared, _, case):
    (server, *_), (path, text) = prepared, case
    answer = server.session.post(f"{server.url}/{path}", text, timeout=20)
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
    assert answer.ok or answer.json()["error"]
    return answer.ok


TARGETS = [
    Target("photos and masks", 0.25, _image_case, _ask_images),
    _annotations("coco", 0.1),
    _annotations("labelme", 0.1),
    _annotations("labelstudio", 0.1),
    _annotations("yolo", 0.1),
    Target("annotations: colours", 0.03, lambda p: damaged([p[3]]), _ask_table, _label_maps),
    Target("records: index.json", 0.05, _index_cases, _ask_index, _records),
    Target("records: TFRecord, Example", 0.05, _shard_cases, _ask_shard, _records),
    Target("manifests", 0.05, lambda content: damaged([content]), _ask_manifest, _manifest),
    Target(
        "checkpoints", 0.03, changed_zips, _reader_of_files(load_checkpoint, "a.keras"),
        _checkpoint,
    ),
    Target(
        "files of Segmenter.save", 0.04, changed_zips,
        _reader_of_files(learnt_files.read, "a.crnet"), _learnt,
    ),
    Target("downloads", 0.05, lambda _: hostile_archives(), _ask_unpack),
    Target("requests", 0.05, _request_cases, _ask_server, _server),
]  # fmt: skip
