"""The ML backend learns from what was annotated in Label Studio, and answers in its format."""

import json

import numpy as np
import pytest
import requests
from helpers.live_server import PATIENCE, serving
from helpers.networks import photo

from crnet_tf.annotations import brush
from crnet_tf.annotations.answers import objects
from crnet_tf.annotations.label_studio import regions
from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.fewshot import deciding
from crnet_tf.images.png_files import encode_png
from export.server import label_studio_photos
from export.server.label_studio_photos import Photo, Source
from export.server.served import Served

CONFIG = """<View><Image name="img" value="$picture"/>
<BrushLabels name="tag" toName="img"><Label value="cup"/><Label value="mug"/></BrushLabels>
</View>
"""
EVERY_PIXEL = 40 * 52


class Project:
    """A Label Studio with photos 1, 2 ...; `marked` have a cup, `empty` were annotated too."""

    def __init__(self):
        self.marked, self.empty, self.asked = [], [], 0

    def annotated(self, project):
        self.asked += 1
        assert project == 7
        done = [(n, regions(cup(n), "brushlabels")) for n in self.marked]
        done += [(n, []) for n in self.empty]
        return [{"data": {"picture": f"/{n}"}, "result": result} for n, result in done]

    def photo(self, address):
        if address == "/9":
            raise InputError("9: expected a photo, received none.")
        image = photo(int(address[1:])).image
        return Photo(address, encode_png(image), image.shape[:2])


def cup(n):
    mask = np.uint8(photo(n).mask == 1)
    return objects(mask, mask[None].astype(float), ("cup",), connected=False)


@pytest.fixture(scope="module")
def server(exports):
    source = Project()
    with serving([Served("crnet", exports.few_shot.parent)], label_studio=source) as server:
        server.source = source
        yield server


@pytest.fixture
def backend(server):
    server.source.__init__()
    changed(server)
    return server


def changed(backend):
    assert post(backend, "webhook", {"action": "ANNOTATION_CREATED", "project": {"id": 7}}).ok


def post(backend, path, body):
    return backend.session.post(f"{backend.url}/{path}", json.dumps(body), timeout=PATIENCE)


def predicted(backend, *photos):
    tasks = [{"id": n, "data": {"picture": f"/{n}"}} for n in photos]
    asked = {"tasks": tasks, "project": "7.1700000000", "label_config": CONFIG}
    answer = post(backend, "predict", asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_it_says_that_it_is_up_and_which_interfaces_it_serves(backend):
    assert backend.get("/health").json()["status"] == "UP"
    asked = {"schema": CONFIG, "project": "7.1700000000"}
    version = post(backend, "setup", asked).json()["model_version"]
    assert version == predicted(backend)["model_version"]
    changed(backend)
    assert version != post(backend, "setup", asked).json()["model_version"]
    boxes = CONFIG.replace("BrushLabels", "RectangleLabels")
    answer = post(backend, "setup", {**asked, "schema": boxes})
    assert answer.status_code == 400 and "BrushLabels or PolygonLabels" in answer.text


def test_what_was_annotated_is_found_in_the_next_photo(backend):
    before = predicted(backend, 4)
    assert before["results"][0]["result"] == []
    backend.source.marked = [1, 2, 3]
    changed(backend)
    after = predicted(backend, 4, 5)
    assert after["model_version"] != before["model_version"]
    assert predicted(backend, 4)["results"][0] == after["results"][0]
    assert backend.source.asked == 2  # once a change
    for one in after["results"]:
        (region,) = one["result"]
        assert region["from_name"] == "tag" and region["to_name"] == "img"
        assert region["type"] == "brushlabels" and region["value"]["brushlabels"] == ["cup"]
        size = region["original_height"], region["original_width"]
        mask = brush.decoded(region["value"]["rle"], *size)
        assert size == (40, 52) and 0 < mask.sum() < EVERY_PIXEL


def test_photos_annotated_without_it_say_where_it_is_not(backend, monkeypatch):
    monkeypatch.setattr(deciding, "LEAST", 0.99)
    backend.source.marked = [1, 2]
    changed(backend)
    (plain,) = predicted(backend, 4)["results"]
    backend.source.empty = [4]
    changed(backend)
    (one,) = predicted(backend, 4)["results"]
    assert plain["result"] and one["result"] == [] and 0 < one["score"] < plain["score"]


def test_a_task_that_cannot_be_read_keeps_nobody_from_learning_the_others(backend):
    backend.source.marked = [9, 1, 2]
    changed(backend)
    assert predicted(backend, 4)["results"][0]["result"]
    asked = {"tasks": [{"data": {"picture": "/9"}}], "project": 7, "label_config": CONFIG}
    assert post(backend, "predict", asked).status_code == 400


def test_other_requests_are_refused_in_words(backend):
    answer = post(backend, "predict", {"tasks": [{}], "project": 7, "label_config": CONFIG})
    assert answer.status_code == 400 and "'picture'" in answer.json()["error"]


# === Asking Label Studio ===


class Response:
    def __init__(self, content):
        self.content = content

    def raise_for_status(self):
        pass

    def json(self):
        return json.loads(self.content)


def test_annotations_and_photos_come_with_the_token(monkeypatch):
    seen = []

    def get(url, headers, timeout):
        seen.append((url, headers["Authorization"]))
        if "export" not in url:
            return Response(encode_png(photo(1).image))
        done = {"updated_at": "2", "result": ["new"]}, {"updated_at": "1", "result": ["old"]}
        left = {"updated_at": "3", "result": [], "was_cancelled": True}
        tasks = [{"data": 1, "annotations": [*done, left]}, {"data": 2, "annotations": [left]}]
        return Response(json.dumps(tasks))

    monkeypatch.setattr(label_studio_photos.requests, "get", get)
    source = Source("http://studio:8080/", "secret")
    assert source.annotated(3) == [{"data": 1, "result": ["new"]}]
    found = source.photo("/data/local-files/?d=a/b.jpg")
    assert found.size == (40, 52) and found.content == encode_png(photo(1).image, 1)
    assert seen == [
        ("http://studio:8080/api/projects/3/export?exportType=JSON", "Token secret"),
        ("http://studio:8080/data/local-files/?d=a/b.jpg", "Token secret"),
    ]
    for elsewhere in ("http://evil/a.jpg", "file:///etc/passwd", "//evil/a.jpg"):
        with pytest.raises(InputError, match="photos that Label Studio serves"):
            source.photo(elsewhere)


def test_a_label_studio_that_does_not_answer_is_named(monkeypatch):
    def get(*_, **__):
        raise requests.ConnectionError("refused")

    monkeypatch.setattr(label_studio_photos.requests, "get", get)
    with pytest.raises(BlockedError, match="studio:8080.*LABEL_STUDIO_API_KEY"):
        Source("http://studio:8080", "secret").annotated(3)
