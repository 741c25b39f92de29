"""What a folder of records holds, counted from the records themselves.

Where counts of a complete data set are known, those of the records are compared with them.
"""

from collections.abc import Sequence

from crnet_tf.data import folds
from crnet_tf.data.index import Index

# Photos of the complete sets: VOC 2012 trainaug and val; PFENet's list of 5,953; the photos of
# COCO 2014 with annotations (PFENet's README).
PASCAL5I_PHOTOS = {
    "pairs": {"train": 10582, "val": 1449},
    "pfenet": {"train": 5953, "val": 1449},
}
COCO_PHOTOS = {"train": 82081, "val": 40137}
# (photo, class) pairs per list and filter, counted on a complete label set.
PASCAL5I_PAIRS = {
    ("pairs", "oslsm"): {"train": 13682, "val": 1866},
    ("pairs", "area2048"): {"train": 14016, "val": 1923},
    ("pairs", "none"): {"train": 15555, "val": 2148},
    ("pfenet", "area2048"): {"train": 7903, "val": 1923},
}
# The pairs of each fold in the published lists: of CANet and HSNet, made with OSLSM's filter
# (their files trn/fold*.txt, val/fold*.txt); and as PFENet's code counts them.
PUBLISHED_FOLDS = {
    ("pairs", "oslsm"): {"train": (2286, 3425, 5883, 2086), "val": (346, 451, 725, 346)},
    ("pfenet", "area2048"): {"train": (1357, 2007, 3275, 1264), "val": (365, 467, 734, 357)},
}
# Pairs of HSNet's lists of COCO 2014, whose filter is not documented.
COCO_HSNET_PAIRS = {"train": 170491, "val": 82573}
_NAMED_CLASSES = 20  # a fold of more is summed up


def audit(index: Index, list_name: str = "pairs") -> str:
    """Table of pairs and photos per split, per fold and per class, as text.

    Args:
        index: of the records.
        list_name: which photos PASCAL-5i should have, `pairs` or `pfenet`.
    """
    lines = [f"{index.directory}: {index.dataset}, filter {index.filter}"]
    for split, content in index.splits.items():
        names = _photos_by_class(index, split)
        pairs = sum(map(len, names.values()))
        compared = compare(index, split, content["photos"], pairs, list_name)
        lines += ["", _split_line(split, content, names, pairs) + compared]
        published = ()
        if index.dataset == "pascal5i" and "complete" in compared:
            published = PUBLISHED_FOLDS.get((list_name, index.filter), {}).get(split, ())
        lines += _fold_lines(index, names, published)
    return "\n".join(lines)


def compare(index: Index, split: str, photos: int, pairs: int, list_name: str = "pairs") -> str:
    """How the counts of a split differ from those of the complete data set; "" if unknown."""
    if index.dataset == "pascal5i":
        complete = PASCAL5I_PHOTOS[list_name].get(split)
        expected = PASCAL5I_PAIRS.get((list_name, index.filter), {}).get(split)
        of = f"PASCAL-5i, list {list_name}"
    elif index.dataset.startswith("coco"):
        complete, expected = COCO_PHOTOS.get(split), None
        of = "COCO 2014"
        if not index.source.endswith(of):  # of 2017, which has other photos
            return ""
    else:
        return ""
    if complete is None:
        return ""
    if photos != complete:
        less = f": {_difference(photos, complete)} photos"
        less += f", {_difference(pairs, expected)} pairs" if expected else ""
        kind = "a subset of" if photos < complete else "not just"
        return f"; {kind} the {complete:,} of {of}{less}"
    if index.dataset.startswith("coco"):
        return f"; complete; HSNet's lists have {COCO_HSNET_PAIRS[split]:,} pairs"
    if expected is None:
        return f"; complete; no count to compare with for filter {index.filter}"
    if pairs == expected:
        return "; complete, as expected"
    return (
        f"; complete, but {_difference(pairs, expected)} pairs than the expected "
        f"{expected:,}: other label maps than VOC 2012 + SBD?"
    )


def _difference(count, expected):
    return f"{abs(count - expected):,} {'fewer' if count < expected else 'more'}"


def _photos_by_class(index, split):
    """{class id: ids of its photos}, read from the streams."""
    from crnet_tf.data import records  # TensorFlow: builders are commands

    there = [c for c in range(1, len(index.class_names) + 1) if index.count(split, c)]
    return {c: [*stream] for c, stream in records.streams(index, split, there).items()}


def _split_line(split, content, names, pairs):
    listed = len(set().union(*names.values()))
    line = f"{split}: {pairs:,} pairs on {content['photos']:,} photos ({listed:,} with a pair)"
    if content.get("skipped"):
        line += f", {content['skipped']:,} skipped"
    return line


def _fold_lines(index, names, published: Sequence[int]):
    if index.classes_by_fold:
        held_out = index.classes_by_fold
    elif index.dataset in folds.CLASS_NAMES:
        number = folds.num_folds(index.dataset)
        held_out = [folds.test_classes(index.dataset, fold) for fold in range(number)]
    else:
        return []
    return [
        _fold_line(index, fold, classes, names, published)
        for fold, classes in enumerate(held_out)
    ]


def _fold_line(index, fold, classes, names, published):
    counts = [len(names.get(c, [])) for c in classes]
    listed = len(set().union(*(names.get(c, []) for c in classes)))
    line = f"  fold {fold}: {sum(counts):5,} pairs on {listed:5,} photos"
    if published:
        line += f" (published: {published[fold]:,})"
    if len(classes) <= _NAMED_CLASSES:
        table = zip(classes, counts, strict=True)
        return line + "   " + "  ".join(f"{index.class_names[c - 1]} {n}" for c, n in table)
    empty = counts.count(0)
    return (
        line
        + f"   {len(classes)} classes of {min(counts)} to {max(counts)}"
        + (f", {empty} without a photo" if empty else "")
    )
