"""Dataclasses whose fields are also flags: help, choices and range stand at the field."""

import dataclasses
import types
from collections.abc import Mapping, Sequence

from absl import flags

from crnet_tf.common.errors import InputError


def field(
    default,
    help,
    choices=None,
    minimum=None,
    below=None,
    flag=True,
    topic=None,
    or_prefix=None,
):
    """A field with its help text; `flag=False` keeps it off the command line.

    A text is one of `choices`, or begins with `or_prefix`, where given.

    A number is at least `minimum` and less than `below`, where given. A `topic` of the help
    begins at its field and goes on to the next one.
    """
    metadata = {"help": help, "choices": choices, "minimum": minimum, "flag": flag}
    metadata |= {"below": below, "topic": topic, "or_prefix": or_prefix}
    return dataclasses.field(default=default, metadata=metadata)


def check(values) -> None:
    """Raises ValueError when a field is outside its choices or range."""
    for entry in dataclasses.fields(values):
        value, rule = getattr(values, entry.name), entry.metadata
        prefix = rule["or_prefix"]
        free = prefix and value.startswith(prefix)
        if rule["choices"] and value not in rule["choices"] and not free:
            more = f" or {prefix}..." if prefix else ""
            raise InputError(
                f"{entry.name}: expected one of {rule['choices']}{more}, received {value!r}."
            )
        if rule["minimum"] is not None and not value >= rule["minimum"]:  # NaN neither
            raise InputError(
                f"{entry.name}: expected at least {rule['minimum']}, received {value!r}."
            )
        if rule["below"] is not None and not value < rule["below"]:
            raise InputError(
                f"{entry.name}: expected less than {rule['below']}, received {value!r}."
            )


def define_flags(
    kind: type,
    values: flags.FlagValues = flags.FLAGS,
    only: Sequence[str] | None = None,
    defaults: Mapping = types.MappingProxyType({}),
) -> None:
    """One absl flag for each field of a dataclass, or for `only` those of these names. Call
    once, in a main module.

    Args:
        defaults: by name, of flags that begin with others than their fields do.
    """
    topic = kind.__name__
    for entry in dataclasses.fields(kind):
        name, meta = entry.name, entry.metadata
        default = defaults.get(name, entry.default)
        topic = meta["topic"] or topic
        if not meta["flag"] or (only is not None and name not in only):
            continue
        under = {"flag_values": values, "module_name": topic}
        if meta["choices"] and not meta["or_prefix"]:
            flags.DEFINE_enum(name, default, list(meta["choices"]), meta["help"], **under)
            continue
        define = {
            bool: flags.DEFINE_bool,
            int: flags.DEFINE_integer,
            float: flags.DEFINE_float,
            str: flags.DEFINE_string,
        }[entry.type]
        define(name, default, meta["help"], **under)


def from_flags(kind: type, preset: dict, values: flags.FlagValues = flags.FLAGS):
    """The dataclass of a command line: preset first, explicitly given flags over it.

    A field whose flag is not defined here keeps its preset or default.
    """
    chosen = dict(preset)
    for entry in _flag_fields(kind):
        if entry.name in values and (values[entry.name].present or entry.name not in chosen):
            chosen[entry.name] = values[entry.name].value
    return kind(**chosen)


def _flag_fields(kind):
    return [entry for entry in dataclasses.fields(kind) if entry.metadata["flag"]]
