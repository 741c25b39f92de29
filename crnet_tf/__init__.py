"""CRNet: cross-reference networks for few-shot segmentation, in TensorFlow and Keras.

The names below are the front door; they are loaded when they are first used, so that neither
`import crnet_tf` nor a command's --help starts TensorFlow.
"""

import importlib

_HOMES = {
    "Config": "crnet_tf.config",
    "CRNet": "crnet_tf.network.model",
    "Segmenter": "crnet_tf.fewshot.segmenter",
    "build_crnet": "crnet_tf.network.model",
    "load_checkpoint": "crnet_tf.network.checkpoint",
    "save_all": "crnet_tf.fewshot.found",
}
__all__ = [*_HOMES, "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'crnet_tf' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__():
    return sorted([*globals(), *__all__])
