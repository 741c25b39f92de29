"""k labelled photos -> answers: fusion, scales, fine-tuning, and what goes beyond the paper."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from helpers.networks import eager, lively, photo  # noqa: F401

from crnet_tf.data.frames import Frame
from crnet_tf.fewshot.features import FeatureCache, base_frame
from crnet_tf.fewshot.finetune import holding
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.network import metrics
from crnet_tf.options import Options

SUPPORTS = [photo(1), photo(2, 33, 47), photo(3, 60, 41)]
QUERY = photo(9, 45, 37)
TUNED = {"finetune_steps": 1, "finetune_rate": 1e-2}


@pytest.fixture(scope="module")
def network():
    return lively()


def answer(network, supports=SUPPORTS, frame=None, cache=None, **options):
    """Probabilities [T,H,W] of the query."""
    return Learner(network, Options(**options), frame, cache).fit(supports).steps(QUERY)


def differ(first, second):
    return np.abs(first - second).max() > 1e-4


# === One support, and several ===


@pytest.mark.parametrize(
    ("changes", "graph"),
    [({}, True), ({}, False), ({"precision": "mixed_bfloat16"}, False)],
    ids=str,
)
def test_one_support_gives_the_networks_own_answer(changes, graph):
    network, frame = lively(**changes), Frame(33)
    tf.config.run_functions_eagerly(not graph)
    (maps,) = Learner(network, frame=frame).fit(SUPPORTS[:1]).maps(QUERY)
    inputs = {
        "support_image": frame.image(SUPPORTS[0].image)[None],
        "support_mask": frame.mask(SUPPORTS[0].mask)[None],
        "query_image": frame.image(QUERY.image)[None],
    }
    expected = tf.nn.softmax(network(inputs)["query"])[0, ..., 1].numpy()
    assert expected.std() > 0.01  # or any answer would do
    assert maps.shape == (3, 33, 33) and maps.dtype == np.float32
    np.testing.assert_allclose(maps[-1], expected, atol=0.02 if changes else 1e-5)


def test_answers_are_probabilities_at_the_photos_own_size(network):
    found = answer(network)
    assert found.shape == (3, 45, 37) and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1
    assert answer(network, refine_steps=2).shape == (2, 45, 37)
    np.testing.assert_allclose(answer(network, refine_steps=2), found[:2], atol=1e-6)


def test_fusion_is_the_mean_of_the_one_shot_answers(network):
    alone = [answer(network, [one]) for one in SUPPORTS]
    assert differ(alone[0], alone[1])
    np.testing.assert_allclose(answer(network), np.mean(alone, axis=0), atol=1e-5)


def test_the_mean_support_answers_once(network):
    options = {"kshot": "mean"}
    alone = answer(network, SUPPORTS[:1], **options)
    np.testing.assert_allclose(alone, answer(network, SUPPORTS[:1]), atol=1e-6)
    twice = answer(network, [SUPPORTS[0], SUPPORTS[0]], **options)
    np.testing.assert_allclose(twice, alone, atol=1e-5)
    both = answer(network, **options)
    assert differ(both, alone) and differ(both, answer(network))
    np.testing.assert_allclose(both, answer(network, SUPPORTS[::-1], **options), atol=1e-5)


def test_the_mean_is_of_importance_and_category(network):
    predictor = Learner(network, Options(kshot="mean")).fit(SUPPORTS)
    each = [Learner(network).fit([one]) for one in SUPPORTS]
    frame = predictor.learner.frame
    found = predictor.state(frame).tensors()
    states = [one.state(frame).tensors() for one in each]
    assert found.keys() == {"importance", "category"}
    for name, value in found.items():
        assert value.shape[0] == 1
        expected = np.mean([state[name] for state in states], axis=0)
        np.testing.assert_allclose(value, expected, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"weighted_fusion": True}], ids=str)
def test_the_order_of_the_supports_does_not_matter(network, options):
    turned = answer(network, SUPPORTS[::-1], **options)
    np.testing.assert_allclose(answer(network, **options), turned, atol=1e-5)


def test_a_query_may_come_without_a_mask(network):
    predictor = Learner(network).fit(SUPPORTS)
    np.testing.assert_array_equal(
        predictor.steps(LabelledPhoto(QUERY.image)), predictor.steps(QUERY)
    )


# === Frames and scales ===


def test_the_scale_one_is_no_scale(network):
    (maps,) = Learner(network, Options(test_scales="1")).fit(SUPPORTS).maps(QUERY)
    (plain,) = Learner(network).fit(SUPPORTS).maps(QUERY)
    np.testing.assert_array_equal(maps, plain)
    assert maps.shape[1:] == (33, 33)


def test_several_scales_are_the_mean_at_the_photos_size(network):
    single = [answer(network, test_scales=scale) for scale in ("1", "1.25")]
    np.testing.assert_array_equal(single[0], answer(network))
    assert differ(single[0], single[1])
    several = Learner(network, Options(test_scales="1,1.25"))
    assert [frame.size for frame in several.frames] == [33, 41]
    found = several.fit(SUPPORTS).steps(QUERY)
    np.testing.assert_allclose(found, np.mean(single, axis=0), atol=1e-6)


def test_a_scale_that_leaves_nothing_is_refused_before_anything_runs(network):
    with pytest.raises(ValueError, match="scales: expected all to give at least 33 px.*0.5"):
        Learner(network, Options(test_scales="1,0.5"))


def test_a_larger_frame_gives_what_the_larger_network_gives(network):
    larger = lively(image_size=41)
    larger.set_weights(network.get_weights())
    np.testing.assert_allclose(
        answer(network, frame=base_frame(network, 41)), answer(larger), atol=1e-5
    )


def test_a_letterbox_works_with_everything(network):
    frame = base_frame(network, 41, letterbox=True)
    found = answer(network, frame=frame)
    assert found.shape == (3, 45, 37) and differ(found, answer(network, frame=Frame(41)))
    options = {"test_scales": "1,1.5", "weighted_fusion": True}
    found = answer(network, frame=frame, kshot="finetune+fusion", **options, **TUNED)
    assert found.shape == (3, 45, 37) and np.isfinite(found).all()


def test_an_object_that_vanishes_is_named(network):
    mask = np.zeros((200, 200), np.uint8)
    mask[1, 1] = 1
    dot = LabelledPhoto(np.zeros((200, 200, 3), np.uint8), mask, "dot.jpg")
    with pytest.raises(ValueError, match=r"dot.jpg: .*33x33.*Crop the photo"):
        Learner(network).fit([*SUPPORTS, dot])


def test_no_support_is_refused(network):
    with pytest.raises(ValueError, match="at least one labelled photo, received none"):
        Learner(network).fit([])


# === Fine-tuning ===


def test_finetune_answers_from_the_first_and_with_fusion_from_all(network):
    options = Options(kshot="finetune", **TUNED)
    before = [variable.numpy() for variable in network.weights]
    learner = Learner(network, options)
    predictor = learner.fit(SUPPORTS)
    first = predictor.steps(QUERY)
    fused = answer(network, kshot="finetune+fusion", **TUNED)
    for variable, value in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    with holding(learner.tuner.variables, predictor.adapted.weights):
        np.testing.assert_allclose(first, answer(network, SUPPORTS[:1]), atol=1e-5)
        np.testing.assert_allclose(fused, answer(network), atol=1e-5)
    assert differ(first, answer(network, SUPPORTS[:1])) and differ(fused, answer(network))


def test_what_other_weights_gave_is_never_used(network):
    """One cache for the network and what it is adapted to, in every order."""
    cache, other = FeatureCache(1e9), [SUPPORTS[1], SUPPORTS[0]]
    plain = answer(network)
    options = {"kshot": "finetune+fusion", "weighted_fusion": True} | TUNED
    tuned, turned = answer(network, **options), answer(network, other, **options)
    for supports, given, expected in (
        (SUPPORTS, options, tuned),
        (SUPPORTS, {}, plain),
        (other, options, turned),
        (SUPPORTS, options, tuned),
    ):
        found = answer(network, supports, cache=cache, **given)
        np.testing.assert_array_equal(found, expected)
    assert differ(tuned, plain) and differ(tuned, turned)


def test_an_example_keeps_its_weights_while_others_are_learnt(network):
    learner = Learner(network, Options(kshot="finetune", **TUNED))
    one, other = learner.fit(SUPPORTS), learner.fit(SUPPORTS[::-1])
    alone = one.steps(QUERY)
    assert differ(other.steps(QUERY), alone)
    np.testing.assert_array_equal(one.steps(QUERY), alone)


def test_one_support_is_tuned_on_with_views_only(network):
    with pytest.raises(ValueError, match="received 1.*--finetune_views"):
        answer(network, SUPPORTS[:1], kshot="finetune")
    options = {"kshot": "finetune", "finetune_views": 2} | TUNED
    found = answer(network, SUPPORTS[:1], **options)
    assert differ(found, answer(network, SUPPORTS[:1]))
    np.testing.assert_array_equal(found, answer(network, SUPPORTS[:1], **options))


def test_views_stand_beside_their_photos(network):
    learner = Learner(network, Options(kshot="finetune", finetune_views=2, finetune_seed=4))
    seen = {}
    learner.tuner = lambda *arrays: seen.update(zip(("s", "c", "m"), arrays, strict=True))
    learner.fit(SUPPORTS[:2])
    expected = [learner.encoder.photo(one, learner.frame) for one in SUPPORTS[:2]]
    views = [
        learner.encoder.augmented(one, learner.frame, (4, number))
        for one in SUPPORTS[:2]
        for number in range(2)
    ]
    np.testing.assert_array_equal(seen["s"], expected + [view[0] for view in views])
    np.testing.assert_array_equal(seen["c"][2:], [view[1] for view in views])
    np.testing.assert_array_equal(seen["m"][2:], [view[2] for view in views])


# === Every network ===


@pytest.mark.parametrize(
    "changes",
    [
        {"mask_refinement": False},
        {"precision": "mixed_float16", "dropout": 0.5},
        pytest.param({"condition": False}, marks=pytest.mark.slow),
        pytest.param({"cross_reference": False}, marks=pytest.mark.slow),
        pytest.param({"train_backbone": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_network_goes_with_every_option(changes):
    network = lively(**changes)
    steps = 3 if network.config.mask_refinement else 1
    alone = [answer(network, [one]) for one in SUPPORTS]
    tolerance = 0.01 if "precision" in changes else 1e-5
    np.testing.assert_allclose(answer(network), np.mean(alone, axis=0), atol=tolerance)
    tuned = {"kshot": "finetune+fusion", "finetune_steps": 1, "finetune_views": 1}
    found = answer(network, test_scales="1,1.25", weighted_fusion=True, **tuned)
    assert found.shape == (steps, 45, 37) and np.isfinite(found).all()


@pytest.mark.parametrize("options", [{}, {"weighted_fusion": True}, {"kshot": "mean"}], ids=str)
def test_classes_are_answered_together_as_each_alone(network, options):
    learner = Learner(network, Options(test_scales="1,1.25", **options))
    predictors = [learner.fit(SUPPORTS), learner.fit(SUPPORTS[:1]), learner.fit(SUPPORTS[1:])]
    together = learner.maps_of_each(predictors, QUERY)
    for one, maps in zip(predictors, together, strict=True):
        assert len(maps) == 2
        for found, alone in zip(maps, one.maps(QUERY), strict=True):
            np.testing.assert_allclose(found, alone, atol=1e-5)
    assert differ(together[0][0], together[1][0])


def test_a_tolerance_ends_the_refinement(network):
    every, few = answer(network), answer(network, refine_tolerance=0.9)
    np.testing.assert_allclose(few, every[[0, 1, 1]], atol=1e-5)
    assert differ(every[1], every[2])


# === What the support head says ===


def test_the_agreement_is_the_iou_of_the_networks_support_head(network):
    learner, frame = Learner(network, Options(weighted_fusion=True)), Frame(33)
    predictor = learner.fit(SUPPORTS)
    query = predictor._projected(QUERY, learner.frame)
    found = predictor._agreement(query, learner.frame)
    assert found.shape == (3, 3)
    for one, ious in zip(SUPPORTS, found, strict=True):
        mask = frame.mask(one.mask)
        inputs = {
            "support_image": frame.image(one.image)[None],
            "support_mask": mask[None],
            "query_image": frame.image(QUERY.image)[None],
        }
        logits = network(inputs)["support"][0].numpy()
        areas = metrics.areas(logits[..., 1] > logits[..., 0], mask[..., 0].numpy())
        assert ious[-1] == pytest.approx(metrics.class_iou(areas), abs=0.01)


def test_the_answer_is_what_is_fused_by_the_agreement(network):
    predictor = Learner(network, Options(weighted_fusion=True)).fit(SUPPORTS)
    predictor._agreement = lambda *_: np.array([[0, 0, 0], [0.1, 0.5, 0.2], [0, 0, 0]])
    (maps,) = predictor.maps(QUERY)
    (alone,) = Learner(network).fit(SUPPORTS[1:2]).maps(QUERY)
    np.testing.assert_allclose(maps, alone, atol=1e-5)


# === The cache ===


@pytest.mark.parametrize(
    "precision", [pytest.param("float32", marks=pytest.mark.slow), "mixed_bfloat16"]
)
def test_no_cache_a_large_one_and_the_disk_give_the_same_bits(precision, tmp_path):
    network = lively(precision=precision)
    for options in ({}, {"kshot": "finetune", "finetune_steps": 1}):
        plain = answer(network, feature_cache_gb=0.0, **options)
        folder = {"feature_cache": str(tmp_path), "feature_cache_gb": 0.0}
        for other in ({}, folder, folder):
            np.testing.assert_array_equal(answer(network, **options | other), plain)
    assert len(list(tmp_path.rglob("*.npy"))) == 4 + 3


def test_another_learner_reads_the_folder_and_encodes_nothing(network, encoded, tmp_path):  # noqa: F811
    expected = answer(network, feature_cache=str(tmp_path))
    assert len(encoded) == 4 + 3
    encoded.clear()
    np.testing.assert_array_equal(answer(network, feature_cache=str(tmp_path)), expected)
    assert not encoded


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"weighted_fusion": True}, marks=pytest.mark.slow),
        pytest.param({"kshot": "finetune"} | TUNED, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_photo_is_encoded_once_a_frame(network, encoded, options):  # noqa: F811
    learner = Learner(network, Options(test_scales="1,1.25", **options))
    renamed = [dataclasses.replace(one, name="again") for one in SUPPORTS]
    for supports in (SUPPORTS, renamed, SUPPORTS[::-1]):
        learner.fit(supports).maps(QUERY)
        learner.fit(supports).maps(photo(8))
    photos, masked = 5, 3
    if "kshot" not in options:
        assert len(encoded) == 2 * (photos + masked)
    else:  # the larger frame needs the first support alone, and both ends come first
        assert len(encoded) == photos + masked + (2 + 2) + 2


def test_without_a_cache_every_photo_is_encoded_each_time(network, encoded):  # noqa: F811
    learner = Learner(network, Options(feature_cache_gb=0.0))
    for _ in range(2):
        learner.fit(SUPPORTS[:1]).maps(QUERY)
    assert len(encoded) == 2 * (2 + 1)


def test_learners_share_what_is_in_one_cache(network, encoded):  # noqa: F811
    cache, tuned = FeatureCache(1e9), Options(kshot="finetune", **TUNED)
    for options in (Options(), tuned, Options(weighted_fusion=True)):
        learner = Learner(network, options, cache=cache, keep_features=True)
        learner.fit(SUPPORTS).maps(QUERY)
    assert len(encoded) == 4 + 3


def test_features_that_never_come_back_take_no_memory(network):
    lean, whole = Learner(network), Learner(network, keep_features=True)
    for learner in (lean, whole):
        learner.fit(SUPPORTS).maps(QUERY)
    kinds = [{key[0] for key in learner.cache._arrays} for learner in (lean, whole)]
    assert kinds == [{"projected"}, {"projected", "photo", "masked"}]


# === Is it there? ===


def test_presence_is_of_the_object_and_of_frozen_features(network):
    """The support's own photo surely holds it; fine-tuning does not change the features."""
    predictor = Learner(network).fit(SUPPORTS[:1])
    learner, support = predictor.learner, SUPPORTS[0]
    features = learner.encoder.photo(support, learner.frame)[..., -64:]
    mask = tf.image.resize(
        tf.cast(learner.frame.mask(support.mask) == 1, tf.float32), features.shape[:2], "area"
    ).numpy()
    average = (features * mask).sum((0, 1)) / mask.sum()
    common = network.parts.centre.mean.numpy()
    features, average = features - common, average - common
    cosine = features @ average / (np.linalg.norm(features, axis=-1) * np.linalg.norm(average))
    likely = network.parts.likelihood(tf.constant([cosine.max()]), tf.constant([0.0]), shots=1)
    assert predictor.presence(support) == pytest.approx(float(likely[0]), abs=1e-4)
    tuned = Learner(network, Options(kshot="finetune", **TUNED)).fit(SUPPORTS)
    assert tuned.presence(QUERY) == pytest.approx(predictor.presence(QUERY), abs=1e-6)


def test_what_is_found_in_negatives_lowers_presence(network):
    """Of one with a mask, what is marked."""
    learner, few = Learner(network), SUPPORTS[:1]
    plain = learner.fit(few)
    against = learner.fit(few, negatives=[QUERY])
    assert against.rivals.shape == plain.prototypes.shape and not np.any(plain.rivals)
    assert against.presence(QUERY) <= 0.5 < plain.presence(QUERY)
    marked = learner.fit(few, negatives=[SUPPORTS[0]])
    np.testing.assert_allclose(marked.rivals, plain.prototypes, atol=1e-5)
    assert marked.presence(QUERY) == pytest.approx(0.5, abs=1e-4)  # it is its own rival
    two = learner.fit(few, negatives=[QUERY, SUPPORTS[0]])
    np.testing.assert_allclose(two.rivals, [*against.rivals, *marked.rivals], atol=1e-5)
