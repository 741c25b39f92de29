"""Own photos in, masks out: the files with a stand-in that compares colours, the rest real."""

import copy
import csv
import dataclasses
import json

import keras
import numpy as np
import pytest
from helpers import networks
from helpers.boxes import BLUE, GREEN, RED, command, photo
from helpers.film_files import write_film
from PIL import Image

from crnet_tf import predict, save_all
from crnet_tf.common.cli import MISTAKES
from crnet_tf.common.errors import BlockedError
from crnet_tf.fewshot import engine, features
from crnet_tf.fewshot.learner import Learner
from crnet_tf.fewshot.predictor import Predictor
from crnet_tf.fewshot.segmenter import Segmenter
from crnet_tf.images import drawing, films, label_files, photos, png_files
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network import model
from crnet_tf.options import Options

SIZE = networks.SIZE


class ColourLearner:
    """Foreground is what has the mean colour of the supports' foreground; two steps."""

    learnt = 0
    cache = features.FeatureCache(0)

    def __init__(self, network, options=None, keep_features=False):
        pass

    def fit(self, supports, negatives=()):
        type(self).learnt += 1
        fitted = copy.copy(self)
        fitted.colours = [photo.image[photo.mask == 1].mean(axis=0) for photo in supports]
        fitted.misled = any(fitted.segment(photo).max() > 0.5 for photo in negatives)
        return fitted

    def steps(self, query):
        distance = np.min([np.abs(query.image - c).mean(-1) for c in self.colours], axis=0)
        margins = np.stack([40 - distance, 60 - distance]) / 10
        return (1 / (1 + np.exp(-margins))).astype(np.float32)

    def segment(self, query):
        return self.steps(query)[-1]

    def maps(self, query):
        return [self.steps(query)]

    def restore(self, maps, photo):
        size = photo.shape[1::-1]
        large = [Image.fromarray(step).resize(size) for step in maps[0]]
        return np.stack(list(map(np.asarray, large)))

    def presence(self, query):
        return 0.0 if self.misled else float(self.segment(query).max())

    def encode(self, photos):
        pass

    def maps_of_each(self, predictors, query):
        return [one.maps(query) for one in predictors]


@pytest.fixture
def colours(monkeypatch):
    monkeypatch.setattr(engine, "Learner", ColourLearner)
    monkeypatch.setattr(ColourLearner, "learnt", 0)
    monkeypatch.setattr(engine, "load_checkpoint", lambda path: None)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    network = model.build_crnet(dataclasses.replace(networks.TINY, refine_steps=2))
    for variable in network.trainable_variables:
        if "classifier" in variable.path:  # starts near 0: it would answer 1/2 everywhere
            variable.assign(30 * variable)
    return network


@pytest.fixture
def loaded(network, monkeypatch):
    monkeypatch.setattr(engine, "load_checkpoint", lambda path: network)
    return network


# === Files ===


def test_what_is_wrong_with_the_files_is_said_before_a_network_is_loaded(
    folder, monkeypatch, capsys
):
    monkeypatch.setattr(engine, "load_checkpoint", lambda path: pytest.fail("loaded"))
    with pytest.raises(OSError, match="out: expected a folder.*received a file"):
        (folder / "out").write_text("")
        command(folder)
    png_files.write_png(folder / "red_mask.png", np.full((3, 4), 255, np.uint8))
    with pytest.raises(ValueError, match="red_mask.png: expected a mask of the photo's size"):
        command(folder, out="other")
    assert not (folder / "other").exists()


def test_results_have_the_size_of_each_query_and_names_of_their_own(folder, colours, capsys):
    command(folder)
    out = folder / "out"
    names = {"a.jpg": (50, 80), "a.png": (30, 20), "b": (70, 45)}
    kinds = ("mask", "probability", "overlay")
    expected = {f"{name}_{kind}.png" for name in names for kind in kinds} | {
        "panel.png",
        "photos.csv",
    }
    assert {path.name for path in out.iterdir()} == expected
    for name, size in names.items():
        mask = label_files.read_label(out / f"{name}_mask.png")
        probability = label_files.read_label(out / f"{name}_probability.png")
        assert mask.shape == probability.shape == size
        assert set(np.unique(mask)) <= {0, 255}
        assert photos.read_photo(out / f"{name}_overlay.png").shape == (*size, 3)
        assert ((probability > 128) <= (mask == 255)).all()
    found, truth = label_files.read_label(out / "b_mask.png") > 0, photo(RED, 70, 45)[1] == 1
    np.testing.assert_array_equal(found, truth)  # the other class's photo has nothing
    assert not label_files.read_label(out / "a.png_mask.png").any()
    assert "Skipped" in (printed := capsys.readouterr().out) and "notes.txt" in printed
    assert ColourLearner.learnt == 1  # once for all queries
    side, gap = predict.PANEL_CELL, drawing.GAP  # a row has the example, the photo, the answer
    size = len(names) * (drawing.CAPTION + side + gap) - gap, 3 * (side + gap) - gap
    assert photos.read_photo(out / "panel.png").shape[:2] == size


def test_what_is_given_in_vain_or_by_mistake_is_said(folder, colours, capsys):
    mask = label_files.read_label(folder / "red_mask.png")
    command(folder, "--noleave_one_out")
    assert "everything" not in (said := capsys.readouterr().out) and "does nothing" not in said
    png_files.write_label(folder / "red_mask.png", np.full_like(mask, 255))
    command(folder, "--leave_one_out", out="full")
    said = capsys.readouterr().out
    assert "red_mask.png: everything is marked." in said and "single support" in said


def test_a_mask_of_two_colours_needs_the_colour_of_the_object(folder, colours):
    command(folder)
    mask = label_files.read_label(folder / "red_mask.png")
    in_colours = np.array([BLUE, GREEN], np.uint8)[(mask > 0).astype(int)]
    png_files.write_png(folder / "red_mask.png", in_colours)
    with pytest.raises(ValueError, match="red_mask.png: expected a mask .*--foreground_colour"):
        command(folder, out="none")
    shown = ",".join(map(str, GREEN))
    command(folder, f"--foreground_colour={shown}", out="found")
    for name in ("b_mask.png", "b_probability.png"):
        one, other = ((folder / out / name).read_bytes() for out in ("out", "found"))
        assert one == other


def test_every_support_is_learnt_from(folder, colours):
    command(folder, supports=("red", "blue"))
    assert label_files.read_label(folder / "out" / "a.png_mask.png").any()
    assert label_files.read_label(folder / "out" / "b_mask.png").any()


def test_photos_without_the_object_score_lower(folder, colours):
    command(folder)
    head, *lines = csv.reader((folder / "out" / "photos.csv").read_text().splitlines())
    assert head == ["photo", "presence", "share"]
    found = {name: (float(score), float(share)) for name, score, share in lines}
    assert sorted(found) == ["a.jpg", "a.png", "b.png"]
    assert found["a.png"][0] < 0.5 < min(found["a.jpg"][0], found["b.png"][0])
    assert found["a.png"][1] == 0 < found["b.png"][1] < 0.5


def test_classes_are_told_apart(folder, colours):
    supports = {"supports": ("red", "blue")}
    command(folder, "--support_class=fire,water", **supports)
    out = folder / "out"
    assert json.loads((out / "classes.json").read_text()) == {"1": "fire", "2": "water"}
    values = {name: set(np.unique(label_files.read_label(out / f"{name}_classes.png")))
              for name in ("a.jpg", "a.png", "b")}  # fmt: skip
    assert values == {"a.jpg": {0, 1}, "a.png": {0, 2}, "b": {0, 1}}
    overlay = photos.read_photo(out / "b_overlay.png")
    assert overlay.shape == (70, 45, 3) and tuple(overlay[0, 0]) == GREEN
    assert tuple(overlay[35, 22]) != RED


def test_answers_are_written_in_the_formats_that_are_asked_for(folder, colours):
    """All classes in one file; formats themselves: tests/annotations/test_writing.py."""
    asked = "--format=coco,voc", "--instances", "--shapes=masks", "--support_class=fire,water"
    command(folder, *asked, supports=("red", "blue"))
    out = folder / "out"
    assert {path.name for path in out.iterdir()} == {"coco.json", "voc", "photos.csv"}
    content = json.loads((out / "coco.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    found = {(names[a["image_id"]], a["category_id"]) for a in content["annotations"]}
    assert found == {("a.jpg", 1), ("a.png", 2), ("b.png", 1)}
    _, mask = photo(RED, 70, 45)
    label = label_files.read_label(out / "voc" / "SegmentationClass" / "b.png")
    np.testing.assert_array_equal(label, mask)


def test_photos_that_show_none_say_what_is_absent(folder, colours):
    (folder / "without").mkdir()
    Image.fromarray(photo(RED)[0]).save(folder / "without" / "as_red.png")
    command(folder)
    command(folder, f"--negative={folder / 'blue.png'}", out="kept")
    command(folder, f"--negative={folder / 'blue.png'},{folder / 'without'}", out="gone")
    for name in ("a.jpg", "b"):
        before, kept, gone = (
            label_files.read_label(folder / out / f"{name}_mask.png")
            for out in ("out", "kept", "gone")
        )
        assert before.any() and not gone.any()
        np.testing.assert_array_equal(kept, before)


def test_each_support_needs_its_class(folder, colours):
    with pytest.raises(ValueError, match="as many --support_class.*received 1 and 2"):
        command(folder, "--support_class=fire", supports=("red", "blue"))
    with pytest.raises(ValueError, match="expected a name for each support.*'fire,'"):
        command(folder, "--support_class=fire,", supports=("red", "blue"))


def test_threshold_moves_the_mask(folder, colours):
    area = []
    for threshold in (0.001, 0.5, 0.999):
        command(folder, f"--threshold={threshold}", out=f"{threshold}")
        area.append((label_files.read_label(folder / f"{threshold}" / "b_mask.png") > 0).sum())
    assert area[0] >= area[1] >= area[2] and area[0] > area[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--query=nowhere"], "expected a photo or a folder"),
        (["--support=a.png,b.png"], "as many --support_mask as --support, received 1 and 2"),
        (["--support=missing.png"], "missing.png"),
        (["--support_mask=missing.png"], "missing.png"),
        (["--format=cocoa"], "--format: expected one or several of png.*'cocoa'"),
        (["--test_scales=none"], "test_scales: expected numbers .* received 'none'"),
    ],
)
def test_wrong_arguments_are_named(folder, colours, arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        command(folder, *arguments)
    assert isinstance(error.value, MISTAKES) and not (folder / "out").exists()


def test_results_do_not_go_among_the_queries(folder, colours):
    with pytest.raises(ValueError, match="another folder"):
        command(folder, out="queries/")
    with pytest.raises(ValueError, match="another folder than that of .*b.png"):
        command(folder, query="queries/b.png", out="queries")


def test_a_mask_of_a_support_is_not_replaced_by_a_result(folder, colours):
    before = (folder / "red_mask.png").read_bytes()
    (folder / "queries" / "red.png").write_bytes((folder / "red.png").read_bytes())
    with pytest.raises(ValueError, match="another folder than that of .*red.png"):
        command(folder, out=".")
    assert (folder / "red_mask.png").read_bytes() == before


def test_a_single_query_that_is_no_photo_is_an_error(folder, colours):
    with pytest.raises(ValueError, match="notes.txt"):
        command(folder, query="queries/notes.txt")


# === Films ===


@pytest.fixture
def film(folder):
    """Beside the folder of queries: two frames with the red box, two with the blue one."""
    pytest.importorskip("av")
    shown = [photo(colour, 48, 64)[0] for colour in (RED, RED, BLUE, BLUE)]
    return write_film(folder / "queries" / "clip.mp4", shown, crf="5")


def test_a_film_is_searched_frame_by_frame(folder, film, colours, capsys):
    """Masks of frames, an overlay of the film, and a table over time."""
    command(folder, query="queries/clip.mp4")
    out = folder / "out"
    names = [f"clip_{number:06d}" for number in (1, 2, 3, 4)]
    expected = {f"{name}_{kind}.png" for name in names for kind in ("mask", "probability")}
    expected |= {"clip_overlay.mp4", "panel.png", "photos.csv"}
    assert {path.name for path in out.iterdir()} == expected
    masks = [label_files.read_label(out / f"{name}_mask.png") for name in names]
    assert [mask.any() for mask in masks] == [True, True, False, False]
    overlay = list(films.Film(out / "clip_overlay.mp4").frames())
    assert [one.moment.seconds for one in overlay] == [0, 0.5, 1, 1.5]
    shown = [frame.image[24, 32] for frame in overlay]
    np.testing.assert_allclose(shown, [drawing.OBJECT, drawing.OBJECT, BLUE, BLUE], atol=60)
    head, *rows = csv.reader((out / "photos.csv").read_text().splitlines())
    assert head == ["photo", "seconds", "presence", "share"]
    times = [f"{n / 2:.3f}" for n in range(4)]
    assert [row[0] for row in rows] == [f"{name}.png" for name in names]
    assert [row[1] for row in rows] == times
    assert [float(row[2]) > 0.5 for row in rows] == [True, True, False, False]
    assert "4 frames segmented" in capsys.readouterr().out


def test_some_frames_of_a_film_in_formats_of_tools(folder, film, colours, monkeypatch):
    """Which name photos: frames are written beside, whatever has their name elsewhere."""
    monkeypatch.chdir(folder)
    (folder / "clip_000001.png").write_text("no frame")
    asked = "--every=1", "--format=png,coco", "--support_class=fire,water"
    command(folder, *asked, supports=("red", "blue"), query="queries/clip.mp4")
    out = folder / "out"
    content = json.loads((out / "coco.json").read_text())
    names = [(out / image["file_name"]).resolve() for image in content["images"]]
    assert names == [out / f"clip_{number:06d}.png" for number in (1, 3)]
    assert [one["category_id"] for one in content["annotations"]] == [1, 2]
    assert photos.read_photo(names[1]).shape == (48, 64, 3)
    assert (out / "clip_overlay.mp4").exists() and (out / "clip_000003_classes.png").exists()


def test_a_film_among_photos_is_skipped(folder, film, colours, capsys):
    command(folder)
    said = capsys.readouterr().out
    assert "Skipped" in said and "clip.mp4" in said and "It is a film" in said
    assert not (folder / "out" / "clip_overlay.mp4").exists()
    with pytest.raises(ValueError, match="--every: expected a film, received --query"):
        command(folder, "--every=1", out="other")


def test_a_damaged_film_is_searched_to_its_end(folder, film, colours, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (8, 48, 64, 3), np.uint8)
    write_film(film, noise, movflags="faststart")
    film.write_bytes(film.read_bytes()[: film.stat().st_size * 3 // 4])
    command(folder, query="queries/clip.mp4")
    said = capsys.readouterr().out
    assert "Skipped" in said and "a damaged or empty one" in said
    rows = (folder / "out" / "photos.csv").read_text().splitlines()[1:]
    assert 0 < len(rows) < 8 and f"{len(rows)} frames segmented" in said
    film.write_text("no film")
    with pytest.raises(ValueError, match="clip.mp4: expected a film"):
        command(folder, query="queries/clip.mp4", out="other")
    assert not (folder / "other").exists()


def test_a_segmenter_searches_a_film(folder, film, colours):
    segmenter = Segmenter("any.keras", engine="keras").fit(*photo(RED))
    answers = segmenter.predict(film, every=1)
    assert iter(answers) is answers
    first, last = answers
    assert first.mask.any() and not last.mask.any()
    assert first.photo.moment == ("clip", 0) and last.photo.moment == ("clip", 1)
    last.save(folder / "one")
    assert (folder / "one" / "clip_000003_overlay.png").exists()
    save_all(segmenter.predict(str(film)), folder / "all")
    assert len(list(films.Film(folder / "all" / "clip_overlay.mp4").frames())) == 4


# === The network ===


def fitted(network, *examples, **options):
    """What answers after some (image, mask)."""
    supports = [LabelledPhoto(image, mask) for image, mask in examples]
    return Learner(network, Options(**options)).fit(supports)


@pytest.mark.parametrize("size", [(20, 90), (90, 20), (SIZE, SIZE), (1, 1)])
def test_probability_has_the_size_of_the_photo(network, size):
    query = LabelledPhoto(photo(RED, *size)[0])
    steps = fitted(network, photo(RED)).steps(query)
    assert steps.shape == (2, *size) and steps.dtype == np.float32
    assert 0 <= steps.min() and steps.max() <= 1
    found = Segmenter(network).fit(*photo(RED)).predict(query)
    np.testing.assert_allclose(found.probability, steps[-1], atol=1e-4)


def test_fusion_is_the_mean_of_the_one_shot_probabilities(network):
    supports = [photo(RED), photo(BLUE, 30, 30), photo(GREEN)]
    query = LabelledPhoto(photo(RED, 50, 50)[0])
    smooth = {"edges": False}  # else each is clipped to 0..1
    single = [fitted(network, one, **smooth).steps(query) for one in supports]
    fused = fitted(network, *supports, **smooth).steps(query)
    np.testing.assert_allclose(fused, np.mean(single, axis=0), atol=1e-6)
    assert np.abs(single[0] - single[1]).max() > 0.01


def probability(folder, out):
    return label_files.read_label(folder / out / "b_probability.png").astype(float)


def test_scales_are_averaged(folder, loaded):
    for scales in ("1", "1.25", "1,1.25"):
        command(folder, f"--test_scales={scales}", out=scales, query="queries/b.png")
    first, second, both = (probability(folder, out) for out in ("1", "1.25", "1,1.25"))
    np.testing.assert_allclose(both, (first + second) / 2, atol=1.01)
    assert np.abs(first - second).max() > 3
    with pytest.raises(ValueError, match="scales: expected all to give at least 33 px"):
        command(folder, "--test_scales=0.5")


def test_fine_tuning_through_the_command(folder, loaded):
    """Answers change, the network does not; a single support is refused with the remedy."""
    before = [variable.numpy() for variable in loaded.variables]
    flags = ["--finetune_steps=2", "--finetune_rate=0.01"]
    for kshot in ("fusion", "finetune+fusion"):
        arguments = [f"--kshot={kshot}", *flags]
        command(folder, *arguments, supports=("red", "blue"), out=kshot, query="queries/b.png")
    fused, adapted = (probability(folder, out) for out in ("fusion", "finetune+fusion"))
    assert np.abs(fused - adapted).max() > 3
    for variable, value in zip(loaded.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    with pytest.raises(ValueError, match="expected at least 2 labelled .*--kshot=fusion"):
        command(folder, "--kshot=finetune", *flags)


def test_the_command_searches_as_a_segmenter_does(folder, loaded):
    command(folder, supports=("red", "blue"), query="queries/b.png")
    examples = [LabelledPhoto(*photo(RED)), LabelledPhoto(*photo(BLUE, 50, 30))]
    found = Segmenter(loaded).fit(examples).predict(folder / "queries" / "b.png")
    np.testing.assert_allclose(probability(folder, "out"), 255 * found.probability, atol=0.51)


def test_a_query_is_encoded_once_for_all_classes(folder, loaded, monkeypatch):
    encoded, encode = [], features.PhotoEncoder._kept

    def watched(self, key, compute):
        return encode(self, key, lambda: encoded.append(key) or compute())

    monkeypatch.setattr(features.PhotoEncoder, "_kept", watched)
    supports = {"supports": ("red", "blue")}
    command(folder, "--support_class=fire,water", query="queries/b.png", **supports)
    assert len(encoded) == len(set(encoded)) == 5  # two supports, plain and masked; the query


def test_a_saved_network_segments_alike(network, tmp_path):
    network.save(tmp_path / "best.keras")
    before, after = (
        Segmenter(one).fit(*photo(RED)).predict(photo(BLUE, 51, 47)[0]).probability
        for one in (network, tmp_path / "best.keras")
    )
    np.testing.assert_allclose(before, after, atol=1e-6)


@pytest.mark.parametrize("several", [False, True])
def test_scores_of_what_was_answered_survive_an_interruption(
    folder, network, several, monkeypatch
):
    presence = Predictor.presence

    def interrupted(self, query):
        if query.name.endswith("b.png"):
            raise KeyboardInterrupt
        return presence(self, query)

    examples = {"red": LabelledPhoto(*photo(RED)), "blue": LabelledPhoto(*photo(BLUE))}
    if not several:
        del examples["blue"]
    segmenter = Segmenter(network).fit(examples)
    monkeypatch.setattr(Predictor, "presence", interrupted)
    paths, out = predict.query_paths(folder / "queries"), folder / "out"
    with pytest.raises(KeyboardInterrupt):
        predict.predict(segmenter, paths, out)
    with open(out / "photos.csv", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["photo", "a.jpg", "a.png"]
    assert (out / "classes.json").exists() == several


def test_a_faster_start_is_prepared_once_the_work_is_done(folder, network, tmp_path, capsys):
    network.save(tmp_path / "best.keras")
    arguments = [f"--checkpoint={tmp_path / 'best.keras'}", "--engine=auto"]
    said = []
    for out in ("first", "second"):
        command(folder, *arguments, query="queries/b.png", out=out)
        said.append("starts ten times as fast" in capsys.readouterr().out)
    assert said == [True, False]
    first, second = (probability(folder, out) for out in ("first", "second"))
    np.testing.assert_allclose(first, second, atol=1.01)


def test_a_start_that_cannot_be_prepared_is_no_error(monkeypatch, capsys):
    segmenter = Segmenter()
    for error in (BlockedError("it answers otherwise"), OSError("disk full")):
        monkeypatch.setattr(segmenter, "prepare", raising(error))
        predict.prepare(segmenter)
        assert f"starts no faster: {error}" in capsys.readouterr().out


def raising(error):
    def fail():
        raise error

    return fail
