"""Config: the flag list, its presets and its checks."""

import dataclasses
import json
import subprocess
import sys

import pytest
from absl import flags

from crnet_tf import presets
from crnet_tf.config import Config
from crnet_tf.presets import PRESETS


def parsed(*arguments, default=""):
    """Config of a command line, in a flag registry of its own."""
    values = flags.FlagValues()
    presets.define_flags(values)
    values(["program", *arguments])
    return presets.from_flags(default, values)


def test_every_field_is_a_flag_with_its_default():
    assert parsed() == Config()


def test_flags_win_over_the_preset_and_the_preset_over_the_defaults():
    settings = parsed("--preset=canet", "--dropout=0.25", "--fold=2")
    assert settings.feature_levels == "canet"
    assert settings.dropout == 0.25
    assert settings.fold == 2
    assert parsed(default="demo") == Config(**PRESETS["demo"])


def test_the_papers_preset_is_the_paper_and_nothing_else():
    paper = parsed("--preset=paper")
    assert paper == Config(calibrate=False, edges=False) and paper.calibrated_threshold == 0.5
    assert (paper.feature_levels, paper.channels, paper.refine_steps) == ("paper", 256, 5)
    assert not (paper.similarity or paper.corrupted_cache or paper.prototype_weight)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name):
    Config(**PRESETS[name])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"augment": "wild"}, "augment: expected one of .*received 'wild'"),
        ({"fold": -1}, "fold: expected at least 0, received -1"),
        ({"condition": False, "cross_reference": False}, "expected at least one"),
        ({"feature_views": 2, "train_backbone": True}, "expected a frozen backbone"),
        ({"feature_views": 2, "colour_rotation": True}, "no --colour_rotation"),
        ({"fold": 2, "calibration_fold": 2}, "calibration_fold: expected another fold"),
        ({"calibration_fold": -2}, "calibration_fold: expected at least -1"),
        ({"dropout": 1.0}, "dropout: expected less than 1, received 1.0"),
        ({"ema": 1.0}, "ema: expected less than 1"),
        ({"momentum": float("nan")}, "momentum: expected at least 0, received nan"),
        ({"seed": 2**32}, "seed: expected less than 4294967296"),
        ({"aspp_rates": "6;12"}, "aspp_rates: expected dilations such as 6,12,18"),
        ({"aspp_rates": "6,12,6"}, "aspp_rates: expected dilations .*, each once"),
        ({"aspp_rates": "6,,12"}, "aspp_rates: expected dilations"),
        ({"steps": 700, "steps_per_epoch": 500}, "expected a multiple of steps_per_epoch"),
    ],
)
def test_bad_values_say_what_was_expected(values, message):
    with pytest.raises(ValueError, match=message):
        Config(**values)


def test_a_config_survives_json():
    settings = Config(fold=3, channels=8)
    assert Config.from_dict(json.loads(json.dumps(dataclasses.asdict(settings)))) == settings


def test_a_field_of_another_version_is_named():
    with pytest.raises(ValueError, match="'colour'.*another version"):
        Config.from_dict({"colour": 1})


def test_a_misspelt_flag_is_refused():
    run = subprocess.run(
        [sys.executable, "-m", "crnet_tf.train", "--fould=1"], capture_output=True, text=True
    )
    assert run.returncode != 0
    assert "received --fould. Did you mean --fold?" in run.stderr
