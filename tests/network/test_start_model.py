"""The model that comes with the project is what its card says, and finds things in photos."""

import hashlib
import pathlib

import numpy as np
import pytest
from helpers.networks import eager  # noqa: F401
from PIL import Image

from crnet_tf.fewshot.segmenter import Segmenter
from crnet_tf.images import photos
from crnet_tf.network.checkpoint import START, load_checkpoint

CARD = pathlib.Path(__file__).parents[2] / "docs" / "model_card.md"
MAX_BYTES = 30_000_000
CAT = 8  # fold 1 holds cats out
SUPPORT, QUERIES = "2008_003519", ("2007_001774", "2007_002470")  # IoU 0.82 and 0.85


@pytest.fixture(scope="module")
def network():
    return load_checkpoint(START)


def test_the_card_is_of_this_file():
    content = START.read_bytes()
    assert len(content) < MAX_BYTES
    assert hashlib.sha256(content).hexdigest() in CARD.read_text(encoding="utf-8")


def test_it_runs_anywhere_and_says_what_it_has_not_seen(network):
    config = network.config
    assert config.precision == "float32"
    assert (config.dataset, config.fold) == ("pascal5i", 1)
    assert "/" not in config.backbone_weights


@pytest.mark.shared
def test_it_finds_cats_without_having_been_trained_on_any(network, shared):
    voc = shared / "data" / "VOC2012_subset"

    def labelled(name):
        label = np.array(Image.open(voc / "SegmentationClassAug" / f"{name}.png"))
        mask = np.where(label == 255, 255, label == CAT).astype(np.uint8)
        return photos.read_photo(voc / "JPEGImages" / f"{name}.jpg"), mask

    image, mask = labelled(SUPPORT)
    segmenter = Segmenter(network).fit(image, mask)
    for name in QUERIES:
        image, mask = labelled(name)
        found, known = segmenter.predict(image).mask == 1, mask != 255
        overlap = (found & (mask == 1)).sum() / ((found | (mask == 1)) & known).sum()
        assert overlap > 0.7, name
