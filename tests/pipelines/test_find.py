"""A search over many photos: what it takes, writes, takes up again and refuses."""

import csv
import dataclasses
import io
import json
import pathlib
import shutil
import tarfile

import numpy as np
import pytest
from helpers import commands
from helpers.networks import eager, photo  # noqa: F401

from crnet_tf.annotations.coco_masks import draw_object
from crnet_tf.common.errors import InputError
from crnet_tf.data import records
from crnet_tf.data.writing.shards import RecordFile
from crnet_tf.fewshot import engine, learnt_files
from crnet_tf.fewshot.segmenter import Segmenter
from crnet_tf.images import png_files
from pipelines import find as command
from pipelines.finding import shards
from pipelines.finding.search import find

COUNT = 3  # photos, searched two at a time


@pytest.fixture(scope="module", autouse=True)
def loaded(network):
    """The checkpoint's network, and what was fitted: every search would do it again."""
    fitted, load = {}, Segmenter.load

    def load_once(path, engine):
        content = pathlib.Path(path).read_bytes()
        if content not in fitted:
            fitted[content] = load(path, engine=engine)
        return fitted[content]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "load_checkpoint", lambda path: network)
        patch.setattr(shards.Segmenter, "load", load_once)
        yield


@pytest.fixture(scope="module")
def learnt(checkpoint):
    return learnt_files.Learnt(str(checkpoint), {"kshot": "mean"}, 0.5, {"cup": [photo(1)]}, [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(COUNT):
        png_files.write_png(folder / f"p{number}.png", photo(number).image)
    return folder


def lines(out, pattern="answers-*"):
    return [
        json.loads(line)
        for path in sorted(out.glob(pattern))
        for line in path.read_text().splitlines()
    ]


def contents(out):
    """All files of a search but what depends on the run."""
    return {p.name: p.read_bytes() for p in out.iterdir() if p.name != "metrics.json"}


def as_list(folder, place):
    place.write_text("".join(f"{path}\n" for path in sorted(folder.iterdir())))


def as_tar(folder, place):
    with tarfile.open(place, "w") as archive:
        for path in sorted(folder.iterdir()):
            label = tarfile.TarInfo(
                f"{path.stem}.json"
            )  # beside the photo, as webdataset has it
            label.size = 2
            archive.addfile(label, io.BytesIO(b"{}"))
            archive.add(path, path.name)


def as_records(folder, place):
    with RecordFile(place) as file:
        for path in sorted(folder.iterdir()):
            image = path.read_bytes()
            file.write(records.serialize(image, "png", b"label", path.stem, 40, 52))


WRITTEN = {"list.txt": as_list, "photos.tar": as_tar, "photos.tfrecord": as_records}


@pytest.mark.parametrize("kind", ["a pattern", *WRITTEN])
def test_photos_come_in_folders_patterns_lists_tars_and_records(
    learnt, folder, tmp_path, kind, by_folder
):
    given = folder / "p*.png"
    if kind in WRITTEN:
        given = tmp_path / kind
        WRITTEN[kind](folder, given)
    find([str(given)], learnt, tmp_path / "out", shard_photos=2)
    found = lines(tmp_path / "out")
    assert [f"p{number}" in one.pop("photo") for number, one in enumerate(found)] == [
        True
    ] * COUNT
    assert found == [
        {key: value for key, value in one.items() if key != "photo"} for one in lines(by_folder)
    ]


@pytest.fixture(scope="module")
def by_folder(learnt, folder, tmp_path_factory):
    """The search of a folder, in two files."""
    out = tmp_path_factory.mktemp("found") / "out"
    find([str(folder)], learnt, out, shard_photos=2)
    return out


def test_masks_presence_and_area_are_those_of_a_segmenter(learnt, folder, by_folder, tmp_path):
    learnt_files.write(tmp_path / "cup.crnet", learnt)
    segmenter = Segmenter.load(tmp_path / "cup.crnet", engine="keras")
    answers = segmenter.predict(str(folder))
    rows = list(csv.DictReader(io.StringIO((by_folder / "index.csv").read_text())))
    for found, line, row in zip(answers, lines(by_folder), rows, strict=True):
        mask = np.zeros(found.mask.shape, bool)
        for one in line["objects"]:
            drawn = draw_object(one["segmentation"], *mask.shape)
            mask[drawn.box] |= drawn.mask
        np.testing.assert_array_equal(mask, found.mask == 1)
        assert row["photo"] == line["photo"] and int(row["area"]) == mask.sum()
        assert float(row["presence"]) == pytest.approx(found.presence, abs=1e-4)


def test_a_second_run_searches_only_what_is_missing(learnt, folder, by_folder, tmp_path):
    out = tmp_path / "out"
    find([str(folder)], learnt, out, shard_photos=2)
    (out / "answers-00001-of-00002.jsonl").unlink()
    (out / ".answers-00001-of-00002.jsonl.1234").write_text("of a worker that was killed")
    assert find([str(folder)], learnt, out, shard_photos=2)["photos_of_this_run"] == 1
    assert contents(out) == contents(by_folder)
    assert find([str(folder)], learnt, out, shard_photos=2)["photos_of_this_run"] == 0


class Backwards:
    """Workers that end the last piece first."""

    def results(self, work, items):
        return map(work, reversed(list(items)))


def test_the_order_in_which_pieces_end_changes_no_byte(learnt, folder, by_folder, tmp_path):
    find([str(folder)], learnt, tmp_path / "out", shard_photos=2, workers=Backwards())
    assert contents(tmp_path / "out") == contents(by_folder)


def test_photos_that_cannot_be_read_are_listed_with_the_reason(learnt, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (photos / name).write_bytes(b"no photo")
    png_files.write_png(photos / "c.jpg", photo(1).image)
    (tmp_path / "list.txt").write_text(
        f"{photos}/a.jpg\n{photos}/b.jpg\n{photos}/c.jpg\nnone\n"
    )
    metrics = find([str(tmp_path / "list.txt")], learnt, tmp_path / "out", shard_photos=2)
    assert (metrics["photos"], metrics["failed"]) == (4, 3)
    failed = lines(tmp_path / "out", "failed.jsonl")
    assert [one["photo"] for one in failed] == [f"{photos}/a.jpg", f"{photos}/b.jpg", "none"]
    assert "cannot be decoded" in failed[0]["error"] and "no such file" in failed[2]["error"]
    assert (tmp_path / "out" / "index.csv").read_text().count("\n") == 2  # heading and c.jpg


def test_classes_of_a_folder_have_columns_of_their_own(checkpoint, folder, tmp_path):
    for name, number in (("cup", 1), ("mug", 2)):
        (tmp_path / "things" / name).mkdir(parents=True)
        png_files.write_png(tmp_path / "things" / name / "a.png", photo(number).image)
        mask = 255 * (photo(number).mask == 1).astype(np.uint8)
        png_files.write_png(tmp_path / "things" / name / "a_mask.png", mask)
    given = [f"--support_dir={tmp_path / 'things'}", f"--checkpoint={checkpoint}"]
    given += [f"--photos={folder}/p0.png,{folder}/p1.png", "--instances", "--engine=keras"]
    commands.run(command, *given, f"--out={tmp_path / 'out'}")
    text = (tmp_path / "out" / "index.csv").read_text()
    heading, *rows = csv.reader(text.splitlines())
    assert heading == [
        "photo", "presence of cup", "presence of mug", "area of cup", "area of mug",
    ]  # fmt: skip
    areas = [
        [sum(o["area"] for o in line["objects"] if o["category_id"] == n) for n in (1, 2)]
        for line in lines(tmp_path / "out")
    ]
    assert [[int(area) for area in row[3:]] for row in rows] == areas


def test_the_model_of_one_search_serves_another(by_folder, folder, tmp_path, capsys):
    given = [f"--model={by_folder / 'model.crnet'}", f"--photos={folder}", "--shard_photos=2"]
    commands.run(command, *given, f"--out={tmp_path / 'out'}")
    assert contents(tmp_path / "out") == contents(by_folder)
    assert "3 photos, 0 of them failed. This run: 3" in capsys.readouterr().out


def test_another_search_is_not_mixed_into_the_folder(learnt, folder, tmp_path):
    out = tmp_path / "out"
    find([str(folder / "p0.png")], learnt, out)
    before = contents(out)
    for changed in (
        {"shard_photos": 3},
        {"instances": True},
        {"engine": "litert"},
        {"patterns": [str(folder / "p1.png")]},
    ):
        with pytest.raises(FileExistsError, match="holds another search"):
            find(
                **{"patterns": [str(folder / "p0.png")], "learnt": learnt, "out": out} | changed
            )
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other things"):
        find([str(folder / "p0.png")], learnt, out)
    (out / "thesis.txt").unlink()
    assert contents(out) == before


def test_another_model_in_the_same_place_is_read(learnt, folder, by_folder, tmp_path):
    out, other = tmp_path / "out", dataclasses.replace(learnt, classes={"cup": [photo(2)]})
    find([str(folder)], other, out, shard_photos=2)
    assert lines(out) != lines(by_folder)
    shutil.rmtree(out)
    find([str(folder)], learnt, out, shard_photos=2)
    assert contents(out) == contents(by_folder)


def test_a_file_of_answers_that_is_damaged_is_told(learnt, folder, tmp_path):
    find([str(folder)], learnt, tmp_path / "out", shard_photos=2)
    path = tmp_path / "out" / "answers-00000-of-00002.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="answers-00000-of-00002.jsonl: expected the JSON"):
        find([str(folder)], learnt, tmp_path / "out", shard_photos=2)
    path.write_text("")
    with pytest.raises(InputError, match="expected answers of 3 photos, received 1"):
        find([str(folder)], learnt, tmp_path / "out", shard_photos=2)


def test_an_interrupted_piece_leaves_no_half_file(learnt, folder, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shards, "_line", interrupted)
        find([str(folder)], learnt, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "model.crnet", "search.json",
    ]  # fmt: skip
    # Nothing was answered, so another search may begin there.
    assert find([str(folder / "p0.png")], learnt, tmp_path / "out")["photos"] == 1


def test_photos_that_are_none_are_refused(learnt, tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "packed.tar").write_bytes(b"\x1f\x8b" + bytes(600))
    (tmp_path / "cut.tfrecord").write_bytes(b"half")
    for name, error, message in (
        ("*.jpg", FileNotFoundError, "names no file"),
        ("empty.txt", InputError, "received a list or an archive of none"),
        ("packed.tar", InputError, "expected a tar that is not packed"),
        ("cut.tfrecord", InputError, "expected whole records"),
    ):
        with pytest.raises(error, match=message):
            find([str(tmp_path / name)], learnt, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_either_a_model_or_examples_are_given(tmp_path):
    with pytest.raises(InputError, match="received the folder.*--support_dir"):
        commands.run(command, f"--model={tmp_path}", "--photos=x", f"--out={tmp_path}/out")
    for given in ([], ["--model=a.crnet", "--support_dir=mugs"]):
        with pytest.raises(InputError, match="one of --model and --support_dir"):
            commands.run(command, *given, "--photos=x", f"--out={tmp_path}")
