"""A command in this process: its own flags, parsed as on a command line, and gone after."""

from absl import flags


def run(module, *arguments):
    """What `python -m MODULE ARGUMENTS` does; errors come through as they are."""
    known = set(flags.FLAGS)
    try:
        module.define_flags()
        flags.FLAGS([module.__name__, *map(str, arguments)])
        module.main()
    finally:
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
