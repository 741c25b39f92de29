"""Similarities become probabilities that hold what they say."""

import numpy as np
import pytest
from helpers.networks import eager, lively, photo  # noqa: F401

from crnet_tf.data import records
from crnet_tf.evaluation import manifest, presence_fit, scoring
from crnet_tf.evaluation.presence_fit import Seen
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images import png_files
from crnet_tf.reporting import charts


def seen(measured, count=20_000):
    """Photos that show a thing as often as presence says."""
    random = np.random.default_rng(0)
    similarity, shots = random.uniform(0, 0.6, count), random.choice([1, 5], count)
    middle, spread, of_one = measured
    likely = 1 / (1 + np.exp((middle - similarity) / (spread + of_one / shots)))
    return Seen(similarity, shots, random.uniform(size=count) < likely)


def test_what_probabilities_were_drawn_by_is_found_again():
    measured = 0.25, 0.03, 0.05
    drawn = seen(measured)
    found = presence_fit.fitted(drawn)
    np.testing.assert_allclose(found, measured, atol=0.01)
    rows = presence_fit.reliability(found, drawn)
    assert len(rows) == 10 and sum(count for *_, count in rows) == len(drawn.shown)
    for said, shown, count in rows:
        assert shown == pytest.approx(said, abs=0.05) and count > 100
    assert presence_fit.table(rows).splitlines()[0].startswith("| presence")
    picture = charts.reliability({"held-out": rows})
    assert picture.ndim == 3 and picture.std() > 1


def test_a_thing_is_drawn_with_photos_that_show_it_and_that_do_not():
    pairs = [("a", 1), ("b", 1), ("c", 2), ("d", 2)]
    labels = {"a": {0, 1}, "b": {1}, "c": {2}, "d": {2, 1}}
    similar = {name: np.arange(4) + 10.0 * n for n, name in enumerate("abcd")}
    drawn = presence_fit.drawn(pairs, labels, similar)
    assert set(drawn.shots) == {1}  # no class has five other photos
    # Of class 1 known by b: a shows it, c alone does not (d does, a little).
    assert set(drawn.similarity[drawn.shown]) == {1, 10, 23, 32}
    assert set(drawn.similarity[~drawn.shown]) <= {21, 20, 3, 13, 2, 12}
    assert len(drawn.shown) == 2 * drawn.shown.sum() == 8 * presence_fit.DRAWS


@pytest.fixture
def archive(records_dir, tmp_path):
    """Two photos of class 1 and one of class 2."""
    archive = manifest.Archive(records.load_index(records_dir), "val", ())
    for n, class_id in enumerate((1, 1, 2)):
        one, files = photo(n), []
        for pixels in (one.image, np.where(one.mask == 1, np.uint8(class_id), one.mask)):
            png_files.write_png(tmp_path / "a.png", pixels)
            files.append((tmp_path / "a.png").read_bytes())
        record = records.serialize(files[0], "png", files[1], f"p{n}", *one.mask.shape)
        archive.by_class.setdefault(class_id, {})[f"p{n}"] = record
    return archive


def test_it_is_measured_on_photos_of_episodes(archive):
    network = lively()
    learner, before = Learner(network), network.parts.likelihood.measured.numpy()
    entry = manifest.Entry(1, ("p0",), "p1")
    assert not len(presence_fit.measure(learner, archive, [entry]).shown)  # all show it
    np.testing.assert_array_equal(network.parts.likelihood.measured, before)
    entries = [entry, manifest.Entry(2, ("p2",), "p2")]
    drawn = presence_fit.measure(learner, archive, entries)
    assert np.any(network.parts.likelihood.measured.numpy() != before)
    # As a predictor says it, before it becomes a probability.
    known = learner.fit([scoring.photo(archive, "p0", 1)])
    query = learner.encoder.last_level(scoring.photo(archive, "p1", 1), learner.frame)
    cells, average = query - network.parts.centre.mean.numpy(), known.prototypes[0].numpy()
    cosine = cells @ average / np.linalg.norm(cells, axis=-1) / np.linalg.norm(average)
    assert np.isclose(drawn.similarity[drawn.shown], cosine.max(), atol=1e-5).any()
