"""The parts of the network and the way of an episode through them, one function an arrow of
Fig. 2. Only keras.ops and layers: it runs on the TensorFlow and the JAX back end.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops

from crnet_tf.network.presence import Centre, Likelihood
from crnet_tf.network.prototypes import Prototypes, object_average
from crnet_tf.network.similarity import maps_against_support

BRANCHES = ("support", "query")  # in the order of a batch of both


@dataclasses.dataclass(frozen=True)
class Parts:
    """The layers of the network, made by `building.py`. Both branches call the same ones."""

    encoder: keras.Model  # image [B,S,S,3] -> features [B,h,w,F]
    mask_background: layers.Layer | None  # image, mask [B,S,S,1] -> image; None: not masked
    projection: layers.Layer  # features [B,h,w,F] -> [B,h,w,C]
    category: layers.Layer  # features [B,h,w,C], mask -> category vector [B,1,1,C]
    cross_reference: layers.Layer | None  # support, query [B,h,w,C] -> the same, reinforced
    condition: layers.Layer | None  # [B,h,w,C], category vector -> [B,h,w,C]
    concatenate: layers.Layer
    refinement: layers.Layer  # [B,h,w,C'], steps T -> logits [B,T,h,w,2]
    to_image: layers.Layer  # logits [...,h,w,2] -> [...,S,S,2]
    prototypes: Prototypes  # added to an answer's logits, not while a network is trained
    centre: Centre  # cells of the last level -> what tells them from others, for `presence`
    likelihood: Likelihood  # similarity of those -> probability that the thing is there
    threshold: Callable  # logits [...,2] -> those whose half is where to cut
    similarity: bool  # whether condition and refinement see similarity maps

    @property
    def masks_image(self) -> bool:
        """Whether supports are encoded once more, with their background painted over."""
        return self.condition is not None and self.mask_background is not None

    @property
    def compares_cells(self) -> bool:
        """Whether answers need `cells` of the photo, and their averages in the supports."""
        return self.similarity or self.prototypes.weight > 0

    def exported(self) -> "Parts":
        """The same for a graph that outlives the network: its threshold is a constant."""
        return dataclasses.replace(self, threshold=self.threshold.constant)


def encode(parts: Parts, inputs: dict, together: bool = False) -> dict:
    """Siamese encoder (Sec. 4.2): images -> features `support`, `query`, `category` [B,h,w,F],
    the support with its background masked, where the image is masked and not the features
    alone. Inputs that already are features pass through.

    Args:
        together: in one batch, for which a GPU takes less time and more memory.
    """
    if "support_features" in inputs:
        names = (*BRANCHES, "category") if parts.masks_image else BRANCHES
        return {name: inputs[f"{name}_features"] for name in names}
    images = {name: inputs[f"{name}_image"] for name in BRANCHES if f"{name}_image" in inputs}
    if parts.masks_image:
        images["category"] = parts.mask_background(images["support"], inputs["support_mask"])
    if not together:
        return {name: parts.encoder(image, training=False) for name, image in images.items()}
    encoded = parts.encoder(ops.concatenate([*images.values()], axis=0), training=False)
    return dict(zip(images, ops.split(encoded, len(images), axis=0), strict=True))


def project(parts: Parts, features: dict, training: bool = False) -> dict:
    """Features [B,h,w,F] by name -> the same projected to [B,h,w,C].

    In one batch: the gradient of these weights, the largest of all, is then computed once.
    """
    together = ops.concatenate([*features.values()], axis=0)
    projected = ops.split(parts.projection(together, training=training), len(features), axis=0)
    return dict(zip(features, projected, strict=True))


def compare(
    parts: Parts, features: dict, support_mask, training: bool, branches=BRANCHES, cells=None
):
    """Projection, cross-reference and condition (Sec. 4.3, 4.4).

    Args:
        branches: which to go on with. cells: `cells_of` the photos, where they are compared.

    Returns:
        Reinforced maps and features for the refinement, each of the n branches in one batch
        [nB,h,w,..], the support's first: they share all weights. And what the cells of these
        are compared with: dict of `cells` and `averages` in the support, empty without cells.
    """
    projected = project(parts, features, training)
    reinforced = {name: projected[name] for name in BRANCHES}
    if parts.cross_reference is not None:
        found = parts.cross_reference(*reinforced.values())
        reinforced = dict(zip(BRANCHES, found, strict=True))
    reinforced = ops.concatenate([reinforced[name] for name in branches], axis=0)
    category, against = None, {}
    if parts.condition is not None:
        category = parts.category(projected.get("category", projected["support"]), support_mask)
        category = ops.concatenate([category] * len(branches), axis=0)
    if cells is not None:
        averages = parts.prototypes.averages(cells["support"], support_mask)
        averages = {n: ops.concatenate([v] * len(branches), 0) for n, v in averages.items()}
        cells = ops.concatenate([cells[name] for name in branches], axis=0)
        against = {"cells": cells, "averages": averages}
    return reinforced, condition(parts, reinforced, category, **against), against


def condition(parts: Parts, reinforced, category, cells=None, averages=None):
    """Input of the refinement (Sec. 4.5): condition output beside the reinforced map.

    Args:
        cells, averages: what similarity maps are of; not looked at without them.
    """
    if parts.condition is None:
        return reinforced
    maps = {}
    if parts.similarity:
        maps["maps"] = maps_against_support(cells, averages, parts.prototypes.widths)
    return parts.concatenate([parts.condition(reinforced, category, **maps), reinforced])


def refine(
    parts: Parts, compared, steps, first_cache=None, cells=None, averages=None, tolerance=None
):
    """Refinement steps (Sec. 4.5): logits [B,T,h,w,2]; other arguments as of `condition` and
    `MaskRefinement`."""
    own = {"cells": cells, "averages": averages} if parts.similarity else {}
    given = {"steps": steps, "first_cache": first_cache, "tolerance": tolerance}
    return parts.refinement(compared, **given, **own)


def cells_of(parts: Parts, features: dict) -> dict | None:
    """Features [B,h,w,F] of both photos -> their `cells` by name; None where none are
    compared."""
    if not parts.compares_cells:
        return None
    return {name: parts.prototypes(features[name]) for name in BRANCHES}


def branch_input(parts: Parts, features, cells=None) -> dict:
    """What a branch needs of its photo: `projected` [B,h,w,C], and `cells` [B,h,w,F] where
    they are compared (computed, unless they are given)."""
    needed = {"projected": parts.projection(features, training=False)}
    if parts.compares_cells:
        needed["cells"] = parts.prototypes.cells(features) if cells is None else cells
    return needed


@dataclasses.dataclass(frozen=True)
class SupportState:
    """What answers need of K supports: a few hundred numbers each, or the mean of all (K = 1).

    Its named tensors are what exported models give and take.

    Attributes:
        importance: of each channel, [K,1,1,C] (Sec. 4.3); None without cross-reference.
        category: the object's vector, [K,1,1,C] (Sec. 4.4); None without a condition module.
        foreground, background: average cells [K,1,1,F]; None where cells are not compared.
        prototype: the object's average in the last level, [K,F'], centred; None where nobody
            asks whether the object is there (`answers.presence`).
        rival: `answers.rivals` of R photos without the object, [R,F']; without any [1,F'], 0.
    """

    importance: Any = None
    category: Any = None
    foreground: Any = None
    background: Any = None
    prototype: Any = None
    rival: Any = None

    def tensors(self) -> dict:
        """What is not None, by name, in the order above."""
        fields = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {name: value for name, value in fields if value is not None}


def support_state(parts: Parts, support: dict, category, mask) -> SupportState:
    """State of supports, but for `prototype` and `rival`.

    Args:
        support: their `branch_input`.
        category: projected [B,h,w,C], of the supports with their background masked; None
            where the image is not masked.
        mask: [B,S,S,1] in {0,1,255} of the supports.
    """
    averages, importance = {}, None
    if parts.cross_reference is not None:
        importance = parts.cross_reference.importance(support["projected"])
    if parts.condition is not None:
        category = parts.category(support["projected"] if category is None else category, mask)
    if parts.compares_cells:
        averages = parts.prototypes.averages(support["cells"], mask)
    return SupportState(importance, category, **averages)


def state_of_features(parts: Parts, features: dict, mask) -> SupportState:
    """State of encoded supports: `support` and `category` [B,h,w,F], masks [B,S,S,1]."""
    category = None
    if "category" in features:
        category = parts.projection(features["category"], training=False)
    last_level, cells = parts.prototypes.levels(features["support"])
    support = branch_input(parts, features["support"], cells)
    state = support_state(parts, support, category, mask)
    prototype = parts.centre(object_average(last_level, mask))
    return dataclasses.replace(state, prototype=prototype, rival=0 * prototype[:1])


def branch_logits(
    parts: Parts,
    state: SupportState,
    photo: dict,
    steps: int,
    first_cache=None,
    shots=1,
    tolerance=None,
):
    """One branch alone: the `branch_input` of a photo, given the state of its partner.

    Either batch may be 1: one photo beside B partners, one partner of B photos.

    Args:
        state: for the support branch, the query's importance and all else of the support.
        first_cache: [B,h,w,2] that the refinement starts from, default zeros; what is known
            of the mask beforehand, such as an oracle's.
        shots: number of supports that the state is the mean of; a number, or [B,1,1,1].
        tolerance: as of `MaskRefinement`; None: all steps.

    Returns:
        float32 logits [B,T,h,w,2] after each of T refinement steps.
    """
    projected, cells = photo["projected"], photo.get("cells")
    if parts.cross_reference is not None:
        own = parts.cross_reference.importance(projected)
        projected = parts.cross_reference.reinforced(projected, own, state.importance)
    else:
        projected = projected + ops.zeros_like(state.category)  # one photo, B partners
    averages = {"foreground": state.foreground, "background": state.background}
    compared = condition(parts, projected, state.category, cells, averages)
    logits = refine(parts, compared, steps, first_cache, cells, averages, tolerance)
    if parts.prototypes.weight:
        logits = parts.prototypes.added(logits, cells, averages, shots)
    return parts.threshold(logits)


def logits_of_both(parts: Parts, features: dict, support_mask, steps: int):
    """Both branches in one batch: float32 logits [2B,T,h,w,2], the support's first."""
    cells = cells_of(parts, features)
    _, compared, against = compare(parts, features, support_mask, training=False, cells=cells)
    logits = refine(parts, compared, steps, **against)
    if parts.prototypes.weight:
        logits = parts.prototypes.added(logits, **against)
    return parts.threshold(logits)


def train_outputs(
    parts: Parts,
    features: dict,
    support_mask,
    steps: int,
    cooccurrence: bool = True,
    cells: dict | None = None,
    query_cache=None,
    branches: Sequence[str] = BRANCHES,
) -> dict:
    """All heads and refinement steps, at the size of the image; see `CRNet`.

    A loss wants to know how sure the network is: no threshold has moved these logits.

    Args:
        cooccurrence: with the heads of Sec. 4.3, where there is a cross-reference module.
        cells: `cells_of` the photos, with which prototypes are added, where they count.
        query_cache: [B,h,w,2] that the query's refinement starts from; default: empty.
        branches: whose heads are wanted.
    """
    added, cache = cells is not None and parts.prototypes.weight, query_cache
    if cells is None and parts.similarity:
        cells = cells_of(parts, features)
    if cache is not None and "support" in branches:
        cache = ops.concatenate([ops.zeros_like(cache), cache], axis=0)
    reinforced, compared, against = compare(
        parts, features, support_mask, training=True, branches=branches, cells=cells
    )
    logits = refine(parts, compared, steps, cache, **against)
    if added:
        logits = parts.prototypes.added(logits, **against)
    found = {"steps": parts.to_image(logits)}
    if cooccurrence and parts.cross_reference is not None:
        found["cooccurrent"] = parts.to_image(parts.cross_reference.cooccurrence(reinforced))
    return {
        f"{branch}_{name}": part
        for name, logits in found.items()
        for branch, part in zip(branches, ops.split(logits, len(branches), axis=0), strict=True)
    }
