"""Class names, and which classes a fold trains and tests on.

Folds are counted from 0 everywhere, as in Table 1 of the paper and in the code of
CANet, PFENet and HSNet. Class ids are those of the label maps: 1..N, 0 is background,
255 counts nowhere.
"""

VOID = 255

PASCAL_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle",
    "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person",
    "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

# The procedural set of pipelines/build_demo.py: one shape with its own texture a class.
DEMO_CLASSES = (
    "disc", "ring", "crescent", "ellipse", "drop",
    "triangle", "square", "diamond", "trapezoid", "arrow",
    "pentagon", "hexagon", "octagon", "star", "burst",
    "cross", "bar", "ell", "tee", "zigzag",
)  # fmt: skip

CLASS_NAMES = {"pascal5i": PASCAL_CLASSES, "demo": DEMO_CLASSES}
NUM_FOLDS = 4


def test_classes(dataset: str, fold: int) -> tuple[int, ...]:
    """Class ids held out by `fold` (Table 1): fold i of 4 tests on ids 5i+1 .. 5i+5."""
    count = len(_names(dataset))
    if fold not in range(NUM_FOLDS):
        raise ValueError(
            f"fold: expected one of 0..{NUM_FOLDS - 1} (counted from 0), received {fold!r}."
        )
    per_fold = count // NUM_FOLDS
    return tuple(range(fold * per_fold + 1, (fold + 1) * per_fold + 1))


def train_classes(dataset: str, fold: int) -> tuple[int, ...]:
    """Class ids of the other folds: the only ones training may look at."""
    held_out = test_classes(dataset, fold)
    return tuple(c for c in range(1, len(_names(dataset)) + 1) if c not in held_out)


def class_name(dataset: str, class_id: int) -> str:
    """Name of a class id (1-based)."""
    names = _names(dataset)
    if not 1 <= class_id <= len(names):
        raise ValueError(
            f"class id: expected 1..{len(names)} for {dataset!r}, received {class_id}."
        )
    return names[class_id - 1]


def _names(dataset):
    if dataset not in CLASS_NAMES:
        raise ValueError(
            f"dataset: expected one of {sorted(CLASS_NAMES)}, received {dataset!r}."
        )
    return CLASS_NAMES[dataset]
