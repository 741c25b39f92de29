"""CRNet: the figure of the paper as a functional graph, and its training step.

    support_image -> encoder -> projection \                      / condition -> refinement -> support
                                            > cross_reference --<
    query_image   -> encoder -> projection /                      \ condition -> refinement -> query
    support_image x support_mask -> encoder -> projection -> category vector -> both conditions

Only keras.ops and layers: the graph runs on the TensorFlow and the JAX back end.
"""

import dataclasses
import pathlib

import keras
from keras import layers, ops

from crnet_tf import backbones, losses
from crnet_tf.config import Config
from crnet_tf.layers import (
    Condition,
    CooccurrenceHead,
    CrossReference,
    MaskBackground,
    MaskedAverage,
    ResizeAlignCorners,
    conv,
    register,
)
from crnet_tf.refinement import MaskRefinement

@dataclasses.dataclass(frozen=True)
class Parts:
    """The layers of the network. Both branches call the same ones."""

    encoder: keras.Model  # image [B,S,S,3] -> features [B,h,w,F]
    mask_background: layers.Layer  # image, mask [B,S,S,1] -> image
    projection: layers.Layer  # features [B,h,w,F] -> [B,h,w,C]
    category: layers.Layer  # features [B,h,w,C], mask -> category vector [B,1,1,C]
    cross_reference: layers.Layer | None  # support, query [B,h,w,C] -> the same, reinforced
    cooccurrence: layers.Layer | None  # [B,h,w,C] -> logits [B,h,w,2]
    condition: layers.Layer | None  # [B,h,w,C], category vector -> [B,h,w,C]
    concatenate: layers.Layer
    refinement: layers.Layer  # [B,h,w,C'], steps T -> logits [B,T,h,w,2]
    to_image: layers.Layer  # logits [...,h,w,2] -> [...,S,S,2]


@register
class CRNet(keras.Model):
    """Cross-reference network for one support and one query photo.

    Call: dict of `support_image` [B,S,S,3] and `query_image` [B,S,S,3] float32 RGB 0..255 and
    `support_mask` [B,S,S,1] in {0,1,255} -> dict of float32 logits [B,S,S,2] (background,
    foreground) `query` and `support`, after `config.refine_steps` refinement steps.
    With `training=True` instead: `query_steps`, `support_steps` [B,T,S,S,2] after each of
    the `config.train_refine_steps` steps, and `query_cooccurrent`, `support_cooccurrent`.

    Made by `build_crnet`; saved and loaded as one `.keras` file that holds its `Config`.
    """

    config: Config
    parts: Parts

    def call(self, inputs, training=False, mask=None):
        if not training:
            return super().call(inputs, training=False)
        features = encode(self.parts, inputs)
        if not self.parts.encoder.trainable:
            features = {name: ops.stop_gradient(value) for name, value in features.items()}
        return train_outputs(
            self.parts, features, inputs["support_mask"], self.config.train_refine_steps
        )

    def encode_support(self, image, mask) -> dict:
        """What the query branch needs of one support, a few hundred numbers.

        Args:
            image: [B,S,S,3] RGB 0..255. mask: [B,S,S,1] in {0,1,255}.

        Returns:
            dict: `importance` and `category`, each [B,1,1,C] (absent when ablated).
        """
        parts = self.parts
        state = {}
        if parts.cross_reference is not None:
            features = parts.projection(parts.encoder(image, training=False), training=False)
            state["importance"] = parts.cross_reference.importance(features)
        if parts.condition is not None:
            features = parts.encoder(parts.mask_background(image, mask), training=False)
            state["category"] = parts.category(parts.projection(features, training=False), mask)
        return state

    def segment(self, support: dict, query_image, steps: int | None = None):
        """Query branch alone, for an encoded support.

        Args:
            support: of `encode_support`, batch B or 1.
            query_image: [B,S,S,3] RGB 0..255.
            steps: refinement steps T, `config.refine_steps` by default.

        Returns:
            float32 logits [B,T,S,S,2] after each refinement step; the last is the answer.
        """
        parts = self.parts
        query = parts.projection(parts.encoder(query_image, training=False), training=False)
        if parts.cross_reference is not None:
            query = query * (parts.cross_reference.importance(query) * support["importance"])
        features = condition(parts, query, support.get("category"))
        return parts.to_image(parts.refinement(features, steps=steps or self.config.refine_steps))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Weighted sum of the named losses; `y`: dict of `support_mask` and `query_mask`."""
        named = losses.crnet_losses(y_pred, y["support_mask"], y["query_mask"])
        for name, value in named.items():
            self.loss_means[name].update_state(value)
        return losses.total(named, self.config)

    if keras.config.backend() == "tensorflow":

        def train_step(self, data):
            """One gradient step over both heads, all refinement and co-occurrence losses."""
            import tensorflow as tf

            x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
            with tf.GradientTape() as tape:
                outputs = self(x, training=True)
                loss = self.compute_loss(x=x, y=y, y_pred=outputs)
                self._loss_tracker.update_state(loss)
                # Gradients are summed over replicas; each replica holds a share of the batch.
                replicas = tf.distribute.get_strategy().num_replicas_in_sync
                scaled = self.optimizer.scale_loss(loss / replicas)
            variables = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables))
            return {metric.name: metric.result() for metric in self.metrics}

    def get_config(self):
        return {"config": dataclasses.asdict(self.config)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return build_crnet(Config.from_dict(config["config"]), load_backbone=False)


def build_crnet(config: Config, load_backbone: bool = True) -> CRNet:
    """The network of `config`, with pretrained backbone weights unless told otherwise."""
    if config.backbone_preprocessing == "auto":
        preprocessing = backbones.preprocessing_of(config.backbone, config.backbone_weights)
        config = dataclasses.replace(config, backbone_preprocessing=preprocessing)
    # A layer takes the policy that is global when it is made.
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        parts = build_parts(config, load_backbone)
        return _assemble(parts, config, _image_inputs(config.image_size))
    finally:
        keras.config.set_dtype_policy(policy)


def on_features(model: CRNet) -> CRNet:
    """The same network, sharing every layer, that starts from encoder features.

    Its inputs are `support_features`, `query_features` [B,h,w,F], `category_features` (of the
    support with its background masked), and `support_mask`; for frozen encoders, whose
    features can be computed once.
    """
    shape = model.parts.encoder.output_shape[1:]
    dtype = model.parts.encoder.compute_dtype
    names = ["support_features", "query_features"]
    names += ["category_features"] if model.config.condition else []
    inputs = {name: keras.Input(shape, name=name, dtype=dtype) for name in names}
    inputs["support_mask"] = _image_inputs(model.config.image_size)["support_mask"]
    return _assemble(model.parts, model.config, inputs)


def build_parts(config: Config, load_backbone: bool) -> Parts:
    """Layers of the network; see `Parts`."""
    size, channels = config.image_size, config.channels
    levels = backbones.FEATURE_LEVELS[config.backbone][config.feature_levels]
    encoder = backbones.build_backbone(
        config.backbone,
        (size, size, 3),
        levels if config.multi_level else levels[-1:],
        config.backbone_weights if load_backbone else "none",
        config.backbone_preprocessing,
        trainable=config.train_backbone,
    )
    rates = tuple(int(rate) for rate in config.aspp_rates.split(","))
    both = config.cross_reference
    return Parts(
        encoder=encoder,
        mask_background=MaskBackground(
            backbones.PREPROCESSING[config.backbone_preprocessing][0], name="mask_background"
        ),
        projection=keras.Sequential(
            [
                keras.Input(encoder.output_shape[1:]),
                conv(channels, rate=2, name="project"),
                layers.SpatialDropout2D(config.dropout, seed=config.seed, name="dropout"),
            ],
            name="projection",
        ),
        category=MaskedAverage(name="category_vector"),
        cross_reference=CrossReference(config.fc_ratio, name="cross_reference") if both else None,
        cooccurrence=CooccurrenceHead(channels, rates, name="cooccurrence") if both else None,
        condition=Condition(channels, name="condition") if config.condition else None,
        concatenate=layers.Concatenate(name="concatenate"),
        refinement=MaskRefinement(
            channels,
            config.global_kernel,
            with_cache=config.mask_refinement,
            cache_gradient=config.cache_gradient,
            name="refinement",
        ),
        to_image=ResizeAlignCorners((size, size), name="to_image", dtype="float32"),
    )


# === The way of an episode through the network, one function an arrow of Fig. 2 ===


def encode(parts: Parts, inputs: dict) -> dict:
    """Siamese encoder (Sec. 4.2): images -> `support`, `query`, `category` [B,h,w,F].

    Inputs that already are features pass through.
    """
    if "support_features" in inputs:
        return {
            name: inputs[f"{name}_features"]
            for name in ("support", "query", "category")
            if f"{name}_features" in inputs
        }
    images = {"support": inputs["support_image"], "query": inputs["query_image"]}
    if parts.condition is not None:
        images["category"] = parts.mask_background(images["support"], inputs["support_mask"])
    return {name: parts.encoder(image, training=False) for name, image in images.items()}


def compare(parts: Parts, features: dict, support_mask, training: bool):
    """Projection, cross-reference and condition (Sec. 4.3, 4.4).

    Returns:
        Reinforced maps and features for the refinement, each a (support, query) pair.
    """
    projected = {
        name: parts.projection(value, training=training) for name, value in features.items()
    }
    reinforced = projected["support"], projected["query"]
    if parts.cross_reference is not None:
        reinforced = parts.cross_reference(*reinforced)
    category = None
    if parts.condition is not None:
        category = parts.category(projected["category"], support_mask)
    return reinforced, [condition(parts, branch, category) for branch in reinforced]


def condition(parts: Parts, reinforced, category):
    """Input of the refinement (Sec. 4.5): condition output beside the reinforced map."""
    if parts.condition is None:
        return reinforced
    return parts.concatenate([parts.condition(reinforced, category), reinforced])


def train_outputs(parts: Parts, features: dict, support_mask, steps: int) -> dict:
    """All heads and refinement steps, at the size of the image; see `CRNet`."""
    reinforced, compared = compare(parts, features, support_mask, training=True)
    outputs = {}
    for name, common, branch in zip(("support", "query"), reinforced, compared):
        outputs[f"{name}_steps"] = parts.to_image(parts.refinement(branch, steps=steps))
        if parts.cooccurrence is not None:
            outputs[f"{name}_cooccurrent"] = parts.to_image(parts.cooccurrence(common))
    return outputs


def _image_inputs(size):
    return {
        "support_image": keras.Input((size, size, 3), name="support_image"),
        "support_mask": keras.Input((size, size, 1), name="support_mask", dtype="uint8"),
        "query_image": keras.Input((size, size, 3), name="query_image"),
    }


def _assemble(parts, config, inputs):
    """Functional graph of inference on `inputs`, with what training needs attached."""
    features = encode(parts, inputs)
    _, compared = compare(parts, features, inputs["support_mask"], training=False)
    outputs = {}
    for name, branch in zip(("support", "query"), compared):
        outputs[name] = parts.to_image(parts.refinement(branch, steps=config.refine_steps)[:, -1])
    model = CRNet(inputs, outputs, name="crnet")
    model.config, model.parts = config, parts
    if parts.cooccurrence is not None:
        # Not in the graph of inference: tracked as an attribute, so trained and saved.
        if not parts.cooccurrence.built:
            parts.cooccurrence.build((None, *parts.encoder.output_shape[1:3], config.channels))
        model.cooccurrence = parts.cooccurrence
    model.loss_means = {
        name: keras.metrics.Mean(name=f"{name}_loss") for name in losses.names(config)
    }
    return model


def load_checkpoint(path) -> CRNet:
    """CRNet of a `.keras` file written in training.

    Raises:
        FileNotFoundError: there is none. ValueError: it holds something else.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"No checkpoint {str(path)!r}: expected a .keras file written by training, such "
            "as runs/NAME/best.keras. Train one first: python -m crnet_tf.train --fold=1"
        )
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a checkpoint of this version of crnet_tf: {error}"
        ) from error
    if not isinstance(model, CRNet):
        raise ValueError(f"{path}: expected a CRNet, received a {type(model).__name__}.")
    return model
