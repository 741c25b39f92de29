"""Every number of CRNet-TF, once: a frozen dataclass that is also the list of flags.

Fields marked with a section (Sec. 5.1) are the paper's. Where the paper is silent the help
text says whose choice was taken; README.md, "Choices", gives the reasons.
"""

import dataclasses
import re

from crnet_tf.common import fields
from crnet_tf.common.errors import InputError
from crnet_tf.common.fields import field

LEAST_SIZE = 33  # px of the network's input; a feature map of 5 x 5 at 1/8

# `fields.define_flags` needs types to be classes: no `from __future__ import annotations`.


@dataclasses.dataclass(frozen=True)
class Config:
    """One network and the way it is trained.

    Raises:
        ValueError: a value outside its choices or range (expected, received).
    """

    dataset: str = field(
        "", "Data set of the records trained on; filled in.", flag=False, topic="Data"
    )
    fold: int = field(
        0, "Fold whose classes are held out, counted from 0 (Table 1).", minimum=0
    )
    calibration_fold: int = field(
        -1,
        "Fold whose classes act as unseen beside those of --fold, which nothing looks at then: "
        "to choose settings without looking at them; -1: none.",
        minimum=-1,
    )
    image_size: int = field(
        321,
        "Side of the network's square input, px; best 8n+1, of DINOv2 14n+1 (CANet: 321).",
        minimum=LEAST_SIZE,
    )
    augment: str = field(
        "canet",
        "canet: support flipped, scaled 1..1.5 and cropped, query only resized; symmetric: "
        "both treated like CANet's support; none: both only resized.",
        choices=("canet", "symmetric", "none"),
    )
    drop_novel_images: bool = field(
        False,
        "Leave photos that show a held-out class out of training (BAM); off: keep them, with "
        "those classes as background (OSLSM, CANet, HSNet).",
    )
    colour_rotation: bool = field(
        False,
        "Rotate the colours of an episode's photos alike; ours, for sets of few classes.",
    )

    backbone: str = field(
        "resnet50",
        "resnet50, vgg16 or tiny; ours: dinov2_small (ViT-S/14), hub:FOLDER (keras-hub's).",
        choices=("resnet50", "vgg16", "dinov2_small", "tiny"),
        or_prefix="hub:",
        topic="Encoder (Sec. 4.2, 5.1)",
    )
    hub: str = field("", "Architecture of hub:FOLDER as JSON; filled in.", flag=False)
    backbone_weights: str = field(
        "imagenet", "imagenet (Keras' download), a .npz, .h5 or .weights.h5 file, or none."
    )
    backbone_preprocessing: str = field(
        "auto",
        "What the weights were trained on. auto: torch for VGG-16 in .npz, caffe otherwise "
        "(docs/guides/train.md).",
        choices=("auto", "caffe", "torch", "none"),
    )
    backbone_stride: str = field(
        "auto",
        "Convolution that strides in a ResNet stage's first block. auto: as an .npz file says, "
        "1x1 otherwise (docs/guides/train.md).",
        choices=("auto", "1x1", "3x3"),
    )
    train_backbone: bool = field(False, "Train the backbone too; CANet freezes it.")
    feature_levels: str = field(
        "paper",
        "paper: the last two stages (Sec. 5.1); canet: one stage lower, CANet's code; reduced: "
        "the last three, each cell of length 1 and reduced to its principal components (ours).",
        choices=("paper", "canet", "reduced"),
    )
    level_channels: str = field("96,160,160", "Channels of each of the reduced levels; ours.")
    reduction: str = field(
        "",
        "File of `crnet reduce` with the principal components of reduced levels; default: of "
        "the training photos.",
    )
    multi_level: bool = field(
        True, "Concatenate two stages; off: the last one alone (Table 3)."
    )

    channels: int = field(
        256,
        "Channels of all proposed modules (Sec. 5.1).",
        minimum=1,
        topic="Modules (Sec. 4.3-4.5)",
    )
    dropout: float = field(
        0.0, "Dropout of projected channels; CANet: 0.5.", minimum=0, below=1
    )
    condition: bool = field(True, "Condition module (Sec. 4.4); off: Table 2.")
    mask_image: bool = field(
        True,
        "Paint the support's background over before its category vector is computed (Sec. 4.4, "
        "input level); off: mask its features alone, which saves an encoder pass.",
    )
    similarity: bool = field(
        False,
        "Similarity maps to the support's object and background as inputs of the condition "
        "module, and to the photo's own last answer as inputs of the refinement (ours).",
    )
    gate: str = field(
        "product",
        "Cross-reference. product: features times both importances (Sec. 4.3); residual: of "
        "normalised averages, and features times one plus the product (ours).",
        choices=("product", "residual"),
    )
    cross_reference: bool = field(True, "Cross-reference module (Sec. 4.3); off: Table 2.")
    mask_refinement: bool = field(True, "Cache branch of Sec. 4.5; off: one step without it.")
    fc_ratio: int = field(4, "Reduction of the FC pair of Sec. 4.3; ours.", minimum=1)
    aspp_rates: str = field("6,12,18", "Dilations of the co-occurrence head's ASPP; CANet.")
    global_kernel: int = field(7, "Long side of the global convolutions (Sec. 4.5).", minimum=1)
    refine_steps: int = field(5, "Refinement steps at test time (Sec. 5.1).", minimum=1)
    edges: bool = field(True, "Let edges follow the photo's (ours); off: as in the paper.")
    train_refine_steps: int = field(
        2, "Unrolled refinement steps in training; ours.", minimum=1
    )
    cache_gradient: bool = field(False, "Let gradients flow through the cache; ours: off.")
    corrupted_cache: float = field(
        0.0,
        "Share of training episodes whose first cache is the query's mask, damaged: moved, "
        "grown or shrunk, with parts missing and added. Without any, nothing rewards reading "
        "the cache (ours).",
        minimum=0,
    )
    without_common_class: float = field(
        0.0,
        "Share of training episodes whose query is drawn from the photos of another class, its "
        "mask and the co-occurrence's mostly empty (ours).",
        minimum=0,
        below=1,
    )
    prototype_weight: float = field(
        0.0,
        "Weight of the similarity to the supports' prototypes in frozen features (PANet's), "
        "which is added to the trained network's logits (docs/guides/train.md; ours); 0: off.",
        minimum=0,
    )
    prototype_levels: str = field(
        "own",
        "Features that prototypes are of. own: the network's last level; deep: that, and the "
        "backbone's last stage where the network does not have it.",
        choices=("own", "deep"),
    )
    calibrated_threshold: float = field(
        0.5,
        "Probability that the trained network's answers call a half; filled in.",
        flag=False,
    )

    query_weight: float = field(
        1.0, "Weight of the query head's loss; ours.", minimum=0, topic="Losses"
    )
    support_weight: float = field(1.0, "Weight of the support head's loss; ours.", minimum=0)
    cooccurrent_weight: float = field(
        0.5, "Weight of each co-occurrence loss (Sec. 4.3); ours.", minimum=0
    )

    feature_views: int = field(
        0,
        "Train from features of this many views of each photo, itself and augmented ones, "
        "computed once; 0: encode ever new augmentations in every step. Frozen backbones only.",
        minimum=0,
        topic="Training",
    )
    mirror_features: bool = field(
        False, "Mirror the features of every other photo of --feature_views; ours."
    )
    batch_size: int = field(4, "Episodes a step, over all replicas; CANet: 4.", minimum=1)
    steps: int = field(20_000, "Training steps; ours (CANet: 200 epochs).", minimum=1)
    steps_per_epoch: int = field(500, "Steps between validations and checkpoints.", minimum=1)
    optimizer: str = field("sgd", "CANet: sgd.", choices=("sgd", "adamw"))
    learning_rate: float = field(2.5e-3, "Step size; CANet: 0.0025.", minimum=0)
    momentum: float = field(0.9, "Momentum of sgd; CANet.", minimum=0, below=1)
    weight_decay: float = field(5e-4, "Weight decay; CANet.", minimum=0)
    schedule: str = field(
        "constant",
        "Learning rate over time; CANet: constant.",
        choices=("constant", "poly", "cosine"),
    )
    warmup_steps: int = field(0, "Linear warm-up at the start, any schedule.", minimum=0)
    clip_norm: float = field(0.0, "Global norm gradients are clipped to; 0: off.", minimum=0)
    ema: float = field(
        0.0, "Decay of averaged weights, used to evaluate; 0: off.", minimum=0, below=1
    )
    precision: str = field(
        "float32",
        "Arithmetic of the network; variables, logits and losses stay float32.",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    val_episodes: int = field(100, "Episodes of each validation.", minimum=1)
    select_on: str = field(
        "base",
        "Best checkpoint by held-out photos of: base = the training classes; novel = the test "
        "classes (the field's habit, not clean); last = no selection.",
        choices=("base", "novel", "last"),
    )
    calibrate: bool = field(
        True,
        "Give the best checkpoint the threshold that held-out photos of base classes speak for "
        "(docs/guides/train.md; ours); off: it is cut at a half, as in the paper.",
    )
    seed: int = field(
        0, "Seed of initial weights, episodes and augmentation.", minimum=0, below=2**32
    )

    def __post_init__(self):
        fields.check(self)
        if not (self.condition or self.cross_reference):
            raise InputError(
                "condition and cross_reference are both off: expected at least one, without "
                "them the query never meets the support. Leave one of them on."
            )
        if self.similarity and not self.condition:
            raise InputError(
                "similarity: expected the condition module, which takes the maps, received "
                "--nocondition beside it. Leave one of them out."
            )
        if self.feature_levels == "reduced" and (self.train_backbone or not self.multi_level):
            raise InputError(
                "feature_levels: expected a frozen backbone and --multi_level with reduced, "
                "because the levels' principal components are measured once, received one of "
                "--train_backbone and --nomulti_level beside it. Leave one of them out."
            )
        check_numbers("level_channels", self.level_channels, "channels such as 96,160,160")
        if self.calibration_fold == self.fold:
            raise InputError(
                f"calibration_fold: expected another fold than --fold, received "
                f"{self.fold} for both: its classes are what settings must not be chosen on."
            )
        if self.train_backbone and self.prototype_levels == "deep":
            raise InputError(
                "prototype_levels: expected own with --train_backbone, because the last stage "
                "would be left behind by those before it, received deep. Leave one of them out."
            )
        # Two of one rate would have one name, by which `calibrate` knows weights.
        check_numbers("aspp_rates", self.aspp_rates, "dilations such as 6,12,18", once=True)
        if not 0 < self.calibrated_threshold < 1:
            raise InputError(
                "calibrated_threshold: expected a number between 0 and 1, received "
                f"{self.calibrated_threshold}."
            )
        if self.feature_views and (self.train_backbone or self.colour_rotation):
            raise InputError(
                "feature_views: expected a frozen backbone and no --colour_rotation, because "
                "features are computed once for fixed views; received one of them. Use "
                "--feature_views=0."
            )
        if self.steps % self.steps_per_epoch:
            raise InputError(
                f"steps: expected a multiple of steps_per_epoch ({self.steps_per_epoch}), "
                f"received {self.steps}."
            )

    @property
    def unseen_folds(self) -> tuple[int, ...]:
        """The fold, and the one that calibrates where there is one: arguments of `Index`."""
        return (self.fold,) if self.calibration_fold < 0 else (self.fold, self.calibration_fold)

    @classmethod
    def from_dict(cls, values: dict) -> "Config":
        """Config from a dict of fields; a field of another version is an error."""
        known = {entry.name for entry in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InputError(
                f"Configuration fields {unknown} are unknown to this version: the checkpoint "
                "was written by another version of crnet_tf. Use that version to read it."
            )
        return cls(**values)


def check_numbers(name: str, text: str, expected: str, once: bool = False) -> None:
    """Raises ValueError where a text is not whole numbers from 1 on (`once`: each once), joined
    by commas."""
    values = text.split(",")
    twice = once and len({*values}) < len(values)
    if twice or not all(re.fullmatch(r"[1-9]\d*", value) for value in values):
        said = ", each once" if once else ""
        raise InputError(f"{name}: expected {expected}{said}, received {text!r}.")
