"""Each photo through the frozen encoder once: features by photo, mask and frame, kept.

    photo --frame--> image [S,S,3] --encoder--> features [h,w,F]           `PhotoEncoder.photo`
    photo x mask ---------------------------->  features [h,w,F]           `PhotoEncoder.masked`

What is kept never exceeds `max_bytes` in memory; with `FeatureFiles` it is also on disk, for
later runs of networks with the same encoder.
"""

import collections
import functools
import hashlib
import json

import ml_dtypes
import numpy as np
import tensorflow as tf

from crnet_tf.data import augmentation
from crnet_tf.data.frames import Frame
from crnet_tf.fewshot.feature_files import FeatureFiles
from crnet_tf.images.labelled import LabelledPhoto, array_sha256
from crnet_tf.network.model import CRNet
from crnet_tf.network.preprocessing import PREPROCESSING


class FeatureCache:
    """Arrays that are expensive to compute, by key; the least recently used go first.

    Args:
        max_bytes: bound on what is held in memory.
    """

    def __init__(self, max_bytes: float):
        self.max_bytes, self.bytes = max_bytes, 0
        self._arrays = collections.OrderedDict()

    def get(self, key: tuple, compute) -> np.ndarray:
        """The array of `key`; `compute()` where it is not held."""
        if key in self._arrays:
            self._arrays.move_to_end(key)
            return self._arrays[key]
        array = compute()
        if array.nbytes <= self.max_bytes:
            self._arrays[key] = array
            self.bytes += array.nbytes
        while self.bytes > self.max_bytes:
            self.bytes -= self._arrays.popitem(last=False)[1].nbytes
        return array

    def holds(self, key: tuple) -> bool:
        """Whether the array of `key` is in memory."""
        return key in self._arrays

    def clear(self, kind: str | None = None) -> None:
        """Forgets everything, or the arrays whose key begins with `kind`, as it must when the
        weights change that they come from."""
        self._drop([key for key in self._arrays if kind in (None, key[0])])

    def forget(self, photo: LabelledPhoto) -> None:
        """Lets go of what was computed of a photo that is not asked about again."""
        self._drop([key for key in self._arrays if photo.key in key])

    def _drop(self, keys):
        for key in keys:
            self.bytes -= self._arrays.pop(key).nbytes


class PhotoEncoder:
    """The encoder of a network with a memory.

    Args:
        network: its encoder must not change while this is used.
        cache: shared with what is derived from the features.
        files: where features outlive the process, or None.
        keep: hold features in memory; off where only what is derived from them comes back.
    """

    def __init__(
        self,
        network: CRNet,
        cache: FeatureCache,
        files: FeatureFiles | None = None,
        keep: bool = True,
    ):
        self.network, self.cache, self.files, self.keep = network, cache, files, keep
        self._fingerprint = fingerprint(network) if files else ""
        self._encoders = {}  # by size of the photos, for any number of them
        self._last_level = tf.function(network.parts.prototypes.last_level)

    def photo(self, photo: LabelledPhoto, frame: Frame) -> np.ndarray:
        """Features [h,w,F] of a photo."""
        return self._kept(
            ("photo", photo.key, frame), lambda: self._encode(frame.image(photo.image)[None])
        )

    def photos(self, photos: list[LabelledPhoto], frame: Frame) -> None:
        """Encodes in one batch those that are not held yet, for `photo` to find them.

        Does nothing where features are not kept in memory, or may be in files.
        """
        new = {("photo", one.key, frame): one for one in photos}
        new = {key: one for key, one in new.items() if not self.cache.holds(key)}
        if not self.keep or self.files is not None or len(new) < 2:
            return
        images = tf.stack([frame.image(one.image) for one in new.values()])
        for key, features in zip(new, self._encode(images).numpy(), strict=True):
            self.cache.get(key, features.copy)  # of its own, to be let go of alone

    def masked(self, photo: LabelledPhoto, frame: Frame) -> np.ndarray:
        """Features [h,w,F] of a photo whose background is painted over (Sec. 4.4)."""
        return self._kept(
            ("masked", photo.masked_key, frame),
            lambda: self._encode_masked(frame.image(photo.image), frame.mask(photo.mask)),
        )

    def last_level(self, photo: LabelledPhoto, frame: Frame) -> np.ndarray:
        """Features [h',w',F'] of a photo's deepest level; see `Prototypes.last_level`."""

        def compute():
            return self._last_level(self.photo(photo, frame)[None])[0].numpy()

        if self.network.parts.prototypes.last_stage is None:  # a part of what is kept
            return compute()
        return self.cache.get(("last level", photo.key, frame), compute)

    def augmented(self, photo: LabelledPhoto, frame: Frame, seed: tuple[int, int]):
        """A flipped, scaled, cropped copy: features, masked features [h,w,F] (None where the
        image is not masked), mask [S,S,1]."""
        image, mask = augmentation.flip_scale_crop(
            tf.constant(photo.image), tf.constant(photo.mask[..., None]), frame.size, seed
        )
        features, masked = self._encode(image[None])[0].numpy(), None
        if self.network.parts.masks_image:
            masked = self._encode_masked(image, mask)[0].numpy()
        return features, masked, mask.numpy()

    def _encode(self, images):
        size = images.shape[1]
        if size not in self._encoders:
            encode = functools.partial(self.network.parts.encoder, training=False)
            any_number = [tf.TensorSpec([None, size, size, 3])]
            self._encoders[size] = tf.function(encode, input_signature=any_number)
        return self._encoders[size](images)

    def _encode_masked(self, image, mask):
        hidden = self.network.parts.mask_background(image[None], mask[None])
        return self._encode(tf.cast(hidden, tf.float32))

    def _kept(self, key, encode):
        def compute():
            if self.files is None:
                return encode()[0].numpy()
            return self._on_disk(key, encode)

        return self.cache.get(key, compute) if self.keep else compute()

    def _on_disk(self, key, encode):
        kind, content, frame = key
        name = array_sha256(np.frombuffer(f"{kind} {content} {frame}".encode(), np.uint8))
        place = f"{self._fingerprint}/{name[:2]}/{name}"
        return self.files.get(place, self._dtype, lambda: encode()[0].numpy())

    @property
    def _dtype(self):
        name = self.network.parts.encoder.compute_dtype
        return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def fingerprint(network: CRNet) -> str:
    """Hash of all that an encoder's features depend on beside the photo."""
    config, encoder = network.config, network.parts.encoder
    settings = (
        config.backbone, config.backbone_preprocessing, config.feature_levels,
        config.multi_level, encoder.compute_dtype,
    )  # fmt: skip
    if config.backbone_stride != "1x1":  # features kept before this was a choice stay valid
        settings += (config.backbone_stride,)
    return _weights_sha256(encoder, json.dumps(settings).encode())


def weights_fingerprint(network: CRNet) -> str:
    """Hash of the encoder's weights alone, whatever file they came from."""
    return _weights_sha256(network.parts.encoder)


def _weights_sha256(encoder, first=b""):
    digest = hashlib.sha256(first)
    for weights in encoder.get_weights():
        digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.hexdigest()[:16]


def base_frame(network: CRNet, size: int | None = None, letterbox: bool = False) -> Frame:
    """The frame of a network's photos: its own input size, squashed, unless told otherwise."""
    mean = PREPROCESSING[network.config.backbone_preprocessing][0]
    return Frame(size or network.config.image_size, letterbox, mean)
