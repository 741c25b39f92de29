"""How a trained network is applied to k labelled photos; each field is a flag.

`Config` describes a network and its training and travels in the checkpoint; these options
are chosen anew whenever a checkpoint is evaluated, used or exported.
"""

import dataclasses

from crnet_tf.common import fields
from crnet_tf.common.errors import InputError
from crnet_tf.common.fields import field

# `fields.define_flags` needs types to be classes: no `from __future__ import annotations`.

KSHOT = ("fusion", "mean", "finetune", "finetune+fusion", "finetune+mean")
# What photos are searched with, unless told otherwise; evaluations begin with the paper's.
IN_USE = {"kshot": "mean", "refine_tolerance": 0.01, "small_objects": "crop"}


@dataclasses.dataclass(frozen=True)
class Options:
    """How k supports become one answer.

    Raises:
        ValueError: a value outside its choices or range (expected, received).
    """

    kshot: str = field(
        "fusion",
        "fusion: mean of the probability maps of the k supports (Sec. 6); mean: one answer "
        "from the mean of their importance and category vectors; finetune: adapt all but the "
        "encoder to pairs of supports (Sec. 4.6), answer from the first; finetune+fusion, "
        "finetune+mean: adapt, answer from all.",
        choices=KSHOT,
        flag=False,  # a list where several methods are compared
        topic="Answers",
    )
    test_scales: str = field(
        "1",
        "Multiples of the input size at which photos are searched; the answers are averaged. "
        "The paper's multi-scale test (Sec. 6): 0.75,1,1.25.",
    )
    refine_steps: int = field(
        0, "Refinement steps; 0: as the network is configured.", minimum=0
    )
    edges: bool = field(
        True,
        "Let outlines follow edges of the photo; off where the network was trained so.",
    )
    refine_tolerance: float = field(
        0.0,
        "Ends the refinement of a photo once a step changes less than this share of it (mean "
        "change of the probabilities); 0: all steps; ours.",
        minimum=0,
        below=1,
    )

    finetune_steps: int = field(
        10, "Updates on pairs of supports; ours.", minimum=1, topic="Fine-tuning (Sec. 4.6)"
    )
    finetune_rate: float = field(3e-5, "Step size (Adam); ours.", minimum=0)
    finetune_batch: int = field(2, "Pairs in an update; ours.", minimum=1)
    finetune_views: int = field(
        0,
        "Flipped, scaled and cropped views of each support to fine-tune on as well; needed "
        "for k = 1; ours.",
        minimum=0,
    )
    finetune_seed: int = field(0, "Seed of the pairs and views.", minimum=0)

    weighted_fusion: bool = field(
        False,
        "Weight each support in the fusion by how well the support head finds its known mask.",
        topic="Beyond the paper",
    )
    leave_one_out: bool = field(
        False,
        "With two supports or more: search each with the others as examples, and use the "
        "threshold from 0.3 to 0.7 that finds them best. One more answer for each support.",
    )

    small_objects: str = field(
        "off",
        "For supports whose object covers less than a twentieth of the photo; ours. crop: they "
        "are cropped around it; tiles: the same, and where most are so, four parts of a photo "
        "are searched besides the whole, which takes five times as long.",
        choices=("off", "crop", "tiles"),
    )

    feature_cache: str = field(
        "",
        "Folder that keeps a frozen encoder's features for later runs; default: none.",
        topic="Features",
    )
    feature_cache_disk_gb: float = field(
        20.0,
        "Limit of that folder, GB; what was used longest ago is removed first.",
        minimum=0,
    )
    feature_cache_gb: float = field(
        4.0, "Limit of the features kept in memory, GB; 0: encode each time.", minimum=0
    )

    def __post_init__(self):
        fields.check(self)
        self.scales  # noqa: B018 — checked here
        if self.leave_one_out and self.finetunes:
            raise InputError(
                "leave_one_out: expected --kshot=fusion or mean, because fine-tuned weights "
                f"have seen what is left out, received {self.kshot}. Leave it off."
            )
        if self.averages and self.weighted_fusion:
            raise InputError(
                "kshot: expected fusion or finetune+fusion with weighted_fusion, which tells "
                f"the supports' answers apart, received {self.kshot}: one answer. "
                "Leave it off, or use --kshot=fusion."
            )

    @property
    def scales(self) -> tuple[float, ...]:
        """`test_scales` as numbers."""
        try:
            scales = tuple(float(part) for part in self.test_scales.split(","))
        except ValueError:
            scales = ()
        if not scales or not all(0.1 <= scale <= 4 for scale in scales):
            raise InputError(
                "test_scales: expected numbers from 0.1 to 4 such as 0.75,1,1.25, received "
                f"{self.test_scales!r}."
            )
        return scales

    @property
    def finetunes(self) -> bool:
        """Whether the network is adapted to the supports."""
        return self.kshot.startswith("finetune")

    @property
    def averages(self) -> bool:
        """Whether the supports become one before they answer, as in PANet and PFENet."""
        return self.kshot.endswith("mean")
