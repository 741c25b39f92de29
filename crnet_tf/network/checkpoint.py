"""Which checkpoint is taken, and how a `.keras` file becomes a network again.

Writing them is training's business: `training/checkpoints.py`.
"""

import os
import pathlib
import zipfile

from crnet_tf.common import archives
from crnet_tf.common.errors import InputError

# The model that comes with the project: docs/model_card.md.
START = pathlib.Path(__file__).parents[1] / "start.keras"


def checkpoint_or_start(given: str | None) -> pathlib.Path:
    """The file of a flag; without one `START`, and says so."""
    if given:
        return pathlib.Path(given)
    print("No --checkpoint given: the model that comes with CRNet-TF (docs/model_card.md).")
    return START


def _instead_of(path):
    """What to give where no checkpoint is."""
    if path.is_dir():
        there = sorted(path.glob("*.keras"))
        if there:  # best.keras, last.keras
            return f"That is a folder; give the file {there[0]}"
        return "That is a folder without one. Check the path."
    return (
        f"Check the path, give {START} (the model that comes with CRNet-TF), or train one: "
        "crnet train --fold=1"
    )


def load_checkpoint(path: str | os.PathLike = START):
    """`CRNet` of a `.keras` file written in training; by default the one that comes along.

    Raises:
        FileNotFoundError: there is none. ValueError: it holds something else.
    """
    path = pathlib.Path(path)
    check_file(path)
    import keras  # slow: what is no checkpoint is said first

    from crnet_tf.network.model import CRNet

    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise InputError(
            f"{path} cannot be read as a checkpoint of this version of crnet_tf: {error}"
        ) from error
    if not isinstance(model, CRNet):
        raise InputError(f"{path}: expected a CRNet, received a {type(model).__name__}.")
    return model


def check_file(path: pathlib.Path) -> None:
    """Raises FileNotFoundError or InputError where no checkpoint can be."""
    if not path.is_file():
        raise FileNotFoundError(
            f"No checkpoint {str(path)!r}: expected a .keras file written by training, such "
            f"as runs/NAME/best.keras. {_instead_of(path)}"
        )
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path} cannot be read as a checkpoint: expected a .keras file written by "
            "training, received a file of another kind or a damaged one. Check the path, or "
            "copy it again."
        )
    with archives.opened(path):  # no bomb
        pass
