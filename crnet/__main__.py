"""One command for all others: `crnet NAME` is `python -m MODULE`, with the same flags.

    crnet predict --support=cat.jpg --support_mask=cat_mask.png --query=photos/ --out=found

`crnet NAME --help` has its flags and an example, `crnet --version` the version.
"""

import ast
import importlib
import importlib.util
import pathlib
import sys
import textwrap

import crnet_tf
from crnet_tf.common import cli, help_text

# By topic: {words of a command: its module}.
COMMANDS = {
    "Find things in photos": {"predict": "crnet_tf.predict", "find": "pipelines.find"},
    "Prepare data": {
        "download": "pipelines.download",
        "build voc": "pipelines.build_voc",
        "build coco": "pipelines.build_coco",
        "build fss1000": "pipelines.build_fss1000",
        "build folder": "pipelines.build_folder",
        "build demo": "pipelines.build_demo",
        "build episodes": "pipelines.build_episodes",
        "verify": "pipelines.verify",
        "show": "pipelines.show",
        "pack-photos": "pipelines.pack_photos",
    },
    "Train and measure": {
        "train": "crnet_tf.train",
        "train-jax": "crnet_tf.train_jax",
        "evaluate": "crnet_tf.evaluate",
        "calibrate": "crnet_tf.calibrate",
        "probe": "crnet_tf.probe",
        "reduce": "crnet_tf.reduce",
        "report": "crnet_tf.report",
        "reproduce": "crnet_tf.reproduce",
        "compact": "crnet_tf.compact",
    },
    "Export and serve": {
        "export saved-model": "export.saved_model",
        "export tflite": "export.tflite",
        "export onnx": "export.onnx",
        "teach": "export.teach",
        "serve": "export.serve",
        "client": "export.client.__main__",
    },
}
MODULES = {words: module for group in COMMANDS.values() for words, module in group.items()}


def main() -> None:
    """The console command."""
    words = sys.argv[1:]
    if not words or words[0] in (*cli.HELP, "help"):
        cli.show(overview())
    elif words[0] == "--version":
        print(f"crnet {crnet_tf.__version__}")
    else:
        run(words)


def run(words: list[str]) -> None:
    """Runs the command that the first words name, with the flags after them."""
    for count in (2, 1):
        key = " ".join(words[:count])
        for name in (key, key.replace("_", "-"), key.replace("_", " ")):
            if name in MODULES:
                sys.argv = [f"crnet {name}", *words[count:]]
                module = importlib.import_module(MODULES[name])
                return cli.run(module.main, module.define_flags, f"crnet {name}")
    given = " ".join(word for word in words[:2] if not word.startswith("-"))
    below = [name for name in MODULES if name.startswith(f"{words[0]} ")]
    hint = f"There are {', '.join(below)}. " if below else cli.nearest(given, MODULES)
    raise SystemExit(
        f"error: expected a command of crnet, received {given or words[0]!r}. {hint}"
        "`crnet --help` lists all."
    )


def overview() -> str:
    """What `crnet --help` prints."""
    parts = [__doc__.strip()]
    for topic, group in COMMANDS.items():
        parts.append(f"{topic}:")
        parts[-1] += "".join(f"\n{_line(*item)}" for item in group.items())
    return "\n\n".join(parts)


def _line(name, module):
    """A command with the first line of its docstring; it is not executed."""
    source = pathlib.Path(importlib.util.find_spec(module).origin).read_text("utf-8")
    summary = ast.get_docstring(ast.parse(source)).splitlines()[0]
    return textwrap.fill(f"  {name:20}{summary}", help_text.WIDTH, subsequent_indent=" " * 22)


if __name__ == "__main__":
    main()
