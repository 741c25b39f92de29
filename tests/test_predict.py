"""Own photos in, masks out; with a stand-in network that compares colours."""

import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from crnet_tf import model, photos, predict, support
from crnet_tf.config import Config

SIZE = 33
RED, BLUE, GREEN = (220, 30, 30), (30, 30, 220), (30, 160, 30)


class ColourNetwork:
    """Foreground is what has the mean colour of the support's foreground; two steps."""

    config = types.SimpleNamespace(image_size=SIZE)

    def __init__(self):
        self.encoded = 0

    def encode_support(self, image, mask):
        self.encoded += 1
        weights = tf.cast(mask == 1, tf.float32)
        colour = tf.reduce_sum(image * weights, (1, 2), True) / tf.reduce_sum(weights)
        return {"category": colour}

    def segment(self, state, query):
        distance = tf.reduce_mean(tf.abs(query - state["category"]), -1)
        margin = tf.stack([40 - distance, 60 - distance], 1) / 10  # [B,T,S,S]
        return tf.stack([tf.zeros_like(margin), margin], -1)


def photo(colour, height=40, width=60):
    """A coloured box on green, and its mask."""
    image = np.full((height, width, 3), GREEN, np.uint8)
    mask = np.zeros((height, width), np.uint8)
    box = slice(height // 4, 3 * height // 4), slice(width // 4, 3 * width // 4)
    image[box], mask[box] = colour, 1
    return image, mask


@pytest.fixture
def folder(tmp_path):
    """Photos of one and the same stem, something that is no photo, and a support."""
    queries = tmp_path / "queries"
    queries.mkdir()
    Image.fromarray(photo(RED, 50, 80)[0]).save(queries / "a.jpg", quality=95)
    photos.write_png(queries / "a.png", photo(BLUE, 30, 20)[0])
    photos.write_png(queries / "b.png", photo(RED, 70, 45)[0])
    (queries / "notes.txt").write_text("no photo")
    image, mask = photo(RED)
    photos.write_png(tmp_path / "support.png", image)
    photos.write_png(tmp_path / "mask.png", 255 * mask)
    return tmp_path


def arguments(folder, **changed):
    values = {
        "checkpoint": "none.keras",
        "support": [str(folder / "support.png")],
        "support_mask": [str(folder / "mask.png")],
        "class_id": None,
        "query": str(folder / "queries"),
        "out": str(folder / "out"),
        "threshold": 0.5,
    }
    return types.SimpleNamespace(**{**values, **changed})


@pytest.fixture
def network(monkeypatch):
    network = ColourNetwork()
    monkeypatch.setattr(model, "load_checkpoint", lambda path: network)
    return network


@pytest.mark.parametrize("size", [(20, 90), (90, 20), (SIZE, SIZE), (1, 1)])
def test_probability_has_the_size_of_the_photo(size):
    image, mask = photo(RED)
    segmenter = predict.Segmenter(ColourNetwork(), [image], [mask])
    probability = segmenter.segment(photo(RED, *size)[0])
    assert probability.shape == size and probability.dtype == np.float32
    assert 0 <= probability.min() and probability.max() <= 1


def test_finds_the_labelled_thing_and_not_the_other():
    image, mask = photo(RED)
    segmenter = predict.Segmenter(ColourNetwork(), [image], [mask])
    query, truth = photo(RED, 90, 70)
    agree = (segmenter.segment(query) > 0.5) == truth
    assert agree.mean() > 0.93
    assert (segmenter.segment(photo(BLUE)[0]) < 0.5).all()


def test_supports_are_encoded_once_for_many_queries():
    network = ColourNetwork()
    segmenter = predict.Segmenter(network, *zip(photo(RED), photo(BLUE), strict=True))
    for height in (20, 30, 40):
        segmenter.segment(photo(RED, height)[0])
    assert network.encoded == 2


def test_fusion_is_the_mean_of_the_one_shot_probabilities():
    supports = [photo(RED), photo(BLUE, 30, 30), photo(GREEN)]
    query = photo(RED, 50, 50)[0]
    single = [predict.Segmenter(ColourNetwork(), [i], [m]).segment(query) for i, m in supports]
    fused = predict.Segmenter(ColourNetwork(), *zip(*supports, strict=True)).segment(query)
    np.testing.assert_allclose(fused, np.mean(single, axis=0), atol=1e-6)


def test_results_have_the_size_of_each_query_and_names_of_their_own(folder, network, capsys):
    predict.run(arguments(folder))
    out = folder / "out"
    names = {"a.jpg": (50, 80), "a.png": (30, 20), "b": (70, 45)}
    kinds = ("mask", "probability", "overlay")
    expected = {f"{name}_{kind}.png" for name in names for kind in kinds} | {"panel.png"}
    assert {path.name for path in out.iterdir()} == expected
    for name, size in names.items():
        mask = photos.read_label(out / f"{name}_mask.png")
        probability = photos.read_label(out / f"{name}_probability.png")
        assert mask.shape == probability.shape == size
        assert set(np.unique(mask)) <= {0, 255}
        assert photos.read_photo(out / f"{name}_overlay.png").shape == (*size, 3)
        assert ((probability > 128) <= (mask == 255)).all()
    assert "Skipped" in (printed := capsys.readouterr().out) and "notes.txt" in printed
    assert network.encoded == 1


def test_threshold_moves_the_mask(folder, network):
    area = []
    for threshold in (0.01, 0.5, 0.999):
        predict.run(arguments(folder, threshold=threshold, out=str(folder / f"{threshold}")))
        area.append((photos.read_label(folder / f"{threshold}" / "b_mask.png") > 0).sum())
    assert area[0] >= area[1] >= area[2] and area[0] > area[2]


def test_output_names_never_collide():
    files = ["a.jpg", "a.png", "A.bmp", "a.jpg.png", "b.jpg", "c.d.jpg"]
    names = predict.output_names([pathlib.Path(file) for file in files])
    assert len({name.casefold() for name in names}) == len(files)
    assert names[4:] == ["b", "c.d"]


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"query": "nowhere"}, "expected a photo or a folder"),
        ({"support": ["a.png", "b.png"]}, "as many --support_mask as --support"),
        ({"support": ["missing.png"]}, "missing.png"),
    ],
)
def test_wrong_arguments_are_named(folder, network, changed, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        predict.run(arguments(folder, **changed))
    assert not (folder / "out").exists()


def test_results_do_not_go_among_the_queries(folder, network):
    with pytest.raises(ValueError, match="another folder"):
        predict.run(arguments(folder, out=str(folder / "queries") + "/"))


def test_a_single_query_that_is_no_photo_is_an_error(folder, network):
    with pytest.raises(ValueError, match="notes.txt"):
        predict.run(arguments(folder, query=str(folder / "queries" / "notes.txt")))


def test_mask_may_be_0_1_or_0_255_or_one_class_of_a_label_map(tmp_path):
    _, mask = photo(RED)
    labels = 7 * mask
    labels[0], labels[-1] = 255, 3
    for name, array in {"one": mask, "full": 255 * mask, "labels": labels}.items():
        photos.write_png(tmp_path / f"{name}.png", array, photos.voc_palette())
    photos.write_png(tmp_path / "rgb.png", np.repeat(255 * mask[..., None], 3, axis=-1))
    for name in ("one", "full", "rgb"):
        np.testing.assert_array_equal(support.read_mask(tmp_path / f"{name}.png"), mask)
    chosen = support.read_mask(tmp_path / "labels.png", class_id=7)
    np.testing.assert_array_equal(chosen == 1, mask == 1)
    assert (chosen[0] == 255).all() and (chosen[-1] == 0).all()
    with pytest.raises(ValueError, match="--class_id=N"):
        support.read_mask(tmp_path / "labels.png")
    with pytest.raises(ValueError, match="holds class 5, received the ids 0, 3, 7, 255"):
        support.read_mask(tmp_path / "labels.png", class_id=5)


def test_coloured_mask_is_refused(tmp_path):
    photos.write_png(tmp_path / "colour.png", photo(RED)[0])
    with pytest.raises(ValueError, match="mode RGB"):
        support.read_mask(tmp_path / "colour.png")


def bad_supports():
    image, mask = photo(RED, 400, 600)
    dot = np.zeros_like(mask)
    dot[1, 1] = 1
    return {
        "photo's size": (image, mask[:-1]),
        "Turn it": (image, mask.T),
        "empty": (image, 0 * mask),
        "received 0, 2": (image, 2 * mask),
        "none of which is left": (image, dot),
        "uint8": (image / 255, mask),
    }


@pytest.mark.parametrize("message", bad_supports())
def test_unusable_supports_are_errors(message):
    image, mask = bad_supports()[message]
    with pytest.raises(ValueError, match=message):
        predict.Segmenter(ColourNetwork(), [image], [mask])


def test_segmenter_needs_a_mask_for_each_photo():
    with pytest.raises(ValueError, match="one mask for each"):
        predict.Segmenter(ColourNetwork(), [photo(RED)[0]], [])
    with pytest.raises(ValueError, match="one or more"):
        predict.Segmenter(ColourNetwork(), [], [])


def test_the_real_network_segments_after_a_checkpoint(tmp_path):
    settings = Config(
        backbone="tiny", backbone_weights="none", image_size=SIZE, channels=8, refine_steps=3
    )
    network = model.build_crnet(settings)
    network.save(tmp_path / "best.keras")
    image, mask = photo(RED)
    segmenters = [
        predict.Segmenter(net, [image], [mask])
        for net in (network, model.load_checkpoint(tmp_path / "best.keras"))
    ]
    query = photo(BLUE, 51, 47)[0]
    before, after = (segmenter.segment(query) for segmenter in segmenters)
    assert before.shape == (51, 47) and segmenters[0].steps(query).shape == (3, SIZE, SIZE)
    np.testing.assert_allclose(before, after, atol=1e-6)
