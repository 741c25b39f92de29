"""Options: what is chosen anew whenever a checkpoint is applied."""

import dataclasses

import pytest
from absl import flags

from crnet_tf.common import fields
from crnet_tf.options import IN_USE, KSHOT, Options


def parsed(*arguments, **defaults):
    values = flags.FlagValues()
    fields.define_flags(Options, values, defaults=defaults)
    values(["program", *arguments])
    return fields.from_flags(Options, {}, values)


def test_no_flag_gives_the_defaults():
    assert parsed() == Options()


def test_a_command_may_begin_with_other_defaults():
    assert parsed(**IN_USE) == Options(**{k: v for k, v in IN_USE.items() if k != "kshot"})
    assert parsed("--refine_tolerance=0", "--small_objects=off", **IN_USE) == Options()


def test_every_option_but_the_method_is_a_flag():
    wanted = Options(
        test_scales="0.75,1,1.25",
        refine_steps=2,
        edges=False,
        refine_tolerance=0.1,
        finetune_steps=7,
        finetune_rate=1e-3,
        finetune_batch=3,
        finetune_views=4,
        finetune_seed=5,
        weighted_fusion=True,
        leave_one_out=True,
        small_objects="tiles",
        feature_cache="somewhere",
        feature_cache_disk_gb=3.5,
        feature_cache_gb=0.25,
    )
    changed = dataclasses.asdict(wanted)
    kshot = changed.pop("kshot")
    assert not set(changed.items()) & set(dataclasses.asdict(Options()).items())
    assert parsed(*(f"--{name}={value}" for name, value in changed.items())) == wanted
    with pytest.raises(flags.UnrecognizedFlagError, match="kshot"):
        parsed(f"--kshot={kshot}")


@pytest.mark.parametrize(
    ("text", "scales"),
    [
        ("1", (1.0,)),
        ("0.75,1,1.25", (0.75, 1.0, 1.25)),
        (" 1 , 1.5", (1, 1.5)),
        ("0.1,4", (0.1, 4)),
    ],
)
def test_scales_are_numbers_in_the_order_given(text, scales):
    assert Options(test_scales=text).scales == scales


@pytest.mark.parametrize(
    "text",
    ["", ",", "1,", "one", "1;2", "0", "-1", "1,-0.75", "0.09", "4.1", "inf", "nan", "1,nan"],
)
def test_bad_scales_say_what_was_expected(text):
    message = "test_scales: expected numbers from 0.1 to 4 such as 0.75,1,1.25, received '"
    with pytest.raises(ValueError, match=message) as error:
        Options(test_scales=text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("refine_steps", 0),
        ("finetune_steps", 1),
        ("finetune_rate", 0),
        ("finetune_batch", 1),
        ("finetune_views", 0),
        ("finetune_seed", 0),
        ("feature_cache_gb", 0),
    ],
)
def test_numbers_below_their_least_are_refused(name, least):
    assert getattr(Options(**{name: least}), name) == least
    with pytest.raises(ValueError, match=f"{name}: expected at least {least}, received"):
        Options(**{name: least - 1})


def test_another_method_is_refused():
    with pytest.raises(ValueError, match="kshot: expected one of .*received 'vote'"):
        Options(kshot="vote")


def test_methods_by_their_names():
    tuned = [name for name in KSHOT if Options(kshot=name).finetunes]
    assert tuned == ["finetune", "finetune+fusion", "finetune+mean"]
    assert [name for name in KSHOT if Options(kshot=name).averages] == ["mean", "finetune+mean"]


@pytest.mark.parametrize("kshot", ["finetune", "finetune+mean"])
def test_nothing_is_left_out_of_a_fine_tuning(kshot):
    with pytest.raises(ValueError, match="leave_one_out: expected --kshot=fusion or mean"):
        Options(kshot=kshot, leave_one_out=True)


def test_a_mean_has_no_answers_to_tell_apart():
    with pytest.raises(ValueError, match="kshot: expected fusion .*received finetune.mean"):
        Options(kshot="finetune+mean", weighted_fusion=True)
