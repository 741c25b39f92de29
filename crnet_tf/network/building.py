"""The layers of a network, as its `Config` wants them."""

import keras
from keras import layers

from crnet_tf.config import Config
from crnet_tf.network import backbones, hub, reduction
from crnet_tf.network.cross_reference import CrossReference
from crnet_tf.network.layers import (
    Condition,
    MaskBackground,
    MaskedAverage,
    ResizeAlignCorners,
    conv,
)
from crnet_tf.network.parts import Parts
from crnet_tf.network.preprocessing import PREPROCESSING
from crnet_tf.network.presence import Centre, Likelihood
from crnet_tf.network.prototypes import Prototypes
from crnet_tf.network.refinement import MaskRefinement, Threshold


def build_parts(config: Config, load_backbone: bool) -> Parts:
    """Layers of the network; see `Parts`."""
    size, channels = config.image_size, config.channels
    levels = backbones.levels_of(config.backbone, config.feature_levels)
    reduced = _numbers(config.level_channels) if config.feature_levels == "reduced" else ()
    encoder, last_stage = backbones.build_backbone(
        config.backbone,
        (None, None, 3),  # multi-scale tests come in other sizes
        levels if config.multi_level else levels[-1:],
        config.backbone_weights if load_backbone else "none",
        config.backbone_preprocessing,
        trainable=config.train_backbone,
        stride=config.backbone_stride,
        last_stage=config.prototype_weight > 0 and config.prototype_levels == "deep",
        level_channels=reduced,
        hub_description=config.hub,
    )
    if reduced and load_backbone and config.reduction:
        reduction.load(encoder, config.reduction)
    rates = _numbers(config.aspp_rates)
    cross_reference = CrossReference(
        channels, config.fc_ratio, rates, config.gate, name="cross_reference"
    )
    trunk = hub.kind_of(config.backbone)
    compared = reduced or [encoder.get_layer(trunk).get_layer(levels[-1]).output.shape[-1]]
    prototypes = Prototypes(config.prototype_weight, compared, last_stage, name="prototypes")
    masked = MaskBackground(
        PREPROCESSING[config.backbone_preprocessing][0], name="mask_background"
    )
    return Parts(
        encoder=encoder,
        mask_background=masked if config.mask_image else None,
        projection=keras.Sequential(
            [
                keras.Input(encoder.output_shape[1:]),
                conv(channels, rate=2, name="project"),
                layers.SpatialDropout2D(config.dropout, seed=config.seed, name="dropout"),
            ],
            name="projection",
        ),
        category=MaskedAverage(name="category_vector"),
        cross_reference=cross_reference if config.cross_reference else None,
        condition=Condition(channels, name="condition") if config.condition else None,
        concatenate=layers.Concatenate(name="condition_and_features"),
        refinement=MaskRefinement(
            channels,
            config.global_kernel,
            with_cache=config.mask_refinement,
            cache_gradient=config.cache_gradient,
            widths=prototypes.widths if config.similarity else (),
            name="refinement",
        ),
        to_image=ResizeAlignCorners((size, size), name="to_image", dtype="float32"),
        prototypes=prototypes,
        centre=Centre(prototypes.widths[-1], name="centre"),
        likelihood=Likelihood(name="likelihood"),
        threshold=Threshold(config.calibrated_threshold, name="threshold"),
        similarity=config.similarity,
    )


def _numbers(listed):
    return tuple(int(number) for number in listed.split(","))
