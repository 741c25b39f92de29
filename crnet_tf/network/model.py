"""CRNet as one Keras model: the functional graph, its loss and its training step.

    support photo, query photo -> encoder -> projection -> cross_reference
    support photo x mask       -> encoder -> projection -> category_vector
    each branch, category_vector -> condition -> refinement -> logits

`parts.py` holds the arrows, `layers.py` and `refinement.py` the modules.
"""

import dataclasses
import types

import keras
from keras import ops

from crnet_tf.config import Config
from crnet_tf.network import hub, losses, pretrained
from crnet_tf.network.building import build_parts
from crnet_tf.network.layers import Unread, register
from crnet_tf.network.parts import (
    BRANCHES,
    Parts,
    SupportState,
    branch_input,
    branch_logits,
    encode,
    logits_of_both,
    state_of_features,
    train_outputs,
)


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
        return self.train_outputs(inputs)

    def train_outputs(self, inputs: dict, together: bool = False) -> dict:
        """What `call` gives in training, and `compute_loss` takes.

        Args:
            together: encode all photos in one batch, see `parts.encode`.
        """
        features = encode(self.parts, inputs, together)
        if not self.parts.encoder.trainable:
            features = {name: ops.stop_gradient(value) for name, value in features.items()}
        heads = losses.trained_heads(self.config)
        return train_outputs(
            self.parts,
            features,
            inputs["support_mask"],
            self.config.train_refine_steps,
            query_cache=inputs.get("query_cache"),
            branches=[name for name in BRANCHES if name in heads],
        )

    def encode_support(self, image, mask) -> SupportState:
        """What answers need of supports.

        Args:
            image: [B,S,S,3] RGB 0..255. mask: [B,S,S,1] in {0,1,255}.
        """
        features = encode(self.parts, {"support_image": image, "support_mask": mask})
        return state_of_features(self.parts, features, mask)

    def query_logits(self, state: SupportState, query_image, steps: int | None = None):
        """Query branch alone, for an encoded support.

        Args:
            state: of `encode_support`, batch B or 1.
            query_image: [B,S,S,3] RGB 0..255.
            steps: refinement steps T, `config.refine_steps` by default.

        Returns:
            float32 logits [B,T,S,S,2] after each refinement step; the last is the answer.
        """
        features = self.parts.encoder(query_image, training=False)
        steps = steps or self.config.refine_steps
        photo = branch_input(self.parts, features)
        return self.parts.to_image(branch_logits(self.parts, state, photo, steps))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Weighted sum of the named losses.

        Args:
            x: not looked at. y: dict of `support_mask` and `query_mask`. y_pred: outputs.
        """
        named = losses.crnet_losses(y_pred, y["support_mask"], y["query_mask"])
        for name, value in named.items():
            self.loss_means[name].update_state(value)
        total = losses.total(named, self.config)
        self.untracked.total_mean.update_state(total)
        return total

    @property
    def metrics(self) -> list:
        """Means of the total and of each named loss since they were reset."""
        return [self.untracked.total_mean, *self.loss_means.values()]

    if keras.config.backend() == "tensorflow":

        def train_step(self, data):
            """One gradient step over both heads, all refinement and co-occurrence losses."""
            import tensorflow as tf

            x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
            with tf.GradientTape() as tape:
                outputs = self(x, training=True)
                loss = self.compute_loss(x=x, y=y, y_pred=outputs)
                # Gradients are summed over replicas; each replica holds a share of the batch.
                replicas = tf.distribute.get_strategy().num_replicas_in_sync
                scaled = self.optimizer.scale_loss(loss / replicas)
            variables = self.trainable_variables
            gradients = tape.gradient(scaled, variables)
            if replicas > 1 and self.config.clip_norm:
                gradients = self._clipped_shares(gradients)
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
            return {metric.name: metric.result() for metric in self.metrics}

        def _clipped_shares(self, gradients):
            """A replica's gradients -> its part of the clipped sum over all. Keras would clip
            each replica's gradients before it sums them."""
            import tensorflow as tf

            here = tf.distribute.get_replica_context()
            total = here.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            clipped, _ = tf.clip_by_global_norm(total, self.config.clip_norm)
            return [gradient / here.num_replicas_in_sync for gradient in clipped]

    def get_config(self):
        return {"config": dataclasses.asdict(self.config)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return build_crnet(Config.from_dict(config["config"]), load_backbone=False)


def build_crnet(config: Config, load_backbone: bool = True) -> CRNet:
    """The network of `config`, with pretrained backbone weights unless told otherwise."""
    if config.backbone_preprocessing == "auto":
        preprocessing = pretrained.preprocessing_of(config.backbone, config.backbone_weights)
        config = dataclasses.replace(config, backbone_preprocessing=preprocessing)
    if config.backbone_stride == "auto":
        # Checkpoints of before this was a choice do not say it.
        stride = pretrained.stride_of(config.backbone_weights) if load_backbone else "1x1"
        config = dataclasses.replace(config, backbone_stride=stride)
    if hub.is_hub(config.backbone) and not config.hub:
        config = dataclasses.replace(config, hub=hub.describe(config.backbone))
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
    size = model.config.image_size
    shape = model.parts.encoder.compute_output_shape((None, size, size, 3))[1:]
    dtype = model.parts.encoder.compute_dtype
    names = ["support_features", "query_features"]
    names += ["category_features"] if model.parts.masks_image else []
    inputs = {name: keras.Input(shape, name=name, dtype=dtype) for name in names}
    inputs["support_mask"] = _image_inputs(model.config.image_size)["support_mask"]
    return _assemble(model.parts, model.config, inputs)


def _image_inputs(size):
    return {
        "support_image": keras.Input((size, size, 3), name="support_image"),
        "support_mask": keras.Input((size, size, 1), name="support_mask", dtype="uint8"),
        "query_image": keras.Input((size, size, 3), name="query_image"),
    }


def _assemble(parts, config, inputs):
    """Functional graph of inference on `inputs`, with what training needs attached."""
    features = encode(parts, inputs)
    logits = logits_of_both(parts, features, inputs["support_mask"], config.refine_steps)
    logits = parts.to_image(logits[:, -1])
    outputs = dict(zip(BRANCHES, ops.split(logits, 2, axis=0), strict=True))
    if parts.condition is None:
        outputs["support"] = Unread(name="unread")(outputs["support"], inputs["support_mask"])
    model = CRNet(inputs, outputs, name="crnet")
    model.config, model.parts = config, parts
    # Not in the graph, but in its checkpoints.
    model.centre, model.likelihood = parts.centre, parts.likelihood
    model.loss_means = {
        name: keras.metrics.Mean(name=f"{name}_loss") for name in losses.names(config)
    }
    # Checkpoints of before it was ours do not have it: Keras must not look for it there.
    model.untracked = types.SimpleNamespace(total_mean=keras.metrics.Mean(name="loss"))
    return model


def in_float32(network: CRNet) -> CRNet:
    """The same weights in float32 arithmetic, whatever the network was trained in."""
    return with_settings(network, precision="float32")


def with_settings(network: CRNet, **changes) -> CRNet:
    """The same weights with other fields of `Config`, none of which makes other layers; the
    network itself where it has these already."""
    config = dataclasses.replace(network.config, **changes)
    if config == network.config:
        return network
    twin = build_crnet(config, load_backbone=False)
    twin.set_weights(network.get_weights())
    return twin
