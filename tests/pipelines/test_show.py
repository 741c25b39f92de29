import json
import shutil

import numpy as np
import pytest
from helpers.voc import write_voc
from PIL import Image

from crnet_tf.data import records
from crnet_tf.images.drawing import PAPER
from pipelines.build_voc import build_voc
from pipelines.checking import contact_sheet as show_lib
from pipelines.checking.contact_sheet import show

CELL = 64


def rows_of(monkeypatch, directory, out, **options):
    """What is put on the sheet: {class id: [(photo id, picture)]}."""
    kept = {}
    draw = show_lib._draw

    def keep(title, rows, *others):
        kept.update({row.class_id: row.cells for row in rows})
        return draw(title, rows, *others)

    with monkeypatch.context() as patch:
        patch.setattr(show_lib, "_draw", keep)
        show(directory, out, **{"cell": CELL} | options)
    return kept


def test_the_sheet_is_a_png_in_a_folder_that_is_made(records_dir, tmp_path):
    show(records_dir, tmp_path / "a" / "s.PNG", per_class=1, cell=CELL)
    assert (tmp_path / "a" / "s.PNG").is_file()
    (tmp_path / "b.png").mkdir()
    for name in ("a", "s.jpg", "b.png"):
        with pytest.raises(ValueError, match=f"PNG file.*{name}"):
            show(records_dir, tmp_path / name, cell=CELL)


def test_all_classes_with_photos_of_theirs(records_dir, tmp_path, monkeypatch):
    rows = rows_of(monkeypatch, records_dir, tmp_path / "s.png", per_class=3)
    assert list(rows) == list(range(1, 21))
    index = json.loads((records_dir / "index.json").read_text())
    assert index["splits"]["train"]["classes"]["7"]["records"] == 4
    for cells in rows.values():
        assert len({photo_id for photo_id, _ in cells}) == 3


def test_file_is_what_is_returned(records_dir, tmp_path):
    sheet = show(records_dir, tmp_path / "s.png", classes=["cat"], cell=CELL)
    with Image.open(tmp_path / "s.png") as image:
        np.testing.assert_array_equal(np.asarray(image), sheet)
    assert [path.name for path in tmp_path.iterdir()] == ["s.png"]


def test_seed_decides_the_photos(records_dir, tmp_path, monkeypatch):
    def ids(seed, classes=("7", "8", "9")):
        rows = rows_of(
            monkeypatch,
            records_dir,
            tmp_path / "s.png",
            seed=seed,
            per_class=2,
            classes=classes,
        )
        return {c: [photo_id for photo_id, _ in cells] for c, cells in rows.items()}

    assert ids(1) == ids(1) != ids(2)
    assert ids(1, classes=("7",))[7] == ids(1)[7]  # whatever else is shown


def test_classes_by_name_and_id_in_the_given_order(records_dir, tmp_path, monkeypatch):
    rows = rows_of(monkeypatch, records_dir, tmp_path / "s.png", classes=["dog", "3"])
    assert list(rows) == [12, 3]


def test_only_the_class_of_the_row_is_coloured(records_dir, tmp_path, monkeypatch):
    """Photos have class 1 and class 6 in their left and right half."""
    rows = rows_of(
        monkeypatch, records_dir, tmp_path / "s.png", classes=["1", "6"], per_class=9
    )
    pictures = {c: {i: np.asarray(p, int) for i, p in cells} for c, cells in rows.items()}
    both = pictures[1].keys() & pictures[6].keys()
    assert both
    for photo_id in both:
        differs = np.abs(pictures[1][photo_id] - pictures[6][photo_id]).max(-1) > 30
        assert differs[:, :28].mean() > 0.5 and differs[:, 36:].mean() > 0.5
        red = pictures[1][photo_id] - pictures[6][photo_id]
        assert red[:, 6:26, 0].mean() > 30 > -30 > red[:, 38:58, 0].mean()


def test_aspect_ratio_is_kept(records_dir, tmp_path, monkeypatch):
    rows = rows_of(monkeypatch, records_dir, tmp_path / "s.png", classes=["cat"], per_class=1)
    ((_, picture),) = rows[8]
    assert picture.size == (64, 50)  # of 140x110 px


def test_sheet_grows_by_classes_and_photos(records_dir, tmp_path):
    one, two, wide = (
        show(records_dir, tmp_path / "s.png", classes=classes, per_class=n, cell=160).shape
        for classes, n in ((["cat"], 3), (["cat", "cow"], 3), (["cat"], 4))
    )
    assert two[0] - one[0] > 160 and two[1] >= one[1]
    assert wide[1] - one[1] > 160 and wide[0] == one[0]


def test_fewer_photos_than_asked_for(records_dir, tmp_path, monkeypatch):
    rows = rows_of(monkeypatch, records_dir, tmp_path / "s.png", classes=["cat"], per_class=50)
    assert len(rows[8]) == records.load_index(records_dir).count("train", 8) == 4


def test_captions_stand_under_the_photos(records_dir, tmp_path, monkeypatch):
    drawn = []
    text = show_lib.ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        show_lib.ImageDraw.ImageDraw,
        "text",
        lambda self, place, *args, **options: (
            drawn.append((place, args[0])) or text(self, place, *args, **options)
        ),
    )
    sheet = show(records_dir, tmp_path / "s.png", classes=["cat"], per_class=2, cell=160)
    texts = [shown for _, shown in drawn]
    assert texts[0].startswith("pascal5i, train") and texts[1:3] == ["8  cat", "4 photos"]
    assert len(texts) == 5 and all(shown.startswith("2007_train_") for shown in texts[3:])
    for (x, y), _ in drawn[3:]:  # ink on paper, and nothing of the photo
        area = sheet[y : y + 12, x - 60 : x + 60]
        assert 0.5 < (area == PAPER).all(-1).mean() < 1


def test_long_ids_are_cut_to_their_end():
    font = show_lib.ImageFont.load_default(12)
    short = show_lib._shortened("COCO_train2014_000000123456", font, 80)
    assert short.startswith("...") and short.endswith("3456") and font.getlength(short) <= 80
    assert show_lib._shortened("7", font, 80) == "7"


@pytest.mark.parametrize("wanted", [["unicorn"], ["21"], ["cat", "0"]])
def test_unknown_class(records_dir, tmp_path, wanted):
    with pytest.raises(ValueError, match=f"--classes: expected.*1 aeroplane.*{wanted[-1]}"):
        show(records_dir, tmp_path / "s.png", classes=wanted)


def test_unknown_split(records_dir, tmp_path):
    with pytest.raises(ValueError, match="split: expected one of.*received 'test'"):
        show(records_dir, tmp_path / "s.png", split="test")


def test_damaged_records_are_named(records_dir, tmp_path):
    shutil.copytree(records_dir, tmp_path / "records")
    (path,) = (tmp_path / "records" / "train").glob("class_08-*")
    for damaged in (path.read_bytes()[:-100], path.read_bytes()[:99]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="class_08.*verify"):
            show(tmp_path / "records", tmp_path / "s.png", classes=["cat"], cell=CELL)
    show(tmp_path / "records", tmp_path / "s.png", classes=["dog"], cell=CELL)


def test_class_without_photos(tmp_path):
    build_voc(write_voc(tmp_path / "VOC2012", train=2, val=1), tmp_path / "records")
    sheet = show(tmp_path / "records", tmp_path / "s.png", cell=CELL)
    assert sheet.shape[0] < 20 * CELL
    with pytest.raises(ValueError, match="received person"):
        show(tmp_path / "records", tmp_path / "s.png", classes=["person"])


@pytest.mark.parametrize("options", [{"per_class": 0}, {"cell": 8}, {"seed": -1}])
def test_numbers_out_of_range(records_dir, tmp_path, options):
    with pytest.raises(ValueError, match="expected --per_class from 1"):
        show(records_dir, tmp_path / "s.png", **options)


def test_a_sheet_nobody_could_open(records_dir, tmp_path):
    with pytest.raises(ValueError, match="expected .*200 million pixels"):
        show(records_dir, tmp_path / "s.png", per_class=10_000)
    assert not list(tmp_path.iterdir())
