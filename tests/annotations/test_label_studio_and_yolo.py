"""Files of Label Studio and of YOLO as people have them -> label maps.

What we write ourselves is read back in test_writing.py.
"""

import json

import numpy as np
import pytest
from PIL import Image

from crnet_tf.annotations import brush, label_studio, yolo
from crnet_tf.common.errors import InputError

HEIGHT, WIDTH = 20, 40


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "images"
    for name in ("a.jpg", "below/a.jpg", "b.png"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)
    return folder


# === Label Studio ===


def region(kind, label, **value):
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    return {"type": kind, "value": {**value, kind: [label]}, **size}


def left_half(label):
    points = [[0, 0], [50, 0], [50, 100], [0, 100]]
    return region("polygonlabels", label, points=points)


def studio(photos, *tasks):
    path = photos.parent / "export.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return label_studio.list_photos(path, photos)


def test_regions_are_drawn_the_small_in_front(photos):
    stroke = np.zeros((HEIGHT, WIDTH), bool)
    stroke[5:8, 10:30] = True
    drawn = [
        region("brushlabels", "dog", format="rle", rle=brush.encoded(stroke)),
        left_half("cat"),
        region("rectanglelabels", "cat", x=1, y=1, width=5, height=5),
    ]
    listing = studio(
        photos, {"data": {"image": "/data/upload/1/b.png"}, "annotations": [{"result": drawn}]}
    )
    (photo,) = listing.photos
    assert listing.class_names == ("cat", "dog") and photo.classes == (1, 2)
    assert listing.notes == [
        f"1 regions of type rectanglelabels; left out (first: {photos / 'b.png'})."
    ]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[:, :20] = 1
    expected[stroke] = 2
    np.testing.assert_array_equal(label_studio.read_label(photo), expected)


def test_what_people_drew_counts_before_what_was_predicted(photos):
    guess = [{"result": [left_half("guess")]}]
    refused = {"was_cancelled": True, "result": [left_half("refused")]}
    listing = studio(
        photos,
        {
            "data": {"image": "/data/local-files/?d=images/a.jpg"},
            "annotations": [refused, {"result": [left_half("cat")]}],
            "predictions": guess,
        },
        {"data": {"image": "/data/local-files/?d=images/below/a.jpg"}, "predictions": guess},
        {"data": {"image": "https://somewhere/b.png"}, "annotations": []},
    )
    assert {p.name: p.classes for p in listing.photos} == {"a": (1,), "below/a": (2,)}
    assert listing.class_names == ("cat", "guess") and not listing.problems
    assert "photos without a region" in listing.notes[0]


def test_what_is_no_task_is_said(photos):
    empty = {"data": {"image": "b.png"}, "annotations": [{"result": []}]}
    broken = {"data": {"image": "a.jpg"}, "annotations": [{"result": [{"type": "brush"}]}]}
    absent = {"data": {"image": "c.jpg"}}
    problems = studio(photos, empty, empty, broken, absent).problems
    assert "one task a photo" in problems[0] and "KeyError: 'value'" in problems[1]
    assert "c.jpg: expected a photo that a task names" in problems[2]
    with pytest.raises(InputError, match="expected tasks of Label Studio.*KeyError"):
        studio(photos, {"image": "b.png"})


def test_labels_are_text(photos):
    for labels in ([["cat"]], "cat", [7]):
        wrong = left_half("cat")
        wrong["value"]["polygonlabels"] = labels
        task = {"data": {"image": "b.png"}, "annotations": [{"result": [wrong]}]}
        (problem,) = studio(photos, task).problems
        assert "b.png: expected regions of Label Studio" in problem


def test_regions_are_a_list(photos):
    with pytest.raises(InputError, match="export.json: expected tasks of Label Studio"):
        studio(photos, {"data": {"image": "b.png"}, "annotations": [{"result": True}]})


def test_strokes_on_a_photo_of_another_size_are_not_unpacked(photos, monkeypatch):
    monkeypatch.setattr(brush, "decoded", lambda *_: pytest.fail("unpacked"))
    drawn = region("brushlabels", "dog", format="rle", rle=[1])
    drawn |= {"original_width": 30_000, "original_height": 30_000}
    task = {"data": {"image": "b.png"}, "annotations": [{"result": [drawn]}]}
    (problem,) = studio(photos, task).problems
    assert "30000" in problem.replace(",", "")


# === YOLO ===


def described(photos, text="names: [cat, dog]\ntrain: images\n", **labels):
    (photos.parent / "data.yaml").write_text(text, encoding="utf-8")
    folder = photos.parent / "labels"
    folder.mkdir(exist_ok=True)
    for name, lines in labels.items():
        (folder / f"{name}.txt").write_text(lines)
    return yolo.list_photos(photos.parent / "data.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "names: [cat, dog]\ntrain: images\n",
        "# by a tool\npath: .\ntrain: images\nval: images\nnames:\n  0: cat\n  1: dog\n",
        "nc: 2\nval: images/\ntest:\nnames:\n- cat\n- 'dog'\n",
    ],
)
def test_names_and_folders_in_any_spelling(photos, text):
    square = "1 0.25 0.25 0.5 0.25 0.5 0.75 0.25 0.75\n"
    listing = described(photos, text, a=square, b="1 0.5 0.5 0.2 0.2\n")
    assert listing.class_names == ("dog",) and len(listing.photos) == 3
    held = {photo.name: photo for photo in listing.photos}
    assert held["a"].classes == (1,) and held["b"].classes == held["below/a"].classes == ()
    label = yolo.read_label(held["a"])
    assert label[10, 15] == 1 and 100 <= label.sum() <= 121
    assert "1 boxes without outlines; left out" in listing.notes[0]


def test_what_is_no_yolo_is_said(photos):
    problems = described(photos, a="0 1 2 3\n", b="cat 0 0 1 0 1 1\n").problems
    assert all("expected lines CLASS X Y" in problem for problem in problems)
    assert len(problems) == 2
    with pytest.raises(InputError, match=r"expected a name for every class.*\['7'\]"):
        described(photos, a="7 0 0 1 0 1 1\n", b="")
    with pytest.raises(InputError, match="expected a data.yaml with names"):
        described(photos, "train: images\n")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        described(photos, "names: [cat]\ntrain: nowhere\n")


def test_a_yaml_of_lists_within_lists_is_refused_before_it_is_written_out(photos):
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    text = "\n".join(["a0: &a0 [x, x]", *levels, "names: *a8", "train: images"])
    with pytest.raises(InputError, match="names that are lists"):
        described(photos, text)
    with pytest.raises(InputError, match="more than 500,000 bytes"):
        described(photos, "[" * 600_000)


def test_lines_in_another_encoding_say_the_remedy(photos):
    (photos.parent / "labels").mkdir()
    (photos.parent / "labels" / "b.txt").write_bytes(b"0 0 0 1 0 1 1 \xe9\n")
    (problem,) = described(photos).problems
    assert "b.txt: expected a list in UTF-8" in problem
