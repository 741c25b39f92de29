"""The labelling loop, played: strokes where they are needed, and answers that spare them."""

import dataclasses
import types

import numpy as np
import pytest

pytest.importorskip("cv2")

from benchmarks import labelling
from crnet_tf.images.labelled import LabelledPhoto


def photo(seed, height=60, width=80):
    """A red box on noise, and its mask with a line of void."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 60, (height, width, 3)).astype(np.uint8)
    mask, (top, left) = np.zeros((height, width), np.uint8), random.integers(5, 20, 2)
    mask[top : top + 30, left : left + 45] = 1
    image[mask == 1] += np.array([180, 0, 0], np.uint8)
    mask[top] = 255
    return LabelledPhoto(image, mask, f"{seed}")


class Knowing:
    """Stands for a `Segmenter`: answers with the truth once it has learnt something."""

    def __init__(self, photos):
        self.truths = {photo.key: photo.mask for photo in photos}
        self.learnt = []

    def fit(self, examples):
        self.learnt.append(len(examples))
        assert all(set(np.unique(one.mask)) == {0, 1} for one in examples)

    def predict(self, images):
        for image in images:
            truth = self.truths[LabelledPhoto(image).key]
            yield types.SimpleNamespace(mask=np.uint8(truth == 1))


def test_a_stroke_runs_along_the_middle_of_the_largest_region():
    wrong = np.zeros((50, 100), bool)
    wrong[20:40, 10:90] = wrong[0:5, 0:5] = True
    region = labelling.largest(wrong)
    assert region[20:40, 10:90].all() and not region[:10].any()
    painted = labelling.stroke(region)
    rows, columns = np.nonzero(painted)
    assert not (painted & ~region).any()
    assert 25 <= rows.min() and rows.max() <= 35 and np.ptp(columns) > 60
    speck = np.zeros((50, 100), bool)
    speck[0, 99] = True
    np.testing.assert_array_equal(labelling.stroke(labelling.largest(speck)), speck)
    assert not labelling.largest(np.zeros((5, 5), bool)).any()


def test_an_annotator_ends_at_the_goal_or_gives_up():
    given = photo(1)
    truth, nothing = np.uint8(given.mask == 1), np.zeros((60, 80), np.uint8)
    mask, strokes = labelling.corrected(given, nothing, 0.85, 20)
    assert 1 <= strokes <= 3 and labelling.iou(mask, given.mask) >= 0.85
    assert labelling.corrected(given, truth, 0.85, 20)[1] == 0
    _, strokes = labelling.corrected(given, nothing, 1.01, 2)  # no mask is as good
    assert strokes == 2
    too_much = truth.copy()
    too_much[50:, 60:] = 1
    mask, strokes = labelling.corrected(given, too_much, 0.95, 20)
    assert 1 <= strokes <= 2 and not mask[55:, 65:].any()


def test_answers_spare_strokes_after_the_first_round():
    photos = [photo(seed) for seed in range(12)]
    knowing = Knowing(photos)
    rows = labelling.played(knowing, photos, "box", 0.85, 20)
    assert knowing.learnt == [5, 10]
    assert all(row.strokes >= 1 for row in rows)
    assert [row.helped_strokes for row in rows[5:]] == [0] * 7
    assert [row.helped_strokes for row in rows[:5]] == [row.strokes for row in rows[:5]]
    assert [list(row.answers) for row in rows] == 5 * [[]] + 5 * [[5]] + 2 * [[5, 10]]
    counts = sum(row.strokes for row in rows), sum(row.strokes for row in rows[:5])
    line = f"| box | 12 | {counts[0]} | {counts[1]} | {counts[1]} | 7 | 1.00 | 1.00 |"
    assert labelling.table(rows).endswith(line)
    head, *lines = labelling.cells(rows)
    assert {len(line) for line in lines} == {len(head)} and lines[-1][-3:] == [1, 1, ""]
    strokes = labelling.chart(rows).axes[0].lines
    assert [line.get_ydata()[-1] for line in strokes] == [*counts, counts[1]]
    poor = dataclasses.replace(rows[-1], answers={5: 0.9, 10: 0.5})
    assert poor.best_strokes == poor.strokes > rows[-1].best_strokes == 0
