"""The front door in Python: fit, predict, save, load, with whatever people have of photos."""

import io
import json
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from helpers import malformed_images
from helpers.networks import eager, photo, with_prototypes  # noqa: F401
from PIL import Image

from crnet_tf import Segmenter, save_all
from crnet_tf.common.errors import InputError
from crnet_tf.fewshot import deciding, engine
from crnet_tf.fewshot.answers import decided
from crnet_tf.fewshot.found import Found
from crnet_tf.images import drawing, photos
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.images.png_files import write_png

CUP, MUG, QUERY = photo(1), photo(2), photo(3, 60, 45)


@pytest.fixture(scope="module")
def network():
    return with_prototypes()


@pytest.fixture(scope="module")
def segmenter(network):
    return Segmenter(network).fit(CUP)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos and masks as files."""
    folder = tmp_path_factory.mktemp("photos")
    for name, one in {"cup": CUP, "mug": MUG}.items():
        (folder / name).mkdir()
        write_png(folder / name / "a.png", one.image)
        write_png(folder / name / "a_mask.png", 255 * (one.mask == 1).astype(np.uint8))
    (folder / "queries").mkdir()
    for seed in (3, 4):
        write_png(folder / "queries" / f"{seed}.png", photo(seed).image)
    return folder


def plain(mask):
    return (mask == 1).astype(np.uint8)


def test_photos_and_masks_come_in_any_form(network, folder):
    mask = plain(CUP.mask)
    path = folder / "cup" / "a.png"
    forms = {
        "arrays": (CUP.image, mask),
        "lists": ([CUP.image], [mask]),
        "white": (CUP.image, 255 * mask),
        "bool": (CUP.image, mask == 1),
        "Pillow": (Image.fromarray(CUP.image), Image.fromarray(255 * mask)),
        "files": (path, folder / "cup" / "a_mask.png"),
        "texts": (str(path), str(folder / "cup" / "a_mask.png")),
        "folder": (folder / "cup", None),
        "by class": ({"cup": [path]}, {"cup": [mask]}),
        "labelled": (LabelledPhoto(CUP.image, mask), None),
    }
    segmenter = Segmenter(network)
    answers = {
        name: segmenter.fit(*given).predict(QUERY.image).probability
        for name, given in forms.items()
    }
    for name, answer in answers.items():
        np.testing.assert_array_equal(answer, answers["arrays"], err_msg=name)
    assert np.ptp(answers["arrays"]) > 0.01


def test_a_query_comes_in_any_form(segmenter, tmp_path):
    write_png(tmp_path / "q.png", QUERY.image)
    expected = segmenter.predict(QUERY.image)
    for given in (tmp_path / "q.png", str(tmp_path / "q.png"), Image.fromarray(QUERY.image)):
        np.testing.assert_array_equal(
            segmenter.predict(given).probability, expected.probability
        )
    assert segmenter.predict(tmp_path / "q.png").photo.name == str(tmp_path / "q.png")
    assert expected.probability.shape == QUERY.image.shape[:2]
    assert expected.probability.dtype == np.float32 and isinstance(expected.presence, float)


def test_several_photos_come_one_by_one(segmenter, folder, capsys):
    answers = segmenter.predict(folder / "queries")
    assert iter(answers) is answers
    found = list(answers)
    assert [one.photo.name for one in found] == [
        str(folder / "queries" / f"{seed}.png") for seed in (3, 4)
    ]
    listed = list(segmenter.predict([photo(3).image, photo(4).image]))
    for one, other in zip(found, listed, strict=True):
        np.testing.assert_array_equal(one.probability, other.probability)
    assert "photos" in capsys.readouterr().err  # the progress


def test_photos_of_a_list_are_answered_as_each_alone(network, tmp_path, monkeypatch):
    """Encoded two at a time, of two classes in one batch, with one that is no photo between."""
    monkeypatch.setattr(engine.KerasEngine, "at_once", 2)
    segmenter = Segmenter(network).fit({"cup": [CUP, MUG], "mug": MUG})
    (tmp_path / "notes.txt").write_text("no photo")
    given = [photo(seed, 30 + seed, 45).image for seed in range(10, 15)]
    alone, skipped = [segmenter.predict(image) for image in given], []
    listed = [*given[:2], tmp_path / "notes.txt", *given[2:]]
    together = list(segmenter.predict(listed, skipped))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-4)
        np.testing.assert_array_equal(one.mask, other.mask)
        np.testing.assert_allclose(one.presences, other.presences, atol=1e-5)
    assert len(skipped) == 1
    # What was asked before the error is answered, though they were encoded together.
    answers = segmenter.predict([given[0], tmp_path / "notes.txt"])
    np.testing.assert_array_equal(next(answers).mask, alone[0].mask)
    with pytest.raises(InputError, match="notes.txt"):
        next(answers)


def test_what_is_no_photo_is_an_error_or_skipped(segmenter, folder, tmp_path):
    (tmp_path / "notes.txt").write_text("no photo")
    both = [tmp_path / "notes.txt", folder / "queries" / "3.png"]
    with pytest.raises(InputError, match="notes.txt"):
        list(segmenter.predict(both))
    skipped = []
    assert len(list(segmenter.predict(both, skipped))) == 1
    assert len(skipped) == 1 and "notes.txt" in skipped[0]
    with pytest.raises(InputError, match="at least one photo to segment, received none"):
        list(segmenter.predict(both[:1], []))


def test_several_classes_are_told_apart(network, folder):
    classes = {"cup": folder / "cup", "mug": folder / "mug"}
    found = Segmenter(network).fit(classes).predict(QUERY.image)
    alone = [Segmenter(network).fit(folder / name).predict(QUERY.image) for name in classes]
    np.testing.assert_allclose(found.probability, [one.probability for one in alone], atol=1e-4)
    np.testing.assert_allclose(found.presence, [one.presence for one in alone], atol=1e-6)
    assert found.class_names == ("cup", "mug")
    wanted = decided(np.moveaxis(found.probabilities, 0, -1), 0.5, found.present).numpy()
    np.testing.assert_array_equal(found.mask, wanted)
    assert found.mask.dtype == np.uint8


def test_photos_that_do_not_show_it_say_what_is_absent():
    network = with_prototypes()
    network.parts.likelihood.measured.assign([0.93, 0.02, 0.02])
    segmenter = Segmenter(network, threshold=0.01)
    assert segmenter.fit(CUP).predict(QUERY.image).mask.any()
    segmenter.fit(CUP, negatives=[photo(10).image, photo(11).image])
    found = [segmenter.predict(photo(seed).image) for seed in (1, *range(10, 15))]
    assert {one.present for one in found} == {(True,), (False,)}
    for one in found:
        assert one.present == (one.presence >= deciding.LEAST,)
        assert one.mask.any() == one.present[0] and bool(one.instances) == one.present[0]


def test_fitting_again_forgets_what_was_before(network):
    segmenter = Segmenter(network).fit(CUP)
    first = segmenter.predict(QUERY.image).probability
    second = segmenter.fit(MUG).predict(QUERY.image).probability
    assert np.abs(first - second).max() > 0.01
    np.testing.assert_array_equal(segmenter.fit(CUP).predict(QUERY.image).probability, first)


def test_options_are_those_of_the_command(network):
    one = Segmenter(network, refine_steps=1).fit(CUP).predict(QUERY.image)
    five = Segmenter(network).fit(CUP).predict(QUERY.image)
    assert np.abs(one.probability - five.probability).max() > 1e-4
    with pytest.raises(InputError, match="kshot: expected one of .*received 'max'"):
        Segmenter(kshot="max")
    with pytest.raises(InputError, match="threshold: expected from 0 to 1, received 2"):
        Segmenter(threshold=2)
    with pytest.raises(TypeError, match="refine"):
        Segmenter(refine=1)


def unusable():
    image, mask = CUP.image, plain(CUP.mask)
    return {
        "for each of one or more photos, received 2 photos and 1": (
            [image] * 2,
            [mask],
        ),
        "received 0 photos": ([], []),
        "masks: expected one for each photo, received none": (image, None),
        "^photo 2: .*photo's size": ([image, image], [mask, mask[:-1]]),
        "empty": (image, 0 * mask),
        "uint8": (image / 255, mask),
        "expected a mask": (image, image),
        "different supports": ([image, image], [mask, mask]),
        "those of the classes cup, received mug": ({"cup": image}, {"mug": mask}),
    }


@pytest.mark.parametrize("message", unusable())
def test_unusable_examples_are_named_before_a_network_is_loaded(message, monkeypatch):
    monkeypatch.setattr(engine, "load_checkpoint", lambda path: pytest.fail("loaded"))
    with pytest.raises(InputError, match=message):
        Segmenter("best.keras").fit(*unusable()[message])


def test_a_photo_that_is_turned_otherwise_than_its_mask_is_refused(tmp_path):
    """As by the command: pairs of files have one reader."""
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(photo(1).image).save(tmp_path / "a.jpg", exif=exif)
    Image.fromarray(255 * (photo(1).mask == 1).astype(np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="a.png: expected a mask that is turned as its photo"):
        Segmenter().fit(tmp_path / "a.jpg", tmp_path / "a.png")


def test_predicting_before_fitting_says_what_to_do():
    with pytest.raises(InputError, match="Call fit"):
        Segmenter().predict("photo.jpg")
    with pytest.raises(InputError, match="Call fit"):
        Segmenter().save("learnt.crnet")


def test_memory_does_not_grow_with_the_number_of_photos(network):
    held = []
    for count in (1, 5):
        segmenter = Segmenter(network).fit(CUP)
        list(segmenter.predict([photo(20 + n).image for n in range(count)]))
        held.append(segmenter._engine.learner.cache.bytes)
    assert held[0] == held[1] > 0  # the support's


# === Kept ===


@pytest.fixture(scope="module")
def kept(checkpoint, tmp_path_factory):
    """A checkpoint's Segmenter, and the file that it was saved as."""
    tf.config.run_functions_eagerly(True)
    segmenter = Segmenter(checkpoint, kshot="fusion", threshold=0.4, refine_steps=2)
    segmenter.fit({"cup": CUP, "mug": MUG}, negatives=[photo(7).image, photo(8)])
    path = tmp_path_factory.mktemp("kept") / "learnt.crnet"
    segmenter.save(path)
    return segmenter, path


def test_what_was_saved_answers_alike(kept):
    before, path = kept
    after = Segmenter.load(path)
    expected, found = (one.predict(QUERY.image) for one in (before, after))
    np.testing.assert_array_equal(found.probability, expected.probability)
    np.testing.assert_array_equal(found.mask, expected.mask)
    assert found.presence == expected.presence and found.present == expected.present
    assert after.options == before.options and after.threshold == 0.4
    assert list(after.classes) == ["cup", "mug"]
    plain, marked = after.negatives
    assert plain.mask is None
    np.testing.assert_array_equal(marked.mask, photo(8).mask)


def test_another_checkpoint_is_noticed(kept, tmp_path):
    _, path = kept
    (tmp_path / "other.keras").write_bytes(b"another one")
    with pytest.raises(InputError, match="expected the checkpoint that it was learnt with"):
        Segmenter.load(path, tmp_path / "other.keras")
    with pytest.raises(FileNotFoundError, match="nowhere.keras"):
        Segmenter.load(path, tmp_path / "nowhere.keras")


def test_files_of_another_kind_are_refused(kept, tmp_path):
    _, path = kept
    with pytest.raises(FileNotFoundError, match="Segmenter.save"):
        Segmenter.load(tmp_path / "none")
    (tmp_path / "text").write_text("text")
    with pytest.raises(InputError, match="text: expected a file written by Segmenter.save"):
        Segmenter.load(tmp_path / "text")
    newer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(newer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "learnt.json":
                content = json.dumps(json.loads(content) | {"format": 2})
            new.writestr(name, content)
    (tmp_path / "newer").write_bytes(newer.getvalue())
    with pytest.raises(InputError, match="expected format 1, received 2"):
        Segmenter.load(tmp_path / "newer")


def test_whatever_else_is_in_the_archive_is_refused(kept, tmp_path):
    with zipfile.ZipFile(kept[1]) as archive:
        right = json.loads(archive.read("learnt.json"))
        members = {name: archive.read(name) for name in archive.namelist()}
    less = [{k: v for k, v in right.items() if k != key} for key in ("threshold", "sha256")]
    huge = malformed_images.png(60_000, 60_000, b"")
    for wrong in (
        {"learnt.json": json.dumps(less[0])},
        {"learnt.json": json.dumps(less[1])},
        {"learnt.json": json.dumps(right | {"options": {"unknown": 1}})},
        {"learnt.json": json.dumps([right])},
        {"learnt.json": b" " * 20_000_000},
        {"0.png": huge},
    ):
        with zipfile.ZipFile(tmp_path / "wrong", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in (members | wrong).items():
                archive.writestr(name, content)
        with pytest.raises(InputError, match="wrong: expected"):
            Segmenter.load(tmp_path / "wrong")


def test_a_network_without_a_file_cannot_be_kept(network, tmp_path):
    with pytest.raises(InputError, match="Save the network as NAME.keras"):
        Segmenter(network).fit(CUP).save(tmp_path / "x")


# === What was found ===


@pytest.fixture
def found():
    """Two pieces of a class, one of them with a hole; a third of another class."""
    probabilities = np.zeros((2, 40, 60), np.float32)
    probabilities[0, 5:25, 5:35] = 0.9
    probabilities[0, 10:15, 10:20] = 0.1  # the hole
    probabilities[0, 30:36, 2:10] = 0.8
    probabilities[1, 30:38, 50:60] = 0.7  # at the photo's border
    image = np.full((40, 60, 3), 90, np.uint8)
    return Found(
        photo=LabelledPhoto(image, name="somewhere/desk.jpg"),
        class_names=("cup", "mug"),
        probabilities=probabilities,
        presences=(0.6, 0.4),
        present=(True, True),
        threshold=0.5,
    )


def test_instances_are_the_connected_pieces(found):
    told = [(one.class_name, one.box, round(one.probability, 2)) for one in found.instances]
    assert told == [
        ("cup", (5, 5, 35, 25), 0.9),
        ("cup", (2, 30, 10, 36), 0.8),
        ("mug", (50, 30, 60, 38), 0.7),
    ]
    pieces = sum(one.mask.astype(int) for one in found.instances)
    np.testing.assert_array_equal(pieces, found.mask > 0)


def test_polygons_enclose_their_pieces(found):
    (outer, hole), (small,), (border,) = found.polygons()
    assert [area(line) for line in (outer, hole)] == pytest.approx([600, 50], abs=2)
    assert area(small) == pytest.approx(48, abs=2) and area(border) == pytest.approx(80, abs=2)
    assert tuple(outer.min(axis=0)) == (5, 5) and tuple(outer.max(axis=0)) == (35, 25)
    assert tuple(border.max(axis=0)) == (60, 38)


def area(line):
    x, y = line.T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def test_a_result_shows_itself(found):
    assert repr(found) == (
        "<Found in somewhere/desk.jpg: cup: 24.9%, presence 0.60; mug: 3.3%, presence 0.40>"
    )
    shown = Image.open(io.BytesIO(found._repr_png_()))
    np.testing.assert_array_equal(shown, np.asarray(found.overlay()))
    assert shown.size == (60, 40)


def test_a_result_is_saved_as_predict_saves_it(found, segmenter, tmp_path):
    found.save(tmp_path / "new")
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"desk_classes.png", "desk_overlay.png", "classes.json"}
    single = segmenter.predict(QUERY.image)
    single.save(tmp_path / "single")
    mask = np.asarray(Image.open(tmp_path / "single" / "photo_mask.png"))
    np.testing.assert_array_equal(mask, 255 * single.mask)
    overlay = photos.read_photo(tmp_path / "single" / "photo_overlay.png")
    np.testing.assert_array_equal(overlay, np.asarray(single.overlay()))


def test_results_of_one_name_are_saved_as_several(found, tmp_path):
    save_all(iter([found, found, found]), tmp_path, "labelme,voc")
    names = {path.name for path in (tmp_path / "labelme").iterdir()}
    assert names == {"desk.json", "desk.jpg.json", "desk.jpg-2.json"}
    found.save(tmp_path / "one", "coco", instances=True)
    content = json.loads((tmp_path / "one" / "coco.json").read_text())
    assert len(content["annotations"]) == 3 and content["images"][0]["file_name"] == "desk.png"


def test_a_segmenter_says_what_it_has_learnt(network, segmenter):
    assert repr(Segmenter()) == (
        "<Segmenter: nothing learnt yet; mean, the model that comes along>"
    )
    assert "object from 1" in repr(segmenter)
    assert Segmenter()._repr_png_() is None
    shown = Image.open(io.BytesIO(segmenter._repr_png_()))
    assert shown.size == (drawing.CELL, drawing.CAPTION + drawing.CELL)
