"""CRNet: cross-reference networks for few-shot segmentation, in TensorFlow and Keras."""

from crnet_tf.config import Config
from crnet_tf.model import CRNet, build_crnet, load_checkpoint

__all__ = ["CRNet", "Config", "build_crnet", "load_checkpoint"]
