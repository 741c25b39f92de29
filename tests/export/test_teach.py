"""A taught model finds its classes in photos alone, as the checkpoint does with supports."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from helpers import commands
from helpers.exports import CUP, MUG, put
from helpers.networks import (  # noqa: F401
    deep,  # noqa: F401
    eager,
    lively,
    photo,
)

from crnet_tf.fewshot import answers, deciding
from crnet_tf.fewshot.finetune import adapted_variables
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.images.png_files import encode_png
from crnet_tf.options import Options
from export import teach as teach_command
from export.graph import taught
from export.graph.settings import Settings
from export.graph.signatures import FewShot
from export.package import parity, teach

FINETUNED = Options(
    kshot="finetune+fusion",
    finetune_steps=2,
    finetune_rate=1e-2,
    refine_steps=2,
    test_scales="1.25",
)
QUERIES = [photo(6), photo(7)]


def expected(network, options, *classes, negatives=()):
    """Probabilities [B,H,W,N] of the queries, presence [B,N], classes that are there [B,N]."""
    learner = Learner(network, options)
    predictors = [learner.fit(supports, negatives=negatives) for supports in classes]
    maps = [[one.segment(query) for query in QUERIES] for one in predictors]
    scores = [[one.presence(query) for one in predictors] for query in QUERIES]
    least = deciding.least_presence(classes, negatives)
    there = [
        deciding.there([one.maps(query)[0][-1] for one in predictors], sure, 0.5, least)
        for query, sure in zip(QUERIES, scores, strict=True)
    ]
    return np.moveaxis(np.array(maps), 0, -1), np.array(scores), np.array(there)


def check(answer, wanted):
    probability, presence, there = wanted
    np.testing.assert_allclose(answer["probability"], probability, atol=1e-5)
    np.testing.assert_allclose(answer["presence"], presence, atol=1e-4)
    decided = answers.decided(answer["probability"], 0.5, there)
    np.testing.assert_array_equal(answer["mask"], decided)


def queries():
    return tf.constant(np.stack([one.image for one in QUERIES]))


def test_one_class_of_a_folder(checkpoint, network, tmp_path, capsys):
    put(tmp_path / "cup", CUP)
    none = LabelledPhoto(CUP[0].image)
    commands.run(
        teach_command,
        f"--support_dir={tmp_path / 'cup'}",
        f"--checkpoint={checkpoint}",
        f"--out={tmp_path / 'models'}",
        "--refine_steps=2",
        f"--negative={tmp_path / 'cup' / '0.png'}",
    )
    assert "Class 1: cup, 2 labelled photos" in capsys.readouterr().out
    loaded = tf.saved_model.load(str(tmp_path / "models" / "1")).signatures
    check(
        loaded["serving_default"](image=queries()),
        expected(network, Options(kshot="mean", refine_steps=2), CUP, negatives=[none]),
    )
    said = json.loads(loaded["metadata"]()["metadata"].numpy())
    assert said["class_names"] == ["cup"] and said["least_presence"] == deciding.LEAST


@pytest.mark.slow
def test_two_finetuned_classes_at_another_scale(checkpoint, network, tmp_path):
    classes = {"cup": CUP, "mug": MUG}
    folder = teach.teach(checkpoint, classes, tmp_path / "models", options=FINETUNED)
    loaded = tf.saved_model.load(str(folder)).signatures
    wanted, *others = expected(network, FINETUNED, CUP, MUG)
    check(loaded["serving_default"](image=queries()), (wanted, *others))
    other = [QUERIES[1], photo(8, 61, 35)]
    files = tf.constant([encode_png(one.image) for one in other])
    answer = loaded["segment_encoded"](image_bytes=files)
    for n in range(2):
        levels = tf.io.decode_png(answer["probability_png_bytes"][0, n]).numpy()[..., 0]
        np.testing.assert_allclose(levels / 255, wanted[1, ..., n], atol=0.51 / 255)
    mask = tf.io.decode_png(answer["mask_png_bytes"][0]).numpy()[..., 0]
    decided = answers.decided(wanted[1], 0.5, others[1][1])
    assert np.mean(mask == decided) > 0.99 and mask.max() <= 2
    assert tf.io.decode_png(answer["mask_png_bytes"][1]).shape == (61, 35, 1)
    said = json.loads((folder / "assets.extra" / "metadata.json").read_text())
    assert said["class_names"] == ["cup", "mug"] and said["supports"] == {"cup": 2, "mug": 3}
    assert said["options"] == dataclasses.asdict(FINETUNED)
    assert said["thresholds"] == {"cup": 0.5, "mug": 0.5}


@pytest.mark.slow
def test_finetuning_makes_a_difference_and_leaves_the_network_as_it_was(network):
    before = [variable.numpy() for variable in network.variables]
    learner = Learner(network, FINETUNED)
    cup, mug = taught.learn(learner, "cup", CUP), taught.learn(learner, "mug", MUG)
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert cup.parts.encoder is mug.parts.encoder is network.parts.encoder
    kernels = [one.parts.refinement.classifier.kernel.numpy() for one in (cup, mug)]
    kernels.append(network.parts.refinement.classifier.kernel.numpy())
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.any(kernels[first] != kernels[second])
    model = taught.Taught(learner, [cup, mug], Settings())
    check(model.segment(queries()), expected(network, FINETUNED, CUP, MUG))
    plain, *_ = expected(network, Options(refine_steps=2, test_scales="1.25"), CUP)
    assert np.abs(expected(network, FINETUNED, CUP)[0] - plain).max() > 1e-3


@pytest.mark.parametrize(
    "changes",
    [{}, {"cross_reference": False}, {"mask_refinement": False}],
    ids=str,
)
def test_a_copy_of_the_heads_is_exact_and_independent(changes):
    network, untouched = lively(**changes), lively(**changes)
    parts = taught.copied(network.parts)
    for variable in adapted_variables(network):
        variable.assign(variable + 0.01)
    network.parts = parts
    copies, wanted = adapted_variables(network), adapted_variables(untouched)
    for variable, value in zip(copies, wanted, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_the_first_support_answers_when_finetuned_without_fusion(network):
    options = Options(kshot="finetune", finetune_steps=1, refine_steps=2)
    learner = Learner(network, options)
    learnt = taught.learn(learner, "mug", MUG)
    assert {len(value) for value in learnt.states[0].tensors().values()} == {1}
    model = taught.Taught(learner, [learnt], Settings())
    check(model.segment(queries()), expected(network, options, MUG))


@pytest.mark.parametrize(
    "kshot", [pytest.param("mean", marks=pytest.mark.slow), "finetune+mean"]
)
def test_a_mean_is_baked_in_as_one_support(network, kshot):
    options = Options(kshot=kshot, finetune_steps=1, refine_steps=3, refine_tolerance=0.9)
    learner = Learner(network, options)
    learnt = taught.learn(learner, "mug", MUG)
    assert {len(value) for value in learnt.states[0].tensors().values()} == {1}
    assert len(learnt.prototypes) == len(MUG)
    model = taught.Taught(learner, [learnt], Settings())
    check(model.segment(queries()), expected(network, options, MUG))


def test_files_without_loops_take_all_steps(network):
    options = Options(kshot="mean", refine_tolerance=0.9)
    learner = Learner(network, options)
    few = taught.Taught(learner, [taught.learn(learner, "mug", MUG)], Settings())
    all_steps = {"refine_tolerance": 0}
    every, wanted = few.changed(**all_steps), dataclasses.replace(options, **all_steps)
    check(every.segment(queries()), expected(network, wanted, MUG))
    before, after = (model.segment(queries())["probability"] for model in (few, every))
    assert np.abs(before - after).max() > 1e-4
    predictors = [model.classes[0].predictor for model in (few, every)]
    assert np.abs(np.subtract(*[one.segment(QUERIES[0]) for one in predictors])).max() > 1e-4


def test_the_threshold_of_the_supports_is_baked_in(network, monkeypatch):
    monkeypatch.setattr("crnet_tf.fewshot.learner.common_threshold", lambda answers: 0.2)
    options = Options(kshot="mean", refine_steps=2, leave_one_out=True)
    learner = Learner(network, options)
    model = taught.Taught(learner, [taught.learn(learner, "mug", MUG)], Settings())
    wanted = expected(network, options, MUG)
    check(model.segment(queries()), wanted)
    plain = expected(network, dataclasses.replace(options, leave_one_out=False), MUG)
    assert np.abs(wanted[0] - plain[0]).max() > 0.05


def last_stages(signature):
    """Number of passes through VGG-16's last stage in the graph of a signature."""
    graph = tf.function(signature.function).get_concrete_function(*signature.inputs).graph
    kinds = [op.type for op in graph.get_operations() if "block5_conv1" in op.name]
    return kinds.count("Conv2D")


@pytest.mark.slow
@pytest.mark.parametrize("scale", [pytest.param(1, marks=pytest.mark.slow), 1.25])
def test_deep_prototypes_cost_one_last_stage_a_photo_whatever_the_classes(deep, scale):  # noqa: F811
    options = Options(test_scales=str(scale))
    learner = Learner(deep, options)
    cup, mug = taught.learn(learner, "cup", CUP), taught.learn(learner, "mug", MUG)
    own = dataclasses.replace(mug, parts=taught.copied(deep.parts))  # as if fine-tuned
    sizes = len({1, scale})  # presence looks at scale 1
    for classes in ([cup], [cup, mug], [cup, own]):
        serving, _ = taught.Taught(learner, classes, Settings()).signatures()
        assert last_stages(serving) == sizes
    model = taught.Taught(learner, [cup, own], Settings())
    check(model.segment(queries()), expected(deep, options, CUP, MUG))


def test_a_few_shot_network_with_deep_prototypes_passes_the_last_stage_once_a_photo(deep):  # noqa: F811
    signatures = {one.name: one for one in FewShot(deep, Settings()).signatures()}
    passes = {"serving_default": 2, "encode_support": 1, "segment_with_support": 1}
    assert {name: last_stages(signatures[name]) for name in passes} == passes


def test_an_option_that_needs_the_supports_again_is_refused(checkpoint, tmp_path):
    options = Options(weighted_fusion=True)
    with pytest.raises(ValueError, match="weighted_fusion: expected off"):
        teach.teach(checkpoint, {"cup": CUP}, tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()


def test_a_version_that_is_there_is_said_before_the_network_learns(
    checkpoint, tmp_path, monkeypatch
):
    (tmp_path / "1").mkdir()
    monkeypatch.setattr(taught, "learn", lambda *_: pytest.fail("it learns"))
    with pytest.raises(FileExistsError, match="Leave --version out"):
        teach.teach(checkpoint, {"cup": CUP}, tmp_path, version=1)


def test_weights_of_another_class_are_noticed(network, monkeypatch):
    """What parity is for: every class fine-tunes the same variables."""
    monkeypatch.setattr(taught, "copied", lambda parts: parts)
    options = Options(kshot="finetune", finetune_steps=2, finetune_rate=1e-2, refine_steps=1)
    model = teach.learnt(network, {"cup": CUP}, options, Settings())
    functions = {one.name: one.function for one in model.signatures()}
    predictors = [one.predictor for one in model.classes]
    with pytest.raises(RuntimeError, match="serving_default.*removed"):
        parity.check(parity.taught(functions, predictors, Settings(), CUP[:1]))
