"""Areas of episodes: by hand, void-blind, of the right size, alike for several protocols."""

import dataclasses
import types

import keras
import numpy as np
import pytest
from helpers import networks
from helpers.episode_batches import batches

from crnet_tf.data import records
from crnet_tf.data.frames import Frame
from crnet_tf.evaluation import calibration, manifest, results, scoring
from crnet_tf.evaluation.protocols import PROTOCOLS
from crnet_tf.fewshot import answers
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images import png_files
from crnet_tf.network import metrics
from crnet_tf.options import Options

SIZE = networks.SIZE
CRNET = PROTOCOLS["crnet"]


@pytest.fixture
def archive(records_dir, tmp_path):
    """Makes an archive of photos that show their own mask: white foreground and void."""

    def make(masks_by_class):
        archive = manifest.Archive(records.load_index(records_dir), "val", ())
        for class_id, masks in masks_by_class.items():
            archive.by_class[class_id] = {}
            for i, mask in enumerate(masks):
                files = []
                label = np.where(mask == 1, class_id, mask).astype(np.uint8)
                for pixels in (np.stack([np.uint8(mask > 0) * 255] * 3, -1), label):
                    png_files.write_png(tmp_path / "a.png", pixels)
                    files.append((tmp_path / "a.png").read_bytes())
                name = f"photo{class_id}_{i}"
                record = records.serialize(files[0], "png", files[1], name, *mask.shape)
                archive.by_class[class_id][name] = record
        return archive

    return make


def box(height=SIZE, width=SIZE, rows=10, columns=20, void=0):
    """uint8 [H,W]: a box of foreground in the corner, rows of void at the bottom."""
    mask = np.zeros((height, width), np.uint8)
    mask[:rows, :columns] = 1
    mask[height - void :] = 255
    return mask


def each_query_once(archive, class_id=1):
    names = sorted(archive.by_class[class_id])
    pairs = zip(names[1:] + names[:1], names, strict=True)
    return [manifest.Entry(class_id, (support,), query) for support, query in pairs]


class WhiteLearner:
    """Answers what is white, at one scale and in one step; notes what it learnt from."""

    def __init__(self):
        self.frame, self.learnt, self.adapted = Frame(SIZE), [], None
        self.encoder = types.SimpleNamespace(keep=True)

    def fit(self, supports, adapted=None):
        self.learnt.append(supports)
        return self

    def maps(self, query):
        return [self.frame.image(query.image).numpy()[None, ..., 0] / 255]

    def restore(self, maps, photo):
        return answers.restored([maps[0][..., None]], photo.shape[:2])[..., 0].numpy()

    def presence(self, query):
        return float(query.image.mean() / 255)


class ConstantLearner(WhiteLearner):
    """Answers the same map whatever it is shown."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def maps(self, query):
        return [self.answer]


def evaluated(shown, *protocols, compared=(), learner=None, entries=None):
    entries = entries or [e for c in shown.by_class for e in each_query_once(shown, c)]
    return scoring.evaluate(
        learner or WhiteLearner(),
        shown,
        entries,
        scoring=protocols or (CRNET,),
        compared=compared,
    )


def scores(found, method="crnet", protocol="crnet"):
    return results.scores(found.totals[protocol])[method]


# === Areas ===


def test_all_foreground_by_hand(archive):
    shown = archive({1: [box(), box(40, 50, 10, 10, void=10)], 2: [box(20, 20, 5, 20)] * 2})
    found = scores(evaluated(shown, compared=("all_foreground",)), "all_foreground")
    # Foreground over everything but void, summed over the episodes of a class.
    first, second = (200 + 100) / (33 * 33 + 30 * 50), 100 / 400
    assert found["class_iou"] == pytest.approx({1: first, 2: second})
    assert found["mean_iou"] == pytest.approx((first + second) / 2)
    # No background is found; foreground without regard to the class.
    assert found["fb_iou"] == pytest.approx((300 + 200) / (33 * 33 + 1500 + 800) / 2)


def test_areas_are_summed_not_ious_averaged(archive):
    """A large photo counts more than a small one."""
    shown = archive({1: [box(66, 66, 66, 60), box(10, 10, 1, 1)]})
    found = scores(evaluated(shown, compared=("all_foreground",)), "all_foreground")
    assert found["mean_iou"] == pytest.approx((66 * 60 + 1) / (66 * 66 + 100))
    assert abs(found["mean_iou"] - (60 / 66 + 1 / 100) / 2) > 0.3


def test_a_perfect_prediction_scores_1_and_void_does_not_count(archive):
    """The stand-in takes void for foreground: that is no fault."""
    found = evaluated(archive({1: [box(void=7), box(rows=4, void=3)]}))
    assert scores(found)["mean_iou"] == scores(found)["fb_iou"] == 1
    areas = found.totals["crnet"]["crnet"][1]
    assert areas.sum(axis=0).tolist() == [33 * 26 + 33 * 30] * 2


def test_scores_are_of_the_photos_own_size(archive):
    found = evaluated(archive({1: [box(100, 80, 50, 40), box(40, 90, 20, 45)]}))
    assert found.totals["crnet"]["crnet"][1][:, 1].sum() >= 100 * 80 + 40 * 90
    assert 0.93 < scores(found)["mean_iou"] < 1


def test_the_network_learns_from_the_supports_of_the_entry(archive):
    shown = archive({1: [box(), box(rows=4)], 2: [box(20, 40, 5, 9, void=2)] * 3})
    learner = WhiteLearner()
    entry = manifest.Entry(2, ("photo2_1", "photo2_2"), "photo2_0")
    evaluated(shown, learner=learner, entries=[entry, *each_query_once(shown)])
    assert [[p.name for p in supports] for supports in learner.learnt] == [
        ["photo2_1", "photo2_2"], ["photo1_1"], ["photo1_0"],
    ]  # fmt: skip
    for photo in learner.learnt[0]:
        np.testing.assert_array_equal(photo.mask, box(20, 40, 5, 9, void=2))
        assert photo.image.dtype == np.uint8 and photo.image.shape == (20, 40, 3)


def test_a_photo_has_the_mask_of_the_asked_class(archive, tmp_path):
    shown = archive({1: [box()], 2: [box(rows=3, void=1)]})
    other = scoring.photo(shown, "photo2_0", 1)
    assert set(np.unique(other.mask)) == {0, 255}  # of class 1 there is nothing
    np.testing.assert_array_equal(scoring.photo(shown, "photo2_0", 2).mask, box(rows=3, void=1))


# === Protocols ===


def test_a_score_of_another_size_by_hand(archive):
    """65 px, the left 33 columns foreground: every second one is left, 17 of 33."""
    shown = archive({1: [box(65, 65, 65, 33), box(65, 65, 65, 33)]})
    small = dataclasses.replace(CRNET, name="small", metric_size=33)
    found = evaluated(shown, small, compared=("all_foreground",))
    expected = 2 * np.array([[0, 33 * 16], [33 * 17, 33 * 33]])
    np.testing.assert_array_equal(found.totals["small"]["all_foreground"][1], expected)
    assert scores(found, protocol="small")["mean_iou"] == 1


def test_void_as_background_by_hand(archive):
    """What the stand-in finds in the void is then a fault."""
    shown = archive({1: [box(void=7), box(rows=4, void=3)]})
    strict = dataclasses.replace(CRNET, name="strict", void="background")
    found = evaluated(shown, strict).totals["strict"]["crnet"][1]
    foreground, void, background = 200 + 80, 33 * (7 + 3), 33 * (26 + 30) - 280
    expected = [[background, background + void], [foreground, foreground + void]]
    np.testing.assert_array_equal(found, expected)


def test_protocols_scored_together_equal_separate_runs(archive):
    masks = [box(30 + 9 * i, 60 - 5 * i, 9 + i, 20, void=i) for i in range(4)]
    shown = archive({1: masks, 2: masks[::-1]})
    asked = [CRNET] + [
        dataclasses.replace(PROTOCOLS[name], metric_size=size)
        for name, size in (("canet_quick", 41), ("hsnet", 50))
    ]
    options = {"compared": ("all_foreground",)}
    learner = WhiteLearner()
    together = evaluated(shown, *asked, learner=learner, **options)
    assert len(learner.learnt) == 8  # one inference serves them all
    apart = [evaluated(shown, protocol, **options) for protocol in asked]
    assert list(together.totals) == ["crnet", "canet_quick", "hsnet"]
    for protocol, alone in zip(asked, apart, strict=True):
        for method, by_class in alone.totals[protocol.name].items():
            for class_id, areas in by_class.items():
                np.testing.assert_array_equal(
                    together.totals[protocol.name][method][class_id], areas
                )
    assert together.episodes == apart[0].episodes != apart[1].episodes
    shares = [scores(together, "all_foreground", p.name)["mean_iou"] for p in asked]
    assert len({round(share, 6) for share in shares}) == 3


def test_learners_that_adapt_alike_learn_an_episode_once(archive, network, monkeypatch):
    """From the first support or fused: what they say apart, after one adaptation each."""
    masks = [box(30 + 9 * i, 60 - 5 * i, 9 + i, 20, void=i) for i in range(3)]
    shown = archive({1: masks})
    entries = [manifest.Entry(1, ("photo1_0", "photo1_1"), "photo1_2")]
    learners = [
        Learner(network, Options(kshot=kshot, finetune_steps=1, finetune_rate=0.01))
        for kshot in ("finetune", "finetune+fusion")
    ]
    apart = [evaluated(shown, learner=learner, entries=entries) for learner in learners]
    count, adapt = [], Learner._adapt
    monkeypatch.setattr(
        Learner, "_adapt", lambda self, supports: count.append(1) or adapt(self, supports)
    )
    together = scoring.evaluate_together(learners, shown, entries, scoring=(CRNET,))
    assert len(count) == 1
    for one, other in zip(together, apart, strict=True):
        assert one.episodes == other.episodes
        for method, by_class in one.totals["crnet"].items():
            np.testing.assert_array_equal(by_class[1], other.totals["crnet"][method][1])
    assert apart[0].episodes != apart[1].episodes


# === Steps, lines, pictures ===


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    network = networks.build()
    for variable in network.trainable_variables:
        if "classifier" in variable.path:  # starts near 0: all steps would be alike
            variable.assign(30 * variable)
    return network


def test_every_refinement_step_is_what_the_network_says(network, archive):
    shown = archive({1: [box(), box(rows=20, columns=9)]})
    learner = Learner(network, Options(edges=False))
    found = evaluated(shown, learner=learner).totals["crnet"]
    steps = [method for method in found if not method.startswith("crnet_above")]
    assert sorted(steps) == ["crnet", "crnet_step1", "crnet_step2", "crnet_step3"]
    np.testing.assert_array_equal(found["crnet"][1], found["crnet_step3"][1])
    expected = {f"crnet_step{t + 1}": 0 for t in range(3)}
    for batch in batches(shown, each_query_once(shown), SIZE, 1):
        state = network.encode_support(
            batch["support_image"][:, 0], batch["support_mask"][:, 0]
        )
        truth = batch["query_truth"].numpy()[0, ..., 0]
        for method, logits in zip(
            expected, network.query_logits(state, batch["query_image"])[0].numpy(), strict=True
        ):
            areas = metrics.areas(logits[..., 1] > logits[..., 0], truth)
            expected[method] = expected[method] + areas
    for method, areas in expected.items():
        # Pixels on the edge of 1/2 may fall either way.
        np.testing.assert_allclose(found[method][1], areas, atol=5)
    assert np.any(found["crnet_step1"][1] != found["crnet_step3"][1])


def test_the_last_step_is_scored_at_other_thresholds_too(archive):
    """33 rows: 10 of the object; 3 of them surely found, 2 more at a quarter, 4 beside it."""
    shown = archive({1: [box(rows=10, columns=33), box()]})
    truth = shown.masked("photo1_0", 1)[1]
    rows = np.flatnonzero((truth == 1).all(axis=1))
    answer = np.zeros((2, SIZE, SIZE), np.float32)
    answer[-1, rows[:3]], answer[-1, rows[3:5]], answer[-1, rows[-1] + 1 :][:4] = (
        0.95,
        0.25,
        0.15,
    )
    answer[0] = 1  # an earlier step
    entry = manifest.Entry(1, ("photo1_1",), "photo1_0")
    found = evaluated(shown, learner=ConstantLearner(answer), entries=[entry]).totals["crnet"]
    iou = {t: metrics.class_iou(found[f"crnet_above{t}"][1]) for t in results.THRESHOLDS}
    assert iou[0.1] == pytest.approx(5 / 14) and iou[0.2] == pytest.approx(5 / 10)
    assert all(iou[t] == pytest.approx(3 / 10) for t in (0.3, 0.5, 0.9))
    np.testing.assert_array_equal(found["crnet_above0.5"][1], found["crnet"][1])


def test_the_line_of_an_episode_by_hand(archive):
    """33 rows: 10 foreground, 16 background, 7 void; rows 5..14 answered, surely from 10 on."""
    shown = archive({1: [box(rows=10, columns=33, void=7), box()]})
    answer = np.zeros((1, SIZE, SIZE), np.float32)
    answer[0, 5:10], answer[0, 10:15], answer[0, -1] = 0.75, 1.0, 1.0
    entry = manifest.Entry(1, ("photo1_1",), "photo1_0")
    learner = ConstantLearner(answer)
    (line,) = evaluated(shown, learner=learner, entries=[entry]).episodes
    assert line == {
        "class_id": 1,
        "support": ["photo1_1"],
        "query": "photo1_0",
        "iou": pytest.approx(5 / 15),
        "areas": [[11 * 33, 21 * 33], [5 * 33, 15 * 33]],
        "foreground": pytest.approx(10 / 26),  # shares of what is not void
        "predicted": pytest.approx(10 / 26),
        "presence": pytest.approx(17 / 33),  # rows that are white
    }


def test_the_centre_is_the_average_cell_of_the_first_queries(network, archive, monkeypatch):
    monkeypatch.setattr(calibration, "CENTRE_PHOTOS", 2)
    shown, learner = archive({1: [box(), box()], 2: [box(), box()]}), Learner(network)
    entries = each_query_once(shown)
    calibration.measure_centre(learner, shown, [entries[1], entries[1], *entries])
    queries = [scoring.photo(shown, e.query, e.class_id) for e in (entries[1], entries[0])]
    cells = [learner.encoder.last_level(query, learner.frame) for query in queries]
    wanted = np.mean([cell.reshape(-1, cell.shape[-1]).mean(axis=0) for cell in cells], axis=0)
    np.testing.assert_allclose(network.parts.centre.mean, wanted, atol=1e-6)


def test_presence_is_left_out_where_it_would_encode_again(archive):
    shown, learner = archive({1: [box(), box()]}), WhiteLearner()
    learner.encoder.keep = False
    assert all(line["presence"] is None for line in evaluated(shown, learner=learner).episodes)


def test_an_episode_without_the_object_counts_what_is_found(archive):
    shown = archive({1: [box(), box()], 2: [box(rows=33, columns=11)]})
    entry = manifest.Entry(1, ("photo1_0",), "photo2_0")
    (line,) = evaluated(shown, entries=[entry]).episodes
    assert (line["iou"], line["foreground"]) == (0, 0)
    assert line["predicted"] == pytest.approx(11 / 33)


def test_a_query_of_void_alone_is_no_fault(archive):
    shown = archive({1: [box(void=SIZE), box()]})
    (line,) = evaluated(shown, entries=[manifest.Entry(1, ("photo1_1",), "photo1_0")]).episodes
    assert line["iou"] == line["foreground"] == line["predicted"] == 0


def test_a_panel_shows_support_query_truth_and_every_step(network, archive):
    shown = archive({1: [box(50, 40), box(rows=20, columns=9)]})
    (entry, _) = each_query_once(shown)
    picture = scoring.panel(Learner(network), shown, entry)
    cells = 3 + 3
    assert picture.dtype == np.uint8 and picture.shape[1] == cells * 164 - 4


def test_an_object_that_is_gone_at_the_input_size_is_named_before_anything_is_computed(
    network, archive
):
    mask = np.zeros((9 * SIZE, 9 * SIZE), np.uint8)
    mask[1, 1] = 1
    shown = archive({1: [box(), mask]})
    with pytest.raises(
        ValueError, match="photo .*, class 1: expected an object that can still"
    ):
        scoring.check_supports(Learner(network), shown, each_query_once(shown))
