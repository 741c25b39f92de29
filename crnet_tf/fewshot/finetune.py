"""k-shot adaptation on pairs of support photos (Sec. 4.6).

Any support i can play the support and any support j the query: k^2 pairs, drawn at random.
Both heads are supervised, with the prototypes added where a network has them, the encoder stays
fixed, and the network gets its own weights back however the adaptation ends: what it learnt is
returned.
"""

import contextlib
import dataclasses

import keras
import numpy as np
import tensorflow as tf

from crnet_tf.common.errors import InputError
from crnet_tf.network import losses
from crnet_tf.network.layers import ResizeAlignCorners
from crnet_tf.network.model import CRNet
from crnet_tf.network.parts import encode, train_outputs
from crnet_tf.options import Options


@dataclasses.dataclass(frozen=True)
class Adapted:
    """A network's weights after fine-tuning.

    Attributes:
        weights: arrays for `adapted_variables(network)`.
        losses: float [steps], of every update.
    """

    weights: list[np.ndarray]
    losses: np.ndarray


def adapted_variables(network: CRNet) -> list:
    """What fine-tuning changes: all but the encoder and the heads used in training only."""
    parts = network.parts
    layers = (parts.projection, parts.cross_reference, parts.condition, parts.refinement)
    fixed = set()
    if parts.cross_reference is not None:
        fixed = {id(v) for v in parts.cross_reference.cooccurrence.trainable_variables}
    variables = [v for layer in layers if layer is not None for v in layer.trainable_variables]
    return [variable for variable in variables if id(variable) not in fixed]


@contextlib.contextmanager
def holding(variables: list, values: list[np.ndarray] | None = None):
    """Variables with other values, put back exactly after, whatever happens."""
    kept = [variable.numpy() for variable in variables]
    try:
        for variable, value in zip(variables, values or (), strict=values is not None):
            variable.assign(value)
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)


def finetune(
    network: CRNet,
    support_images,
    support_masks,
    options: Options = Options(kshot="finetune"),  # noqa: B008 — frozen
) -> Adapted:
    """Adapts a network to k labelled photos; for many episodes keep a `Finetuner`.

    Args:
        network: stays as it is; use the result with `holding`.
        support_images: [K,S,S,3] RGB 0..255. support_masks: [K,S,S,1] in {0,1,255}.

    Raises:
        ValueError: K is 1, or the arrays do not fit each other or the network.
    """
    size = network.config.image_size
    images, masks = np.asarray(support_images, "float32"), np.asarray(support_masks, "uint8")
    if images.shape[1:] != (size, size, 3) or masks.shape != (*images.shape[:3], 1):
        raise InputError(
            f"finetune: expected photos [K,{size},{size},3] and masks [K,{size},{size},1], "
            f"received {list(images.shape)} and {list(masks.shape)}. Bring all to one size "
            "(frames.Frame) and stack them."
        )
    encoded = encode(network.parts, {"support_image": images, "support_mask": masks})
    encoded = {name: value.numpy() for name, value in encoded.items()}
    return Finetuner(network, options)(encoded["support"], encoded.get("category"), masks)


class Finetuner:
    """Fine-tuning of one network, traced once for many episodes.

    Args:
        options: the `finetune_...` fields.

    Attributes:
        update: one step on a batch of encoded pairs -> loss. Leaves its mark on the network.
    """

    def __init__(self, network: CRNet, options: Options):
        self.network, self.options = network, options
        self.variables = adapted_variables(network)
        # Updates draw dropout, which counts on: every episode starts where the first did.
        self._touched = self.variables + network.parts.projection.non_trainable_variables
        self._optimizer = keras.optimizers.Adam(options.finetune_rate)
        if network.config.precision == "mixed_float16":
            self._optimizer = keras.optimizers.LossScaleOptimizer(self._optimizer)
        self._optimizer.build(self.variables)
        self._fresh = [variable.numpy() for variable in self._optimizer.variables]
        self.update = tf.function(self._update)
        self._cells = tf.function(network.parts.prototypes.cells)

    def __call__(self, support: np.ndarray, category: np.ndarray | None, masks) -> Adapted:
        """Adapts to encoded supports.

        Args:
            support, category: features [K,h,w,F] of the photos and of the photos with their
                background masked (None where that is not).
            masks: [K,S,S,1] in {0,1,255}.

        Raises:
            ValueError: K is 1: there is no pair to learn from.
        """
        count = len(support)
        check_count(count)
        for variable, value in zip(self._optimizer.variables, self._fresh, strict=True):
            variable.assign(value)
        random = np.random.default_rng(self.options.finetune_seed)
        arrays = {"support": support, "category": category, "mask": masks}
        if self.network.parts.compares_cells:
            # One by one: any number of supports is one graph.
            arrays["cells"] = np.concatenate([self._cells(one[None]) for one in support])
        history = []
        with holding(self._touched):
            for _ in range(self.options.finetune_steps):
                pairs = random.integers(0, count, (2, self.options.finetune_batch))
                history.append(float(self.update(self._batch(arrays, *pairs))))
            weights = [variable.numpy() for variable in self.variables]
        return Adapted(weights, np.array(history))

    def _batch(self, arrays, support, query):
        names = {"support": support, "query": query}
        batch = {name: arrays["support"][rows] for name, rows in names.items()}
        if arrays["category"] is not None:
            batch["category"] = arrays["category"][support]
        if "cells" in arrays:
            batch["cells"] = {name: arrays["cells"][rows] for name, rows in names.items()}
        masks = {f"{name}_mask": arrays["mask"][rows] for name, rows in names.items()}
        return batch | masks

    def _outputs(self, batch):
        names = ("support", "query", "category")
        features = {name: batch[name] for name in names if name in batch}
        steps, mask = self.network.config.train_refine_steps, batch["support_mask"]
        # The photos' frame may have another size than the network's own.
        to_image = ResizeAlignCorners(tuple(mask.shape[1:3]), dtype="float32")
        parts = dataclasses.replace(self.network.parts, to_image=to_image)
        cells = batch.get("cells")
        return train_outputs(parts, features, mask, steps, cooccurrence=False, cells=cells)

    def _update(self, batch):
        with tf.GradientTape() as tape:
            named = losses.crnet_losses(
                self._outputs(batch), batch["support_mask"], batch["query_mask"]
            )
            loss = losses.total(named, self.network.config)
            scaled = self._optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.variables)
        self._optimizer.apply_gradients(zip(gradients, self.variables, strict=True))
        return loss


def check_count(count: int) -> None:
    """Raises ValueError when there are too few photos to make a pair."""
    if count < 2:
        raise InputError(
            f"finetune: expected at least 2 labelled photos, received {count}: fine-tuning "
            "learns to predict one labelled photo from another (the paper has no 1-shot "
            "fine-tuning either, Table 4). Use --kshot=fusion, or --finetune_views=4 to pair "
            "the photo with flipped and cropped views of itself."
        )
