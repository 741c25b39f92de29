"""How Keras is set up on this machine, looked at before it is imported: it fails in its own
words, far from the cause."""

import importlib.util
import json
import os
import pathlib

ON_JAX = ("train_jax", "compact")  # the commands that run on JAX as well


def complaint(command: str, environment: dict[str, str] | None = None) -> str:
    """What stands in the way of a command, as a sentence with the remedy; "" if nothing does.

    Args:
        command: its name, without its package.
        environment: default: that of this process.
    """
    environment = os.environ if environment is None else environment
    settings = _settings(environment)
    named = environment.get("KERAS_BACKEND")
    backend = named or settings.get("backend", "tensorflow")
    where = "KERAS_BACKEND" if named else f"{_path(environment)}, backend"
    allowed = ("tensorflow", "jax") if command in ON_JAX else ("tensorflow",)
    if backend not in allowed:
        return (
            f"{where}: expected {' or '.join(allowed)}, which {command} runs on, received "
            f"{backend!r}. Set KERAS_BACKEND=tensorflow for this command."
        )
    if backend == "jax" and importlib.util.find_spec("jax") is None:
        return (
            f"{where}: expected the package of the back end, received jax, which is not "
            "installed. Install it: pip install 'crnet-tf[jax]'."
        )
    order = settings.get("image_data_format", "channels_last")
    if order != "channels_last":
        return (
            f"{_path(environment)}: expected image_data_format channels_last, received "
            f"{order!r}. Change it there, or set KERAS_HOME to a folder without keras.json."
        )
    return ""


def _path(environment):
    home = environment.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return pathlib.Path(home) / "keras.json"


def _settings(environment):
    try:
        settings = json.loads(_path(environment).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # Keras does without it, too
    return settings if isinstance(settings, dict) else {}
