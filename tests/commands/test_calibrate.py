"""The threshold of a checkpoint: found on base classes, and in every answer from then on."""

import types

import numpy as np
import pytest
from helpers import commands
from helpers.networks import lively, photo
from PIL import Image

from crnet_tf import calibrate
from crnet_tf.evaluation import calibration, manifest, results, scoring
from crnet_tf.fewshot.learner import Learner
from crnet_tf.fewshot.leave_one_out import shifted
from crnet_tf.network import model
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.training import checkpoints

SUPPORT, QUERY = photo(1), photo(9, 45, 37)


@pytest.fixture(scope="module")
def network():
    return lively()


def answers(network):
    """Probabilities [T,S,S] after each refinement step."""
    return Learner(network).fit([SUPPORT]).maps(QUERY)[0]


def test_every_step_is_moved_and_no_cache(network, tmp_path):
    """The second step starts from what the first one said before it was moved."""
    plain = answers(network)
    checkpoints.save_calibrated(network, tmp_path / "moved.keras", 0.3)
    assert network.config.calibrated_threshold == 0.5
    moved = load_checkpoint(tmp_path / "moved.keras")
    assert moved.config.calibrated_threshold == 0.3 and plain.std() > 0.01
    np.testing.assert_allclose(answers(moved), shifted(plain, 0.3), atol=1e-5)


def test_without_mask_refinement_it_is_moved_too(tmp_path):
    network = lively(mask_refinement=False)
    checkpoints.save_calibrated(network, tmp_path / "moved.keras", 0.7)
    moved = load_checkpoint(tmp_path / "moved.keras")
    np.testing.assert_allclose(answers(moved), shifted(answers(network), 0.7), atol=1e-5)


def test_of_equal_thresholds_the_nearest_to_a_half():
    scores = {results.above(t): {"mean_iou": 0.2} for t in results.THRESHOLDS}
    assert calibration.best_threshold(scores) == 0.5
    scores[results.above(0.2)] = scores[results.above(0.9)] = {"mean_iou": 0.3}
    assert calibration.best_threshold(scores) == 0.2


@pytest.mark.parametrize(
    ("shown", "best", "weight", "wanted"),
    [
        ((1, 2), 0.4, 0, 0.3), ((1, 2), 0.2, 0, 0.1), ((1, 2), 0.1, 0, 0.1),
        ((4,), 0.4, 0, 0.4), ((1, 2), 0.4, 7, 0.4),
    ],
)  # fmt: skip
def test_unseen_classes_get_a_tenth_less_than_those_trained_on(shown, best, weight, wanted):
    """Classes for validation alone, as FSS-1000 has them, were not trained on; and prototypes
    know no class better than another."""
    index = types.SimpleNamespace(train_classes=lambda fold: (1, 2, 3))
    archive = types.SimpleNamespace(index=index, by_class=dict.fromkeys(shown))
    scores = {results.above(t): {"mean_iou": 0.2 + (t == best)} for t in results.THRESHOLDS}
    config = model.Config(prototype_weight=weight)
    assert calibration.unseen_threshold(scores, archive, config) == wanted


def test_the_threshold_comes_from_base_classes_and_goes_into_the_checkpoint(
    network, records_dir, tmp_path, monkeypatch, capsys
):
    first = tmp_path / "first.keras"
    lively(fold=1, dataset="pascal5i").save(first)
    asked, draw = [], manifest.draw

    def watched(archive, *arguments):
        asked.append((archive.split, set(archive.by_class)))
        return draw(archive, *arguments)

    monkeypatch.setattr(manifest, "draw", watched)
    flags = [f"--records={records_dir}", "--episodes=2"]
    out, diagram = f"--out={tmp_path}/out.keras", f"--diagram={tmp_path}/diagram.png"
    commands.run(calibrate, f"--checkpoint={first}", out, diagram, *flags)
    assert asked == [("val", set(range(1, 21)) - set(range(6, 11)))]
    printed = capsys.readouterr().out
    calibrated = load_checkpoint(tmp_path / "out.keras")
    found = calibrated.config.calibrated_threshold
    assert not np.array_equal(calibrated.parts.centre.mean, network.parts.centre.mean)
    lines = [line for line in printed.splitlines() if "| 0." in line]
    rows = [line.split("|")[1:5] for line in lines if line.count("|") == 5]
    assert "share that shows it" in printed and len(lines) > len(rows)
    with Image.open(tmp_path / "diagram.png") as diagram:
        assert diagram.mode == "RGB"
    measured = [one.parts.likelihood.measured.numpy() for one in (network, calibrated)]
    assert np.all(measured[0] != measured[1])
    assert len(rows) == 9
    (chosen,) = [row for row in rows if "for unseen classes" in row[3]]
    assert float(chosen[0]) == found
    best = max(rows, key=lambda row: (float(row[1]), -abs(float(row[0]) - 0.5)))
    assert found == max(0.1, round(float(best[0]) - 0.1, 1))
    assert load_checkpoint(first).config.calibrated_threshold == 0.5
    # From another one, in place: found from what the network says, not from what was shifted.
    other = tmp_path / "other.keras"
    commands.run(calibrate, f"--checkpoint={first}", f"--out={other}", "--threshold=0.95")
    assert load_checkpoint(other).config.calibrated_threshold == 0.95
    commands.run(calibrate, f"--checkpoint={other}", *flags)
    assert load_checkpoint(other).config.calibrated_threshold == found


def test_it_is_found_for_the_supports_and_scales_that_will_be_used(
    network, records_dir, tmp_path, monkeypatch
):
    first = tmp_path / "first.keras"
    lively(fold=1, dataset="pascal5i").save(first)
    evaluate, draw, asked = scoring.evaluate, manifest.draw, []

    def drawn(archive, shot, *arguments):
        asked.append(shot)
        return draw(archive, 1, *arguments)  # these records have no three photos of a class

    def watched(learner, archive, entries, **given):
        asked.append((learner.options.kshot, learner.options.scales))
        return evaluate(learner, archive, entries, **given)

    monkeypatch.setattr(manifest, "draw", drawn)
    monkeypatch.setattr(scoring, "evaluate", watched)
    flags = ["--episodes=1", "--shot=2", "--test_scales=1.5"]
    commands.run(calibrate, f"--checkpoint={first}", f"--records={records_dir}", *flags)
    assert asked == [2, ("mean", (1.5,))]
    with pytest.raises(ValueError, match="test_scales: expected one scale"):
        calibration.measure(network, records_dir, test_scales="1,1.5")


def test_measuring_leaves_the_network_as_it_was(records_dir, tmp_path, monkeypatch):
    lively(fold=1, dataset="pascal5i", calibrated_threshold=0.9).save(tmp_path / "a.keras")
    network = load_checkpoint(tmp_path / "a.keras")
    before = answers(network)
    calibration.measure(network, records_dir, episodes=2)
    np.testing.assert_array_equal(answers(network), before)

    def interrupted(*_, **__):
        raise InterruptedError

    monkeypatch.setattr(scoring, "evaluate", interrupted)
    with pytest.raises(InterruptedError):
        calibration.measure(network, records_dir, episodes=2)
    np.testing.assert_array_equal(answers(network), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Expected one of --records, .* received none"),
        (["--records=r", "--threshold=0.2"], "Expected one of --records, .* received both"),
        (["--threshold=0.2"], "expected another --out than a checkpoint that training goes on"),
        (["--threshold=0.2", "--out=there"], "out: expected a name that ends in .keras"),
        (["--threshold=0.2", "--shot=5"], "--threshold: expected it alone, .* received --shot"),
        (["--threshold=1", "--out=there.keras"], "calibrated_threshold: expected a number"),
        (["--threshold=0.2", "--prototype_levels=deep"], "prototype_weight: expected a weight"),
    ],
    ids=str,
)
def test_mistakes_change_nothing(network, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    checkpoints.save_atomically(network, tmp_path / "last.keras", epochs=1)
    before = (tmp_path / "last.keras").read_bytes()
    with pytest.raises(ValueError, match=message):
        commands.run(calibrate, "--checkpoint=last.keras", *arguments)
    assert list(tmp_path.iterdir()) == [tmp_path / "last.keras"]
    assert (tmp_path / "last.keras").read_bytes() == before


@pytest.mark.parametrize("threshold", [0, 1, -0.1, float("nan")])
def test_no_threshold_takes_all_or_nothing(threshold):
    with pytest.raises(
        ValueError, match="calibrated_threshold: expected a number between 0 and 1"
    ):
        model.Config(calibrated_threshold=threshold)
