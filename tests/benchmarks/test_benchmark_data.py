"""The benchmark's two sides do the same work."""

import numpy as np
import pytest
import tensorflow as tf
from helpers.voc import write_voc

from benchmarks import builders, data, torch_episodes
from crnet_tf.data import records
from pipelines.sources import voc as voc_source


def stored(files):
    """What records hold, sorted; of label maps their pixels, which each side packs its way."""
    return sorted(map(content, tf.data.TFRecordDataset(list(map(str, files)))))


def content(serialized):
    features = tf.train.Example.FromString(serialized.numpy()).features.feature
    label = features.pop(records.LABEL).bytes_list.value[0]
    pixels = tf.io.decode_png(label).numpy()
    return sorted(map(str, features.items())), pixels.shape, pixels.tobytes()


@pytest.mark.slow
def test_plain_loop_writes_the_records_of_every_builder(tmp_path):
    voc = write_voc(tmp_path / "VOC2012", train=34, val=1)
    pairs = [(photo.path, photo.label) for photo in voc_source.list_photos(voc)["train"]]
    cases = builders.cases(pairs, tmp_path / "in")
    names = " ".join(case.name for case in cases)
    for name in ("voc", "coco", "fss1000", "folder, folders", "folder, labelmaps", "demo"):
        assert f"build_{name}" in names
    for number, case in enumerate(cases):
        index = case.build(tmp_path / f"built{number}")
        given = builders.sources(index, case, tmp_path / f"labels{number}")
        plain = tmp_path / f"plain{number}"
        builders.write_plainly(given, plain)
        streams = [(split, c) for split, v in index.splits.items() for c in v["classes"]]
        assert {path.name for path in plain.iterdir()} == set(map("-".join, streams))
        ours = [file for split, c in streams for file in index.files(split, int(c))]
        assert stored(plain.iterdir()) == stored(ours)


def test_pytorch_episodes_show_their_class(voc_dir, records_dir):
    listed = data.listed_classes(records.load_index(records_dir))
    names = {c: [n for n, classes in listed.items() if c in classes] for c in (2, 9)}
    episodes = torch_episodes.Episodes(voc_dir, names, size=49)
    for number in range(20):
        support, support_mask, query, query_mask = episodes[number]
        assert support.shape == query.shape == (49, 49, 3)
        assert support.dtype == np.float32 and support.max() > 1
        for mask in (support_mask, query_mask):
            assert (mask == 1).any() and set(np.unique(mask)) <= {0, 1, 255}
        assert (support != query).any()


def test_table_gives_ratios_of_medians():
    built = {"build_voc": ([90, 99, 1], [100, 100, 500])}
    text = data.table(built, {"tf.data": [30.0], "DataLoader": [10.0]})
    assert "| build_voc | 90 | 100 | 0.90 |" in text and "| 30.0 | 3.00 |" in text
    assert "PyTorch is not installed" in data.table(built, {"tf.data": [30.0]})
