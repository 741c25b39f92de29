"""Several classes at once: who wins a pixel, and what is counted for whom."""

import numpy as np
import pytest

from crnet_tf.data import records
from crnet_tf.evaluation import manifest, nway
from crnet_tf.images import png_files

HEIGHT, WIDTH = 10, 12


def label_map():
    """Rows 0-2 class 6, 3-4 class 7, 5 class 8, 9 void; the rest background."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[:3], label[3:5], label[5], label[9] = 6, 7, 8, 255
    return label


@pytest.fixture
def archive(records_dir, tmp_path):
    """Classes 6..9: the query of above, and a support of each class."""
    archive = manifest.Archive(records.load_index(records_dir), "val", ())

    def record(name, label):
        files = []
        for pixels in (np.repeat(label[..., None], 3, -1), label):
            png_files.write_png(tmp_path / "a.png", pixels)
            files.append((tmp_path / "a.png").read_bytes())
        return records.serialize(files[0], "png", files[1], name, *label.shape)

    for class_id in (6, 7, 8, 9):
        label = np.full((8, 8), class_id, np.uint8)
        archive.by_class[class_id] = {f"of{class_id}": record(f"of{class_id}", label)}
    for class_id in (6, 7, 8):
        archive.by_class[class_id]["query"] = record("query", label_map())
    return archive


class ByName:
    """Answers rows of a class that depends on the support's name."""

    rows = {
        "of6": {(0, 3): 0.9, (3, 4): 0.6},
        "of7": {(3, 6): 0.8, (9, 10): 0.9},
        "of8": {},
        "of9": {(4, 5): 0.85, (6, 8): 0.7, (8, 9): 0.4},
    }

    unlikely = ()

    def fit(self, supports):
        (support,) = supports
        assert np.all(support.mask == 1)  # the support's own class, whichever is asked for
        self.name = support.name
        return self

    def maps(self, query):
        probabilities = np.zeros(query.image.shape[:2])
        for (top, bottom), probability in self.rows[self.name].items():
            probabilities[top:bottom] = probability
        return [np.stack([1 - probabilities, probabilities])]  # of two steps

    def presence(self, query):
        return 0.3 if self.name in self.unlikely else 0.9

    def restore(self, maps, photo):
        return maps[0]


def entry(*classes):
    return manifest.WayEntry(classes, tuple((f"of{c}",) for c in classes), "query")


def areas_of(archive, entries):
    (by_class,) = (
        nway.evaluate_ways(ByName(), archive, entries, "crnet").totals["crnet"].values()
    )
    return by_class


def test_areas_by_hand(archive):
    """Row 3 is class 7's, though 6 claims it too; row 5 is neither's; row 9 is void."""
    found = areas_of(archive, [entry(6, 7)])
    valid = 9
    assert {c: (areas / WIDTH).tolist() for c, areas in found.items()} == {
        6: [[valid - 3, valid - 3], [3, 3]],
        7: [[valid - 3, valid - 2], [2, 3]],
    }


def test_a_class_that_is_not_there_pays_for_what_it_takes(archive):
    found = areas_of(archive, [entry(7, 9)])
    # 9 takes row 4 from 7, and rows 6, 7 of the background; row 8 is too improbable.
    assert (found[7][1] / WIDTH).tolist() == [1, 3]
    assert (found[9][1] / WIDTH).tolist() == [0, 3]


def test_a_class_that_is_unlikely_takes_nothing(archive, monkeypatch):
    monkeypatch.setattr(ByName, "unlikely", ("of9",))
    found = areas_of(archive, [entry(7, 9)])
    assert (found[7][1] / WIDTH).tolist() == [2, 3]  # it has row 4 back
    assert found[9][1].sum() == 0


def test_areas_of_episodes_are_summed_by_class(archive):
    entries = [entry(6, 7), entry(7, 9), entry(8, 6)]
    alone = [areas_of(archive, [one]) for one in entries]
    together = areas_of(archive, entries)
    assert set(together) == {6, 7, 8, 9}
    for class_id, areas in together.items():
        expected = sum(one[class_id] for one in alone if class_id in one)
        np.testing.assert_array_equal(areas, expected)


@pytest.mark.parametrize("way", [0, 4, 9])
def test_more_ways_than_classes(records_dir, way):
    archive = manifest.Archive(records.load_index(records_dir), "train", (6, 7, 8))
    with pytest.raises(ValueError, match=rf"way: expected 1..3, .*received {way}"):
        manifest.draw_ways(archive, way, 1, 5, seed=0)
