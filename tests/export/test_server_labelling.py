"""What the page asks besides predictions, and what is no such request."""

import io
import json
import zipfile

import numpy as np
import pytest
from helpers.live_server import PATIENCE, b64, serving
from PIL import Image

from crnet_tf.annotations import coco_json
from crnet_tf.images.png_files import encode_png
from export.server import labelling

LABELS = np.zeros((30, 40), np.uint8)
LABELS[5:20, 10:20] = 1
LABELS[5:20, 25:35] = 2
LABELS[0] = 255


def asking(**changes):
    """A request to /export."""
    photos = [{"name": "a b.jpg", "labels": b64(encode_png(LABELS))}]
    asked = {"photos": photos, "class_names": ["cup", "mug"], "formats": ["coco", "yolo"]}
    return {**asked, "shapes": "masks", "instances": False, **changes}


@pytest.fixture(scope="module")
def server():
    with serving([]) as one:
        yield one


def post(server, path, body):
    return server.session.post(server.url + path, json.dumps(body), timeout=PATIENCE)


def test_labels_are_written_in_other_tools_formats(server, tmp_path):
    assert server.get("/models").json()["formats"] == labelling.FORMATS
    answer = post(server, "/export", asking())
    assert answer.status_code == 200, answer.text
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    empty = [one.filename for one in archive.infolist() if not one.file_size]
    assert empty == ["photos/a b.jpg", "yolo/images/a b.jpg"]  # where the photo belongs
    archive.extractall(tmp_path)
    (tmp_path / "photos" / "a b.jpg").write_bytes(encode_png(np.zeros((30, 40, 3), np.uint8)))
    listing = coco_json.list_photos(tmp_path / "coco.json", tmp_path / "photos")
    (photo,) = listing.photos
    wanted = np.where(LABELS == 255, 0, LABELS)  # COCO has no void
    np.testing.assert_array_equal(coco_json.read_label(photo), wanted)


def test_strokes_are_grown(server):
    pytest.importorskip("cv2")
    image = np.zeros((30, 40, 3), np.uint8)
    image[5:20, 10:20] = 200
    strokes = np.full((30, 40), 255, np.uint8)
    strokes[10:13, 12:18] = 1
    asked = {"photo": b64(encode_png(image)), "strokes": b64(encode_png(strokes))}
    answer = post(server, "/grow", asked)
    assert answer.headers["content-type"] == "image/png"
    mask = np.asarray(Image.open(io.BytesIO(answer.content)))
    np.testing.assert_array_equal(mask == 255, image[..., 0] == 200)
    given = np.zeros((30, 40), np.uint8)
    given[5:20, 10:20] = given[25:28, 2:8] = 1
    strokes[strokes == 1], strokes[26, 4] = 255, 0
    corrects = {**asked, "strokes": b64(encode_png(strokes)), "mask": b64(encode_png(given))}
    answer = post(server, "/grow", corrects)
    mask = np.asarray(Image.open(io.BytesIO(answer.content)))
    np.testing.assert_array_equal(mask == 255, image[..., 0] == 200)
    answer = post(server, "/grow", {**asked, "strokes": b64(b"no file")})
    assert answer.status_code == 400 and "strokes.png: expected" in answer.json()["error"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"formats": ["png"]}, "Expected formats of"),
        ({"formats": []}, "expected one or several"),
        ({"shapes": "boxes"}, "--shapes"),
        ({"class_names": []}, "class_names: expected from 1"),
        ({"class_names": ["cup", "Cup"]}, "expected different names"),
        ({"class_names": ["cup", "../mug"]}, "names that files can have"),
        ({"class_names": ["cup"]}, "a b.jpg: expected labels from 0 to 1"),
        ({"photos": [{"name": "../a.jpg", "labels": b64(b"")}]}, "names that files can have"),
        (
            {"photos": [{"name": "a.jpg", "labels": b64(b"text")}]},
            "a.jpg: expected a photo",
        ),
        ({"photos": [{"name": "a.jpg", "labels": "text"}]}, "a.jpg: expected"),
        ({"photos": "a.jpg"}, "expected a list"),
        ({"instances": 1}, "true or false"),
        ({"more": 1}, "Expected an object of"),
    ],
    ids=str,
)
def test_other_requests_are_refused_in_words(server, changes, said):
    answer = post(server, "/export", asking(**changes))
    assert answer.status_code == 400 and said in answer.json()["error"], answer.text
    assert "/tmp" not in answer.text
