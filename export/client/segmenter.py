"""Photos segmented by a model on a server, few-shot or taught."""

import io
import threading
from typing import NamedTuple

import numpy as np
from PIL import Image

from crnet_tf.common.errors import InputError
from crnet_tf.images.png_files import encode_label
from export.client.errors import RemoteError
from export.client.server import Server
from export.client.target import Target


class Answer(NamedTuple):
    """What was found in a photo.

    Attributes:
        mask: uint8 [H,W]: 0 background, n the nth class (1, where there is one).
        probability: uint8 [N,H,W], 0..255, of each class.
        presence: [N], how sure the model is that the class is in the photo at all.
    """

    mask: np.ndarray
    probability: np.ndarray
    presence: np.ndarray


class _Pinned(NamedTuple):
    """The version that answers, and what it knows of the supports."""

    target: Target
    few_shot: bool
    state: dict


class RemoteSegmenter:
    """Segments photos by a model on a server; its methods are for any thread.

    A label, or "the newest", may move to another version at any time, and the state of supports
    is good for the version that made it. So one version, chosen at first, answers until the
    server has it no more; then the next is chosen, and given the supports.

    Args:
        photos: JPEG or PNG files of the supports, upright, for a few-shot model; none for a
            taught one.
        masks: of each, uint8 [H,W]: 0 background, 1 foreground, 255 void.

    Raises:
        ValueError: a mask too many or too few, supports for a taught model, or none for a
            few-shot one.
        RemoteError: the server refuses, or does not answer.
    """

    def __init__(
        self,
        server: Server,
        target: Target,
        photos: list[bytes] = (),
        masks: list[np.ndarray] = (),
    ):
        if len(photos) != len(masks):
            raise InputError(
                "RemoteSegmenter: expected one mask a photo, received "
                f"{len(photos)} photos and {len(masks)} masks."
            )
        self.server, self.target = server, target
        self._supports = {
            "support_image_bytes": _strings(photos),
            "support_mask_bytes": _strings([encode_label(mask) for mask in masks]),
        }
        self._lock = threading.Lock()
        self._pinned = self._pin()

    @property
    def version(self) -> int:
        """The version that answers."""
        return self._pinned.target.version

    def segment(self, photos: list[bytes]) -> list[Answer]:
        """JPEG or PNG files, upright, in one request -> an answer each."""
        pinned = self._pinned
        try:
            return self._segment(pinned, photos)
        except RemoteError as error:
            if error.code != "NOT_FOUND" or self.target.version is not None:
                raise
        with self._lock:
            if self._pinned is pinned:  # no other thread was faster
                self._pinned = self._pin()
        return self._segment(self._pinned, photos)

    def metadata(self) -> dict:
        """What the model says of itself, such as `class_names`; {} where the server does not
        tell."""
        return self.server.metadata(self._pinned.target)

    def _pin(self):
        found = self.server.describe(self.target)
        target = Target(self.target.model, found.version)
        few_shot = "encode_support_encoded" in found.signatures
        given = bool(len(self._supports["support_mask_bytes"]))
        if few_shot != given:
            expected = (
                "labelled photos, because it is few-shot, received none. Give --support"
                if few_shot
                else "no supports, because it was taught its classes. Leave --support out"
            )
            raise InputError(f"{self.server.address}, {target}: expected {expected}.")
        state = {}
        if few_shot:
            state = self.server.predict(target, "encode_support_encoded", self._supports)
        return _Pinned(target, few_shot, state)

    def _segment(self, pinned, photos):
        name = "query_image_bytes" if pinned.few_shot else "image_bytes"
        signature = "segment_encoded" + ("_with_support" if pinned.few_shot else "")
        inputs = {name: _strings(photos), **pinned.state}
        outputs = self.server.predict(pinned.target, signature, inputs)
        # Few-shot there is one class, and no axis for it; its mask file is 0 and 255.
        probability = outputs["probability_png_bytes"].reshape(len(photos), -1)
        presence = outputs["presence"].reshape(len(photos), -1)
        answers = []
        for mask, files, scores in zip(
            outputs["mask_png_bytes"], probability, presence, strict=True
        ):
            mask = _pixels(mask)
            classes = np.minimum(mask, len(files)).astype(np.uint8)
            answers.append(Answer(classes, np.stack([_pixels(one) for one in files]), scores))
        return answers


def _strings(files):
    return np.array(files, object)


def _pixels(file):
    with Image.open(io.BytesIO(file)) as image:
        return np.array(image)
