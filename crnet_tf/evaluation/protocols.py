"""The field's evaluation protocols as data: what each code base draws, shows and scores.

A number means something only with its protocol: published ones differ by several points for
the same network.
"""

import dataclasses

import numpy as np

from crnet_tf.common.errors import InputError
from crnet_tf.config import Config
from crnet_tf.images.mask_values import VOID
from crnet_tf.options import Options


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a code base tests.

    Args:
        split: the records' split that queries and supports come from.
        sampling: as in `manifest.draw`.
        filter: the small-object filter its lists were made with, as in the records' index.
        photo_list: "pairs" (CANet's and HSNet's photo-class pairs of trainaug and val),
            "pfenet" (5,953 training photos) or "trainaug".
        novel_images: training photos that hold novel classes, "kept" or "dropped".
        input_size: side of the network's input, px; None: the network's own.
        letterbox: as in `frames.Frame`.
        metric_size: side of the square that is scored, px; None: the photo's own size.
        void: pixels labelled 255 are "ignored" or "background".
        episodes: of a fold and seed.
        seeds: one evaluation each.
        scales: of the input at test time, comma-separated.
    """

    name: str
    split: str
    sampling: str
    filter: str
    photo_list: str
    novel_images: str
    input_size: int | None
    letterbox: bool
    metric_size: int | None
    void: str
    episodes: int
    seeds: tuple[int, ...]
    scales: str = "1"


# CRNet, Sec. 5.2: OSLSM's test settings with CANet's lists. It also fuses scales; that is
# asked for with --test_scales, not part of the protocol.
_CRNET = Protocol(
    name="crnet",
    split="val",
    sampling="pairs",
    filter="oslsm",
    photo_list="pairs",
    novel_images="kept",
    input_size=None,
    letterbox=False,
    metric_size=None,
    void="ignored",
    episodes=1000,
    seeds=(0,),
)
# icoz69/CaNet, train.py: scored at the input's size. Its lists hold binary masks, in which the
# void border is background.
_CANET_QUICK = dataclasses.replace(
    _CRNET, name="canet_quick", input_size=321, metric_size=321, void="background"
)
# dvlab-research/PFENet, test.py and util/dataset.py: photos first, then a class of each. There
# the class may be one that the filter left out; here it is one the photo is listed with.
_PFENET = dataclasses.replace(
    _CRNET,
    name="pfenet",
    sampling="photos",
    filter="area2048",
    photo_list="pfenet",
    input_size=473,
    letterbox=True,
    episodes=5000,
    seeds=(321,),
)
# juhongm999/hsnet, data/pascal.py: the pairs in the list's order; supports may repeat.
_HSNET = dataclasses.replace(
    _CRNET, name="hsnet", sampling="pairs_in_order", input_size=400, metric_size=400
)
# chunbolang/BAM, test.py: PFENet's loader. Its five seeds are drawn from 123; as its random
# numbers are not ours, any five will do.
_BAM = dataclasses.replace(
    _PFENET,
    name="bam",
    novel_images="dropped",
    episodes=1000,
    seeds=(123, 124, 125, 126, 127),
)
# kaixin96/PANet, config.py and test.py: tests on the novel classes of its training photos.
_PANET = dataclasses.replace(
    _CRNET,
    name="panet",
    split="train",
    sampling="classes",
    filter="none",
    photo_list="trainaug",
    input_size=417,
    metric_size=417,
    seeds=(1234, 1235, 1236, 1237, 1238),
)

PROTOCOLS = {p.name: p for p in (_CRNET, _CANET_QUICK, _PFENET, _HSNET, _BAM, _PANET)}

# What differs on other data sets than PASCAL-5i, by what their names begin with.
_OTHER_DATASETS = {
    # More and larger photos, without a list of their own in PFENet. HSNet, data/coco.py: any
    # class, then a photo of it.
    "coco": {
        "pfenet": {"episodes": 20000, "input_size": 641, "photo_list": "pairs"},
        "bam": {"input_size": 641, "photo_list": "pairs"},
        "hsnet": {"sampling": "classes_repeating"},
    },
    # HSNet, data/fss.py: each of the 240 x 10 test photos once.
    "fss1000": {"hsnet": {"episodes": 2400}},
}


def protocol(name: str, dataset: str = "") -> Protocol:
    """A protocol by name, with its settings for a `dataset` that it treats otherwise.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in PROTOCOLS:
        raise InputError(
            f"protocol: expected one of {', '.join(PROTOCOLS)}, received {name!r}. Choose one "
            "of them."
        )
    changes = {}
    for kind, by_name in _OTHER_DATASETS.items():
        if dataset.startswith(kind):
            changes = by_name.get(name, {})
    return dataclasses.replace(PROTOCOLS[name], **changes)


def scored(protocol: Protocol, truth) -> np.ndarray:
    """A query's mask [H,W] or [H,W,1] in {0,1,255} as the protocol scores it: uint8 [h,w].

    255 is ignored by `metrics.areas`; size as `metric_size` says, nearest.
    """
    truth = np.asarray(truth, np.uint8)
    truth = truth.reshape(truth.shape[:2])
    if protocol.void == "background":
        truth = np.where(truth == VOID, np.uint8(0), truth)
    if protocol.metric_size is None:
        return truth
    from crnet_tf.data import resizing  # TensorFlow: the names of protocols are flags

    return resizing.resize_mask(truth[..., None], protocol.metric_size).numpy()[..., 0]


def deviations(
    protocol: Protocol,
    *,
    classes: str,
    index_filter: str,
    photo_list: str,
    novel_images: str,
    input_size: int,
    episodes: int,
    seeds: tuple[int, ...],
    network_size: int,
) -> list[str]:
    """What was drawn and shown otherwise than a protocol says: "input 225 px (protocol: 473)".

    Arguments are what the run really did; see `Protocol`. `network_size` is the checkpoint's
    `Config.image_size`, for protocols that have no size of their own.
    """
    return _differing(
        ("{} classes", classes, "novel"),
        ("filter {}", index_filter, protocol.filter),
        ("photo list {}", photo_list, protocol.photo_list),
        ("photos of novel classes {} in training", novel_images, protocol.novel_images),
        ("input {} px", input_size, protocol.input_size or network_size),
        ("{} episodes", episodes, protocol.episodes),
        ("seeds {}", _listed(seeds), _listed(protocol.seeds)),
    )


def answer_deviations(protocol: Protocol, options: Options, config: Config) -> list[str]:
    """What a network, with `config`, and its `options` answer otherwise than a protocol says.

    In all protocols the network answers alone, by its own number of refinement steps, and the
    more probable side is taken, which is 0.5.
    """
    steps = options.refine_steps or config.refine_steps
    return _differing(
        ("scales {}", _listed(options.scales), _listed(_factors(protocol.scales))),
        ("{} refinement steps", steps, config.refine_steps),
        ("refinement until steps change less than {:g}", options.refine_tolerance, 0),
        ("threshold {}", config.calibrated_threshold, 0.5),
        ("weight {:g} of prototypes", config.prototype_weight, 0),
        ("edges that follow the photo {}", _on(config.edges and options.edges), "off"),
        ("weighted fusion {}", _on(options.weighted_fusion), "off"),
        ("leave-one-out threshold {}", _on(options.leave_one_out), "off"),
        ("small objects: {}", options.small_objects, "off"),
    )


def _differing(*compared):
    return [
        f"{phrase.format(received)} (protocol: {expected})"
        for phrase, received, expected in compared
        if received != expected
    ]


def shared_inference(protocols: list[Protocol]) -> list[list[Protocol]]:
    """Groups of protocols whose answers are the same, so that one inference serves them all.

    They agree in episodes, input and scales, and may differ in what is scored (`metric_size`,
    `void`) and in what they say about lists and training, which changes nothing here.
    """
    groups = {}
    for p in protocols:
        shown = (p.split, p.sampling, p.episodes, p.seeds, p.input_size, p.letterbox)
        groups.setdefault((*shown, _factors(p.scales)), []).append(p)
    return list(groups.values())


def _on(option):
    return "on" if option else "off"


def _factors(scales):
    return tuple(float(scale) for scale in scales.split(","))


def _listed(numbers):
    return ",".join(f"{number:.10g}" for number in numbers)
