"""The protocols are what the code bases do, and a run that differs says so."""

import dataclasses

import numpy as np
import pytest

from crnet_tf.config import Config
from crnet_tf.data import frames
from crnet_tf.evaluation import protocols
from crnet_tf.evaluation.protocols import (
    PROTOCOLS,
    answer_deviations,
    deviations,
    protocol,
    scored,
    shared_inference,
)
from crnet_tf.options import Options


def followed(p, **changed):
    """What a run that follows a protocol to the letter hands to `deviations`."""
    run = {
        "classes": "novel",
        "index_filter": p.filter,
        "photo_list": p.photo_list,
        "novel_images": p.novel_images,
        "input_size": p.input_size or 225,
        "episodes": p.episodes,
        "seeds": p.seeds,
        "network_size": 225,
    }
    return deviations(p, **(run | changed))


def test_every_protocol_has_its_name_and_makes_a_frame():
    assert set(PROTOCOLS) == {"crnet", "canet_quick", "pfenet", "hsnet", "bam", "panet"}
    for name, p in PROTOCOLS.items():
        assert protocol(name) is not None and protocol(name).name == name
        assert frames.Frame(p.input_size or 321, p.letterbox)
        assert p.episodes * len(p.seeds) in (1000, 5000)
        assert not p.letterbox or p.metric_size is None  # squares are scored as squares only


def test_an_unknown_protocol():
    with pytest.raises(ValueError, match="expected one of crnet, .*panet, received 'voc'"):
        protocol("voc")


def test_the_input_of_a_square_score_is_that_square():
    sizes = {p.name: (p.input_size, p.metric_size) for p in PROTOCOLS.values()}
    assert sizes["canet_quick"] == (321, 321)
    assert sizes["hsnet"] == (400, 400)
    assert sizes["panet"] == (417, 417)
    assert sizes["crnet"] == (None, None)


def test_coco_has_settings_of_its_own():
    assert protocol("pfenet", "coco20i").episodes == 20000
    assert protocol("pfenet", "coco20i").input_size == 641
    assert protocol("pfenet", "pascal5i").episodes == 5000
    assert protocol("hsnet", "coco20i").sampling == "classes_repeating"
    assert protocol("hsnet", "pascal5i") == protocol("hsnet")
    assert protocol("crnet", "coco20i") == protocol("crnet")


def test_hsnet_asks_about_every_test_photo_of_fss1000():
    assert protocol("hsnet", "fss1000").episodes == 240 * 10
    assert protocol("hsnet", "fss1000").sampling == "pairs_in_order"


def test_void_and_size_of_the_score():
    truth = np.zeros((30, 50), np.uint8)
    truth[10:20, 10:40] = 1
    truth[20:22] = 255
    np.testing.assert_array_equal(scored(protocol("crnet"), truth), truth)
    np.testing.assert_array_equal(scored(protocol("pfenet"), truth[..., None]), truth)
    hsnet = scored(protocol("hsnet"), truth)
    assert hsnet.shape == (400, 400) and hsnet.dtype == np.uint8
    assert set(np.unique(hsnet)) == {0, 1, 255}
    canet = scored(protocol("canet_quick"), truth)
    assert canet.shape == (321, 321) and set(np.unique(canet)) == {0, 1}
    assert 255 in truth  # the caller's mask is left alone
    assert scored(protocol("panet"), truth).shape == (417, 417)


@pytest.mark.parametrize("p", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_a_run_that_follows_its_protocol_deviates_in_nothing(p):
    assert followed(p) == []
    options = Options(test_scales="1.0", refine_steps=5)
    assert answer_deviations(p, options, Config(edges=False)) == []


@pytest.mark.parametrize("p", PROTOCOLS.values(), ids=list(PROTOCOLS))
@pytest.mark.parametrize(
    "changed, phrase",
    [
        ({"index_filter": "other"}, "filter other (protocol: "),
        ({"photo_list": "other"}, "photo list other (protocol: "),
        (
            {"novel_images": "left out"},
            "photos of novel classes left out in training (protocol",
        ),
        ({"classes": "base"}, "base classes (protocol: novel)"),
        ({"episodes": 300}, "300 episodes (protocol: "),
        ({"seeds": (7, 1234567)}, "seeds 7,1234567 (protocol: "),
    ],
)
def test_every_difference_is_one_phrase(p, changed, phrase):
    (found,) = followed(p, **changed)
    assert found.startswith(phrase)


SAID = {
    "test_scales": ("0.75,1,1.25", "scales 0.75,1,1.25 (protocol: 1)"),
    "refine_steps": (1, "1 refinement steps (protocol: 5)"),
    "refine_tolerance": (
        0.01,
        "refinement until steps change less than 0.01 (protocol: 0)",
    ),
    "edges": (True, "edges that follow the photo on (protocol: off)"),
    "weighted_fusion": (True, "weighted fusion on (protocol: off)"),
    "leave_one_out": (True, "leave-one-out threshold on (protocol: off)"),
    "small_objects": ("crop", "small objects: crop (protocol: off)"),
}
# A row names its k-shot method; how it fine-tunes stands among the evaluation's options, and
# where features are kept changes nothing.
UNSAID = {
    "kshot", "finetune_steps", "finetune_rate", "finetune_batch", "finetune_views",
    "finetune_seed", "feature_cache", "feature_cache_disk_gb", "feature_cache_gb",
}  # fmt: skip


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Options)])
def test_every_option_that_changes_the_answer_is_said(name):
    assert (name in SAID) != (name in UNSAID)
    if name in SAID:
        value, phrase = SAID[name]
        options, config = Options(**{name: value}), Config(edges=name == "edges")
        assert answer_deviations(protocol("crnet"), options, config) == [phrase]


@pytest.mark.parametrize(
    "changed, phrase",
    [
        ({"calibrated_threshold": 0.2}, "threshold 0.2 (protocol: 0.5)"),
        ({"prototype_weight": 8.0}, "weight 8 of prototypes (protocol: 0)"),
    ],
)
def test_what_a_checkpoint_brings_along_is_said(changed, phrase):
    found = answer_deviations(protocol("crnet"), Options(edges=False), Config(**changed))
    assert found == [phrase]


def test_the_input_size_is_the_protocols_or_the_networks():
    assert followed(protocol("crnet"), input_size=97, network_size=97) == []
    assert followed(protocol("crnet"), input_size=97) == ["input 97 px (protocol: 225)"]
    assert followed(protocol("pfenet"), input_size=225) == ["input 225 px (protocol: 473)"]


def test_protocols_that_differ_in_scoring_only_share_their_inference():
    same = {"input_size": 321, "episodes": 300, "seeds": (0,)}
    few = {name: dataclasses.replace(p, **same) for name, p in PROTOCOLS.items()}
    groups = shared_inference(list(few.values()))
    names = [[p.name for p in group] for group in groups]
    assert names == [["crnet", "canet_quick"], ["pfenet", "bam"], ["hsnet"], ["panet"]]


def test_protocols_as_published_are_computed_apart():
    assert [len(group) for group in shared_inference(list(PROTOCOLS.values()))] == [1] * 6
    assert protocols.shared_inference([]) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"split": "train"},
        {"sampling": "photos"},
        {"episodes": 3},
        {"seeds": (1,)},
        {"input_size": 33},
        {"letterbox": True},
        {"scales": "1,1.25"},
    ],
)
def test_what_changes_an_answer_splits_a_group(changed):
    p = protocol("crnet")
    assert len(shared_inference([p, dataclasses.replace(p, **changed)])) == 2
    scoring = dataclasses.replace(p, metric_size=33, void="background")
    assert len(shared_inference([p, scoring])) == 1
