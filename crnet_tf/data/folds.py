"""Class names, and which classes a fold trains and tests on.

Folds are counted from 0 everywhere, as in Table 1 of the paper and in the code of
CANet, PFENet and HSNet. Class ids are those of the label maps: 1..N, 0 is background,
255 counts nowhere.
"""

from crnet_tf.common.errors import InputError

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

# MS COCO's 80 categories in the order of their ids (1..90 with gaps), which become 1..80.
COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat",
    "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack",
    "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball",
    "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket",
    "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair",
    "couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse",
    "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier",
    "toothbrush",
)  # fmt: skip

CLASS_NAMES = {
    "pascal5i": PASCAL_CLASSES,
    "demo": DEMO_CLASSES,
    "coco20i": COCO_CLASSES,
    "coco20i-contiguous": COCO_CLASSES,
    "coco40-20-20": COCO_CLASSES,
}
NUM_FOLDS = 4


def num_folds(dataset: str) -> int:
    """How many folds a data set has, counted from 0: 4, and 1 for `coco40-20-20`."""
    _names(dataset)
    return 1 if dataset == "coco40-20-20" else NUM_FOLDS


def test_classes(dataset: str, fold: int) -> tuple[int, ...]:
    """Class ids held out by `fold`.

    Fold i of 4 tests on consecutive ids: 5i+1 .. 5i+5 in PASCAL-5i (Table 1), 20i+1 .. 20i+20
    in `coco20i-contiguous` (PANet). In `coco20i` it tests on every fourth one, i+1, i+5, ...
    (FWB; PFENet, HSNet). `coco40-20-20`, of the paper's Sec. 6.1, tests on 61..80: which
    classes the paper took is published nowhere, their order here is our choice.
    """
    count, number = len(_names(dataset)), num_folds(dataset)
    if fold not in range(number):
        allowed = (
            f"one of 0..{number - 1} (counted from 0)" if number > 1 else "0, the only one"
        )
        raise InputError(f"fold: expected {allowed} of {dataset!r}, received {fold!r}.")
    if dataset == "coco20i":
        return tuple(range(fold + 1, count + 1, number))
    if dataset == "coco40-20-20":
        return tuple(range(61, 81))
    per_fold = count // number
    return tuple(range(fold * per_fold + 1, (fold + 1) * per_fold + 1))


def train_classes(dataset: str, fold: int) -> tuple[int, ...]:
    """Class ids that are neither tested nor set aside: all that training may look at."""
    held_out = test_classes(dataset, fold) + _set_aside(dataset)
    return tuple(c for c in range(1, len(_names(dataset)) + 1) if c not in held_out)


def validation_classes(dataset: str, fold: int) -> tuple[int, ...]:
    """Class ids that a checkpoint may be selected on, on photos of the val split.

    Classes of their own where the data set has such (41..60 of `coco40-20-20`), else those of
    training.
    """
    test_classes(dataset, fold)  # checks the number
    return _set_aside(dataset) or train_classes(dataset, fold)


def class_name(dataset: str, class_id: int) -> str:
    """Name of a class id (1-based)."""
    names = _names(dataset)
    if not 1 <= class_id <= len(names):
        raise InputError(
            f"class id: expected 1..{len(names)} for {dataset!r}, received {class_id}."
        )
    return names[class_id - 1]


def _set_aside(dataset):
    return tuple(range(41, 61)) if dataset == "coco40-20-20" else ()


def _names(dataset):
    if dataset not in CLASS_NAMES:
        raise InputError(
            f"dataset: expected one of {sorted(CLASS_NAMES)}, received {dataset!r}."
        )
    return CLASS_NAMES[dataset]
