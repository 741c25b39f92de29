"""The benchmark's two sides do the same work."""

import pathlib

import numpy as np
from conftest import write_voc

from benchmarks import data, torch_episodes
from crnet_tf import records
from pipelines import build_voc


def test_plain_loop_writes_the_same_records(tmp_path):
    voc = write_voc(tmp_path / "VOC2012", train=8, val=1)
    pairs = build_voc.list_pairs(voc)["train"]
    index = data.build(pairs, tmp_path / "records")
    data.build_plainly(pairs, index, tmp_path / "plain")
    for class_id in range(1, 21):
        for file in index.files("train", class_id):
            plain = tmp_path / "plain" / f"{class_id}.tfrecord"
            assert plain.read_bytes() == pathlib.Path(file).read_bytes()


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
    built = {"build": [90, 99, 1], "plain": [100, 100, 500]}
    text = data.table(built, {"tf.data": [30.0], "DataLoader": [10.0]})
    assert "| 90 | 0.90 |" in text and "| 30.0 | 3.00 |" in text
    assert "PyTorch is not installed" in data.table(built, {"tf.data": [30.0]})
