"""What a folder of records holds, counted from the records themselves."""

import tensorflow as tf

from crnet_tf import folds, records

# (photo, class) pairs of the complete trainaug and val label maps, per filter. The published
# lists of CANet and HSNet, made with OSLSM's filter, have 13,680 and 1,868.
PASCAL5I_PHOTOS = {"train": 10582, "val": 1449}
PASCAL5I_PAIRS = {
    "oslsm": {"train": 13682, "val": 1866},
    "area2048": {"train": 14016, "val": 1923},
    "none": {"train": 15555, "val": 2148},
}


def audit(index: records.Index) -> str:
    """Table of pairs and photos per split, per fold and per class, as text."""
    lines = [f"{index.directory}: {index.dataset}, filter {index.filter}"]
    for split, content in index.splits.items():
        names = _photos_by_class(index, split)
        lines += ["", _split_line(index, split, content, names)]
        for fold in range(folds.NUM_FOLDS):
            lines += _fold_lines(index.dataset, fold, names)
    return "\n".join(lines)


def _photos_by_class(index, split):
    """{class id: ids of its photos}, read from the streams."""
    return {
        c: [
            records.filename(record)
            for record in tf.data.TFRecordDataset(index.files(split, c)).as_numpy_iterator()
        ]
        for c in range(1, len(index.class_names) + 1)
        if index.count(split, c)
    }


def _split_line(index, split, content, names):
    pairs = sum(map(len, names.values()))
    listed = len(set().union(*names.values()))
    line = f"{split}: {pairs:,} pairs on {content['photos']:,} photos ({listed:,} with a pair)"
    if content.get("skipped"):
        line += f", {content['skipped']:,} skipped"
    return line + _published(index, split, content, pairs)


def _published(index, split, content, pairs):
    if index.dataset != "pascal5i":
        return ""
    complete = PASCAL5I_PHOTOS.get(split)
    if content["photos"] != complete:
        return f"; a subset of the {complete:,} of PASCAL-5i" if complete else ""
    expected = PASCAL5I_PAIRS[index.filter][split]
    if pairs == expected:
        return "; complete, as expected"
    return f"; complete, but expected {expected:,} pairs: other label maps than VOC 2012 + SBD?"


def _fold_lines(dataset, fold, names):
    classes = folds.test_classes(dataset, fold)
    pairs = [len(names.get(c, [])) for c in classes]
    listed = len(set().union(*(names.get(c, []) for c in classes)))
    table = "  ".join(
        f"{folds.class_name(dataset, c)} {n}" for c, n in zip(classes, pairs, strict=True)
    )
    return [f"  fold {fold}: {sum(pairs):5,} pairs on {listed:5,} photos   {table}"]
