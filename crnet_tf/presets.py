"""Named sets of defaults of a `Config`, and the flags that choose among them."""

from absl import flags

from crnet_tf.common import fields
from crnet_tf.config import Config

# Departures from the defaults, by name. Flags given on the command line win over a preset.
PRESETS = {
    "paper": {"calibrate": False, "edges": False},
    "ours": {
        "image_size": 225,
        "feature_levels": "reduced",
        "similarity": True,
        "gate": "residual",
        "mask_image": False,
        "channels": 128,
        "support_weight": 0.0,
        "corrupted_cache": 0.5,
        "without_common_class": 0.2,
        "drop_novel_images": True,
        "augment": "none",
        "feature_views": 1,
        "mirror_features": True,
        "optimizer": "adamw",
        "learning_rate": 7e-4,
        "schedule": "cosine",
        "warmup_steps": 30,
        "clip_norm": 1.0,
        "ema": 0.99,
        "steps": 900,
        "steps_per_epoch": 150,
        "val_episodes": 60,
    },
    "canet": {"feature_levels": "canet", "dropout": 0.5},
    "demo": {
        "backbone": "tiny",
        "backbone_weights": "none",
        "train_backbone": True,
        "image_size": 97,
        "channels": 48,
        "augment": "symmetric",
        "colour_rotation": True,
        "support_weight": 0.0,
        "optimizer": "adamw",
        "learning_rate": 1.5e-3,
        "schedule": "cosine",
        "warmup_steps": 50,
        "batch_size": 8,
        "steps": 450,
        "steps_per_epoch": 150,
    },
}


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """One absl flag per field, and --preset. Call once, in a main module."""
    flags.DEFINE_enum(
        "preset", None, list(PRESETS), "Named set of defaults; see presets.PRESETS.", values
    )
    fields.define_flags(Config, values)


def from_flags(default_preset: str = "", values: flags.FlagValues = flags.FLAGS) -> Config:
    """Config from the command line: preset first, explicitly given flags over it."""
    preset = values.preset or default_preset
    return fields.from_flags(Config, PRESETS[preset] if preset else {}, values)
