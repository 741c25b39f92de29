"""The help of a command: what is required first, then by topic, each flag once."""

import dataclasses

import pytest
from absl import flags

from crnet_tf.common import fields, help_text
from crnet_tf.common.fields import field


@dataclasses.dataclass(frozen=True)
class Paint:
    colour: str = field("red", "Of the paint.", choices=("red", "green"), topic="Paint")
    layers: int = field(3, "How many.", minimum=1)
    dry: bool = field(True, "Wait.", topic="After it (Sec. 2)")


@pytest.fixture
def text():
    known = set(flags.FLAGS)
    flags.DEFINE_list("walls", ["north", "south"], "Which walls.")
    flags.DEFINE_integer("rooms", None, "How many rooms.", lower_bound=1)
    fields.define_flags(Paint)
    flags.DEFINE_string("house", None, "Where.", required=True, module_name="Paint")
    yield help_text.text("Paints a house.\n\n    python -m paint --house=x\n")
    for name in set(flags.FLAGS) - known:
        delattr(flags.FLAGS, name)


def test_required_flags_stand_first_and_the_others_by_topic(text):
    said, listed = text.split("Required:\n")
    assert said == "Paints a house.\n\n    python -m paint --house=x\n\n"
    order = [
        *("--house", "Flags:", "--walls", "--rooms", "Paint:", "--colour", "--layers"),
        *("After it (Sec. 2):", "--[no]dry"),
    ]
    places = [listed.index(word) for word in order]
    assert places == sorted(places) and listed.count("--house") == 1


def test_a_flag_says_its_default_and_its_choices(text):
    lines = {line.split("=")[0].strip(): line for line in text.splitlines() if "  --" in line}
    assert lines["--walls"].endswith("Which walls. Default: north,south.")
    assert lines["--rooms"].endswith("How many rooms.")
    assert "<red|green>" in lines["--colour"] and "Default: red." in lines["--colour"]
    assert text.endswith("Wait. Default: on.")


def test_flags_of_libraries_are_left_out(text):
    assert "--verbosity" not in text and "--flagfile" not in text
    assert set(help_text.names()) == {"house", "walls", "rooms", "colour", "layers", "dry"}
