"""The client against a server of this process that runs really exported models.

Over gRPC the server is built of tensorflow-serving-api's own services; over REST it speaks the
JSON that TF Serving documents. Both can be told to refuse, die or keep silent first.
"""

import csv
import io
import json
import threading
import time
import types

import numpy as np
import pytest
from helpers import commands, serving_double
from helpers.networks import photo
from helpers.serving_double import Refused, Served
from PIL import Image

from crnet_tf import predict
from crnet_tf.annotations import writing
from crnet_tf.annotations.answers import PhotoAnswer
from crnet_tf.common.cli import MISTAKES
from crnet_tf.images import label_files, photos
from crnet_tf.images.png_files import encode_png, write_png
from export.client import __main__, errors, over_rest
from export.client.errors import TOO_LARGE, RemoteError
from export.client.folder import upright_file
from export.client.segmenter import RemoteSegmenter
from export.client.server import Server
from export.client.target import Target

CRNET = Target("crnet")
SUPPORTS = [photo(1), photo(2)]
QUERY = encode_png(photo(4).image)


@pytest.fixture(scope="module")
def few_shot(exports):
    return Served("crnet", {1: exports.few_shot, 2: exports.few_shot})


@pytest.fixture(scope="module")
def taught(exports):
    return Served("things", {1: exports.taught})


@pytest.fixture(autouse=True)
def fresh(few_shot, taught):
    for served in (few_shot, taught):
        served.troubles.clear()
        served.asked.clear()
        served.labels, served.available = {}, set(served.loaded)


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Seconds that retries would have waited."""
    found = []
    clock = types.SimpleNamespace(sleep=found.append, monotonic=time.monotonic)
    monkeypatch.setattr(errors, "time", clock)
    return found


@pytest.fixture(params=["over_grpc", "over_rest"])
def over(request):
    return getattr(serving_double, request.param)


@pytest.fixture
def address(over, few_shot):
    with over(few_shot) as (name, _):
        yield name


@pytest.fixture
def server(address):
    with Server(address, deadline=60) as connected:
        yield connected


@pytest.fixture
def segmenter(server):
    files = [encode_png(one.image) for one in SUPPORTS]
    return RemoteSegmenter(server, CRNET, files, [one.mask for one in SUPPORTS])


# === A folder of photos ===


@pytest.fixture
def folder(tmp_path):
    """A support, and queries of several kinds, one turned by EXIF and one no photo."""
    queries = tmp_path / "queries"
    queries.mkdir()
    write_png(tmp_path / "a.png", SUPPORTS[0].image)
    write_png(tmp_path / "a_mask.png", SUPPORTS[0].mask)
    turned = Image.fromarray(photo(5).image)
    turned.getexif()[0x0112] = 6
    turned.save(queries / "turned.jpg", quality=95, exif=turned.getexif())
    Image.fromarray(photo(6).image).save(queries / "wide.jpg", quality=95)
    write_png(queries / "small.png", photo(7, 33, 21).image)
    (queries / "notes.txt").write_text("no photo")
    return tmp_path


def run(folder, address, *more, out="found"):
    commands.run(
        __main__,
        f"--server={address}",
        f"--query={folder / 'queries'}",
        f"--out={folder / out}",
        *more,
    )


def supports_of(folder):
    return f"--support={folder / 'a.png'}", f"--support_mask={folder / 'a_mask.png'}"


def table(out):
    return list(csv.reader((out / "photos.csv").read_text().splitlines()))


def test_a_folder_gets_the_files_that_predict_writes(
    folder, address, few_shot, exports, capsys
):
    run(folder, address, *supports_of(folder))
    assert f"Skipped {folder / 'queries' / 'notes.txt'}" in capsys.readouterr().out
    commands.run(
        predict,
        f"--checkpoint={exports.checkpoint}",
        "--refine_steps=1",
        f"--query={folder / 'queries'}",
        f"--out={folder / 'expected'}",
        *supports_of(folder),
    )
    expected = {path.name for path in (folder / "expected").iterdir()} - {"panel.png"}
    assert {path.name for path in (folder / "found").iterdir()} == expected
    for name in expected - {"photos.csv"}:
        found, wanted = (photos.read_photo(folder / d / name) for d in ("found", "expected"))
        assert found.shape == wanted.shape
        gap = np.abs(found.astype(int) - wanted)
        # A level may round the other way, and with it a pixel at the threshold.
        assert gap.max() <= 1 if "probability" in name else np.mean(gap > 0) < 0.01
    rows = [table(folder / d) for d in ("found", "expected")]
    assert rows[0][0] == rows[1][0] and len(rows[0]) == 4
    for found, wanted in zip(rows[0][1:], rows[1][1:], strict=True):
        assert found[0] == wanted[0]
        np.testing.assert_allclose(np.float64(found[1:]), np.float64(wanted[1:]), atol=0.01)
    signatures = [signature for _, signature in few_shot.asked]
    assert signatures.count("encode_support_encoded") == 1
    assert signatures.count("segment_encoded_with_support") == 3


def test_photos_are_sent_upright_and_large_files_are_compressed_fast(folder):
    wide, turned = folder / "queries" / "wide.jpg", folder / "queries" / "turned.jpg"
    assert upright_file(wide) == wide.read_bytes()
    content = upright_file(turned)
    np.testing.assert_array_equal(Image.open(io.BytesIO(content)), photos.read_photo(turned))
    assert deflated_fast(content)
    image, mask = photo(5).image, (photo(5).mask == 1).astype(np.uint8)
    sure = np.float32(mask)[None]
    with writing.results(folder) as written:
        written.add(PhotoAnswer(wide, "a", image, mask, sure, [0.5], ["cup"]))
    for name in ("a_overlay", "a_probability"):
        assert deflated_fast((folder / f"{name}.png").read_bytes())


def deflated_fast(content):
    """By the level in the head of the data of a PNG file."""
    return content[content.index(b"IDAT") + 5] >> 6 == 0


def test_a_taught_model_needs_no_supports(folder, over, taught):
    with over(taught) as (address, _):
        run(folder, address, "--model=things", "--format=png,coco")
    found = folder / "found"
    categories = json.loads((found / "coco.json").read_text())["categories"]
    assert categories == [{"id": 1, "name": "cup"}, {"id": 2, "name": "mug"}]
    assert json.loads((found / "classes.json").read_text()) == {"1": "cup", "2": "mug"}
    rows = table(found)
    assert rows[0] == ["photo", "presence of cup", "presence of mug"]
    assert [row[0] for row in rows[1:]] == ["small.png", "turned.jpg", "wide.jpg"]
    assert label_files.read_label(found / "turned_classes.png").shape == (52, 40)
    values = set(np.unique(label_files.read_label(found / "wide_classes.png")))
    assert values <= {0, 1, 2} and values & {1, 2}
    assert (found / "wide_overlay.png").exists()


def test_classes_are_numbered_where_the_server_cannot_tell_their_names(
    folder, over, taught, monkeypatch
):
    """A batching TF Serving refuses requests without inputs."""
    predict_before = taught.predict

    def batching(version, signature, inputs):
        if not inputs:
            raise Refused(
                "INVALID_ARGUMENT", "Batching Run() must have at least one input tensor"
            )
        return predict_before(version, signature, inputs)

    monkeypatch.setattr(taught, "predict", batching)
    with over(taught) as (address, _):
        run(folder, address, "--model=things")
    legend = json.loads((folder / "found" / "classes.json").read_text())
    assert legend == {"1": "class 1", "2": "class 2"}


def test_a_photo_that_the_server_refuses_is_skipped_and_named(
    folder, address, few_shot, capsys
):
    few_shot.troubles.extend([lambda: None] * 2)  # names and the supports
    few_shot.troubles.append(Refused("INVALID_ARGUMENT", "at most 9 pixels"))
    run(folder, address, "--concurrency=1", *supports_of(folder))
    assert "small.png: " in (said := capsys.readouterr().out) and "at most 9 pixels" in said
    assert not (folder / "found" / "small_mask.png").exists()
    assert (folder / "found" / "wide_mask.png").exists()


def test_a_server_that_goes_ends_the_run(folder, address, few_shot):
    few_shot.troubles.extend([lambda: None] * 3)  # names, the supports and a photo
    few_shot.troubles.extend([Refused("INTERNAL", "out of memory")] * 9)
    with pytest.raises(RemoteError, match="INTERNAL: out of memory") as caught:
        run(folder, address, *supports_of(folder), "--concurrency=1")
    assert isinstance(caught.value, MISTAKES)
    # What was answered before is told.
    assert (
        len(table(folder / "found")[1:])
        == 1
        == len(list((folder / "found").glob("*_mask.png")))
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--query="], "Expected --query, --out"),
        (["--support=a.png"], "as many --support_mask as --support, received .* 0 and 1 files"),
        (["--version=1", "--label=stable"], "expected a version or a label, received both"),
        (["--query=nowhere"], "expected a photo or a folder"),
    ],
)
def test_wrong_arguments_are_named(folder, arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        run(folder, "127.0.0.1:1", *arguments)
    assert isinstance(caught.value, MISTAKES) and not (folder / "found").exists()


def test_supports_are_for_few_shot_models_and_for_no_others(server, over, taught):
    with pytest.raises(ValueError, match="expected labelled photos"):
        RemoteSegmenter(server, CRNET)
    with pytest.raises(ValueError, match="received 1 photos and 0 masks"):
        RemoteSegmenter(server, CRNET, [QUERY])
    with over(taught) as (address, _), Server(address) as other:
        with pytest.raises(ValueError, match="expected no supports"):
            RemoteSegmenter(other, Target("things"), [QUERY], [SUPPORTS[0].mask])


# === Answers ===


def test_photos_of_a_request_may_differ_in_size(segmenter):
    small = encode_png(photo(7, 33, 21).image)
    alone = [segmenter.segment([file])[0] for file in (QUERY, small)]
    together = segmenter.segment([QUERY, small])
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
        assert np.abs(one.probability.astype(int) - other.probability).max() <= 1
        np.testing.assert_allclose(one.presence, other.presence, atol=1e-5)
    assert together[1].mask.shape == (33, 21) and together[1].probability.shape == (1, 33, 21)
    assert set(np.unique(together[0].mask)) == {0, 1}


def test_files_that_end_in_zeros_come_whole_through_json():
    files = np.array([b"\0a\0\0", b"b\0"], object)
    text = json.dumps(over_rest.to_json(files))
    assert over_rest.from_json(json.loads(text)).tolist() == files.tolist()


# === Versions ===


def test_status_and_metadata_are_printed(address, few_shot, capsys):
    few_shot.available = {2}
    commands.run(__main__, f"--server={address}", "--status")
    assert capsys.readouterr().out == "crnet version 1: END\ncrnet version 2: AVAILABLE\n"
    commands.run(__main__, f"--server={address}", "--status", "--version=1")
    assert capsys.readouterr().out == "crnet version 1: END\n"
    commands.run(__main__, f"--server={address}", "--metadata")
    said = json.loads(capsys.readouterr().out)
    assert said["version"] == 2 and said["metadata"]["kind"] == "few-shot"
    inputs = ["query_image_bytes", "support_image_bytes", "support_mask_bytes"]
    assert said["signatures"]["segment_encoded"] == inputs


def test_a_version_or_label_is_asked_for(server, few_shot):
    few_shot.labels = {"stable": 1, "canary": 2}
    for target, version in (
        (Target("crnet", label="stable"), 1),
        (Target("crnet", label="canary"), 2),
        (Target("crnet", version=1), 1),
        (CRNET, 2),
    ):
        assert server.describe(target).version == version
        few_shot.asked.clear()
        server.metadata(target)
        assert few_shot.asked == [(version, "metadata")]
    with pytest.raises(RemoteError, match="label beta: .*NOT_FOUND"):
        server.describe(Target("crnet", label="beta"))


def test_a_state_is_never_sent_to_another_version(server, few_shot):
    few_shot.labels = {"stable": 1}
    files, masks = [encode_png(SUPPORTS[0].image)], [SUPPORTS[0].mask]
    segmenter = RemoteSegmenter(server, Target("crnet", label="stable"), files, masks)
    few_shot.labels = {"stable": 2}
    segmenter.segment([QUERY])
    assert segmenter.version == 1  # the label has moved, the state is of version 1
    few_shot.available = {2}
    segmenter.segment([QUERY])
    assert segmenter.version == 2
    encode, segment = "encode_support_encoded", "segment_encoded_with_support"
    assert few_shot.asked == [(1, encode), (1, segment), (2, encode), (2, segment)]


def test_a_version_that_was_asked_for_is_not_replaced(server, few_shot):
    files, masks = [encode_png(SUPPORTS[0].image)], [SUPPORTS[0].mask]
    segmenter = RemoteSegmenter(server, Target("crnet", version=1), files, masks)
    few_shot.available = {2}
    with pytest.raises(RemoteError, match="version 1: .*NOT_FOUND"):
        segmenter.segment([QUERY])


# === Refusals ===


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_an_overloaded_server_is_asked_again(segmenter, few_shot, waits, code):
    few_shot.troubles.extend([Refused(code, "not now")] * 3)
    assert len(segmenter.segment([QUERY])) == 1
    assert len(waits) == 3
    for wait, longest in zip(waits, (0.2, 0.4, 0.8), strict=True):
        assert longest / 2 <= wait <= longest


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_it_is_not_asked_for_ever(segmenter, few_shot, waits, code):
    few_shot.troubles.extend([Refused(code, "not now")] * 9)
    with pytest.raises(RemoteError, match=f"received {code}: not now\\. ") as caught:
        segmenter.segment([QUERY])
    assert caught.value.code == code and isinstance(caught.value, MISTAKES)
    assert len(waits) == 4 and len(few_shot.troubles) == 4  # five attempts


@pytest.mark.parametrize(
    "code", ["INVALID_ARGUMENT", "NOT_FOUND", "DEADLINE_EXCEEDED", "INTERNAL"]
)
def test_what_would_fail_again_is_asked_once(server, few_shot, waits, code):
    few_shot.troubles.extend([Refused(code, "that is why")] * 2)
    with pytest.raises(RemoteError, match=f"{code}: that is why") as caught:
        server.predict(CRNET, "segment_encoded", {})
    assert caught.value.code == code and not waits and len(few_shot.troubles) == 1


def test_the_models_own_words_come_through(segmenter):
    with pytest.raises(RemoteError, match="expected the bytes of a JPEG or PNG") as caught:
        segmenter.segment([b"no photo"])
    assert caught.value.code == "INVALID_ARGUMENT"


def test_a_signature_that_is_not_there_is_said(server):
    with pytest.raises(RemoteError, match='signature "other" not found'):
        server.predict(CRNET, "other", {})


def test_a_model_that_is_not_there_is_said(server):
    for ask in (server.status, server.describe, server.metadata):
        with pytest.raises(RemoteError, match="model other: .*NOT_FOUND.*--status"):
            ask(Target("other"))


def test_a_silent_server_is_left_at_the_deadline(address, few_shot, waits):
    awake = threading.Event()
    few_shot.troubles.append(lambda: awake.wait(60))
    try:
        with Server(address, deadline=0.3) as hasty:
            with pytest.raises(RemoteError, match="Raise --deadline") as caught:
                hasty.predict(CRNET, "metadata", {})
    finally:
        awake.set()
    assert caught.value.code == "DEADLINE_EXCEEDED" and not waits


def test_no_server_is_unavailable(over, few_shot, waits):
    with over(few_shot) as (address, _):
        pass  # a port where nobody listens any more
    with Server(address, attempts=2) as nobody:
        with pytest.raises(RemoteError, match="Is the server running") as caught:
            nobody.status(CRNET)
    assert caught.value.code == "UNAVAILABLE" and len(waits) == 1


def test_rest_asked_over_grpc_says_so():
    said = "failed to connect: Failed parsing HTTP/2 (Trying to connect an http1.x server)"
    error = RemoteError("UNAVAILABLE", said, "localhost:8501")
    assert str(error).endswith("is it REST's? Give --server=http://HOST:PORT.")


def test_a_server_that_dies_in_the_middle_is_asked_again_and_then_given_up(
    over, few_shot, waits
):
    with over(few_shot) as (address, process), Server(address, attempts=3) as server:

        def die():
            if over is serving_double.over_grpc:
                process.stop(None)
            raise ConnectionAbortedError

        few_shot.troubles.extend([die] * 3)
        with pytest.raises(RemoteError) as caught:
            server.predict(CRNET, "metadata", {})
    assert caught.value.code == "UNAVAILABLE" and len(waits) == 2


def test_a_request_too_large_to_send_is_said(address, few_shot, waits):
    large = encode_png(np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8))
    with Server(address, max_megabytes=1) as narrow:
        with pytest.raises(RemoteError, match="Shrink the photo") as caught:
            narrow.predict(
                CRNET, "segment_encoded", {"query_image_bytes": np.array([large], object)}
            )
    assert caught.value.code == TOO_LARGE and not waits and not few_shot.asked


def test_a_request_too_large_to_receive_is_said(few_shot, waits):
    limit = ("grpc.max_receive_message_length", 1000)
    with serving_double.over_grpc(few_shot, limit) as (address, _), Server(address) as server:
        with pytest.raises(RemoteError, match="larger than max .* Shrink the photo") as caught:
            server.predict(
                CRNET, "segment_encoded", {"query_image_bytes": np.array([QUERY], object)}
            )
    assert caught.value.code == TOO_LARGE and not waits


@pytest.mark.parametrize("answer", ["<html>", "[]", "{}", '{"model_version_status": 3}'])
def test_an_answer_of_something_else_is_said(few_shot, monkeypatch, answer):
    monkeypatch.setattr(serving_double.Handler, "_get", lambda self, *_: answer)
    with serving_double.over_rest(few_shot) as (address, _), Server(address) as server:
        with pytest.raises(RemoteError, match="not TF Serving's") as caught:
            server.status(CRNET)
    assert isinstance(caught.value, MISTAKES)


# === Waits ===


def test_all_attempts_together_keep_the_deadline(monkeypatch):
    now, left = [100.0], []
    clock = types.SimpleNamespace(
        monotonic=lambda: now[0], sleep=lambda wait: now.__setitem__(0, now[0] + wait)
    )
    monkeypatch.setattr(errors, "time", clock)

    def ask(seconds):
        left.append(seconds)
        now[0] += 0.5
        raise RemoteError("UNAVAILABLE", "not now", "here")

    with pytest.raises(RemoteError, match="UNAVAILABLE"):
        errors.retrying(ask, 3.0, 100)
    assert left[0] == 3.0 and len(left) > 2
    assert all(later < earlier - 0.5 for earlier, later in zip(left, left[1:], strict=False))
    assert now[0] <= 103.5
