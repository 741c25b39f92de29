"""The many photos of benchmarks.growth and tools/ray_cluster.py."""

from benchmarks import growth, many_photos
from pipelines.finding.photos import photos_of
from pipelines.sources import voc


def test_few_drawn_photos_stand_for_many(tmp_path, monkeypatch):
    monkeypatch.setattr(many_photos, "DRAWN", 3)
    many_photos.draw(tmp_path / "drawn")
    many_photos.write_list(tmp_path / "list.txt", tmp_path / "drawn", 25)
    assert len({photo.place for photo in photos_of([tmp_path / "list.txt"])}) == 3
    many_photos.write_voc(tmp_path / "voc", tmp_path / "drawn", 25)
    listed = voc.list_photos(voc.find_voc(tmp_path / "voc"))
    assert (len(listed["train"]), len(listed["val"])) == (5, 20)


def test_a_row_says_what_a_command_took(tmp_path, monkeypatch):
    monkeypatch.setattr(growth.sys, "executable", "true")
    (tmp_path / "index.csv").write_text("photo\n")
    command, count, *_, memory, size = growth.measure("find", [], 10, tmp_path / "index.csv")
    assert (command, count, size) == ("find", "10", "0.00") and float(memory) > 0


def test_the_picture_has_a_line_for_every_command(tmp_path):
    rows = [
        (name, f"{count:,}", "9", f"{count / 100:.0f}", "9", "700", "0.00")
        for name in ("find", "build voc")
        for count in (1000, 10_000)
    ]
    growth.draw(rows, tmp_path / "growth.svg")
    drawn = (tmp_path / "growth.svg").read_text()
    assert "<!-- find -->" in drawn and "<!-- build voc -->" in drawn
