"""What a command prints when it is asked for --help: its docstring, then its flags.

Required flags come first, then those of the command itself, then the others by topic. A flag's
topic is the name that absl knows as its module: `module_name="Fine-tuning"`.
"""

import textwrap

from absl import flags

COLUMN, WIDTH = 30, 96
PLACEHOLDERS = {"string": "TEXT", "int": "N", "float": "X", "multi string": "TEXT"}


def text(docstring: str) -> str:
    """The whole help, of the flags that are defined."""
    required = [flag for _, group in _topics() for flag in group if _required(flag)]
    sections = [("Required", required)]
    for title, group in _topics():
        sections.append((title, [flag for flag in group if not _required(flag)]))
    parts = [docstring.strip()]
    for title, group in sections:
        if group:
            parts.append("\n".join([f"{title}:", *map(_entry, group)]))
    return "\n\n".join(parts)


def names() -> list[str]:
    """All flags of this command."""
    return [flag.name for _, group in _topics() for flag in group]


def missing() -> list[str]:
    """Required flags without a value."""
    every = (flag for _, group in _topics() for flag in group)
    return [flag.name for flag in every if _required(flag) and flag.value is None]


def _topics():
    """[(title, flags)]: first the command's own."""
    own, titled = [], []
    for name, group in flags.FLAGS.flags_by_module_dict().items():
        if name[0].isupper():  # names of modules begin with a small letter, of files with a /
            titled.append((name, group))
        elif not name.startswith(("absl", "tensorflow")):
            own += group
    return [("Flags", own), *titled]


def _required(flag):
    return any(not validator.checker(None) for validator in flag.validators)


def _entry(flag):
    """A flag, its help and its default: one line, or several."""
    name, said = f"  --{_name(flag)}", [flag.help]
    if flag.default is True:
        said.append("Default: on.")
    elif flag.default not in (None, "", False, []):
        said.append(f"Default: {flag.serialize().partition('=')[2]}.")
    lines = textwrap.wrap(" ".join(said), WIDTH - COLUMN, break_on_hyphens=False)
    if len(name) < COLUMN - 1:
        name, lines = f"{name:{COLUMN}}{lines[0]}", lines[1:]
    return "\n".join([name, *(" " * COLUMN + line for line in lines)])


def _name(flag):
    if flag.boolean:
        return f"[no]{flag.name}"
    kind = flag.flag_type()
    return f"{flag.name}={PLACEHOLDERS.get(kind, 'A,B' if 'comma' in kind else 'WORD')}"
