"""Fields that are flags: the command line and the dataclass cannot disagree."""

import dataclasses

import pytest
from absl import flags

from crnet_tf.common import fields
from crnet_tf.common.fields import field


@dataclasses.dataclass(frozen=True)
class Example:
    colour: str = field("red", "One of two.", choices=("red", "green"))
    count: int = field(3, "How many.", minimum=1)
    rate: float = field(0.5, "How fast.", minimum=0)
    loud: bool = field(False, "Whether.")
    note: str = field("", "Anything.")
    hidden: str = field("inside", "No flag.", choices=("inside", "outside"), flag=False)

    def __post_init__(self):
        fields.check(self)


def parsed(*arguments, preset=None):
    values = flags.FlagValues()
    fields.define_flags(Example, values)
    values(["program", *arguments])
    return fields.from_flags(Example, preset or {}, values)


def test_no_flag_gives_the_defaults():
    assert parsed() == Example()


def test_every_type_survives_the_command_line():
    arguments = ["--colour=green", "--count=7", "--rate=0.125", "--loud", "--note=a b,c"]
    assert parsed(*arguments) == Example("green", 7, 0.125, True, "a b,c")


def test_any_dataclass_can_be_written_as_flags_and_read_back():
    wanted = Example("green", 2, 1e-7, True, "0")
    arguments = [
        f"--{entry.name}={getattr(wanted, entry.name)}"
        for entry in dataclasses.fields(Example)
        if entry.metadata["flag"]
    ]
    assert parsed(*arguments) == wanted


def test_a_flag_wins_over_the_preset_even_where_it_says_the_default():
    preset = {"count": 9, "loud": True}
    assert parsed(preset=preset) == Example(count=9, loud=True)
    assert parsed("--count=3", "--noloud", preset=preset) == Example()


def test_a_field_without_a_flag_is_set_by_presets_only():
    assert parsed(preset={"hidden": "outside"}).hidden == "outside"
    with pytest.raises(flags.UnrecognizedFlagError, match="hidden"):
        parsed("--hidden=outside")


def test_a_command_may_have_some_of_the_flags():
    values = flags.FlagValues()
    fields.define_flags(Example, values, only=["count"])
    values(["program", "--count=2"])
    assert fields.from_flags(Example, {"note": "kept"}, values) == Example(count=2, note="kept")
    with pytest.raises(flags.UnrecognizedFlagError, match="rate"):
        values(["program", "--rate=1"])


def test_the_help_stands_at_the_field():
    values = flags.FlagValues()
    fields.define_flags(Example, values)
    assert values["rate"].help == "How fast."
    assert "red" in values.get_help() and "green" in values.get_help()


def test_an_enum_is_checked_by_the_flag_and_by_the_dataclass():
    with pytest.raises(flags.IllegalFlagValueError, match="colour.*blue|blue.*colour"):
        parsed("--colour=blue")
    with pytest.raises(ValueError, match="colour: expected one of .*'green'.*received 'blue'"):
        Example(colour="blue")


def test_a_minimum_is_the_least_that_is_accepted():
    assert Example(count=1, rate=0.0).count == 1
    with pytest.raises(ValueError, match="count: expected at least 1, received 0"):
        parsed("--count=0")
    with pytest.raises(ValueError, match="rate: expected at least 0, received -0.5"):
        Example(rate=-0.5)


def test_a_flag_of_another_type_is_refused():
    with pytest.raises(flags.IllegalFlagValueError, match="count"):
        parsed("--count=many")
