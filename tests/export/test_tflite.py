"""TFLite files answer as the checkpoint does, without TensorFlow and at fixed sizes."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers import commands
from helpers.exports import CUP, MUG, OTHER, QUERIES, STEPS, SUPPORTS, Answers, expected, put
from helpers.networks import eager, lively, photo  # noqa: F401

from crnet_tf.fewshot import answers, deciding
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.png_files import write_png
from export import teach as teach_command
from export import tflite as tflite_command
from export.graph import signatures, taught
from export.graph.settings import Settings, Sizes
from export.package import fixed_size_export, fixed_size_files, inputs, parity, tflite
from export.package.fixed_size_export import Photos

SIZES = Sizes(photo_height=40, photo_width=52)  # of SUPPORTS and QUERIES
SHOT = 2
EXPORTED = ["float32", "int8"]  # what `folder` is written in
SMOOTH = dataclasses.replace(STEPS, edges=False)  # as files of fewer bits are
PHOTOS = Photos(supports=SUPPORTS, queries=QUERIES)
# Of the tiny network; formats of few bits round its few numbers coarsely.
CLOSE = {"float32": 1e-5, "float16": 2e-3, "dynamic": 0.05, "int8": 0.05}


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory):
    """All graphs as an export writes them, in the most exact format and the coarsest."""
    tf.config.run_functions_eagerly(True)
    out = tmp_path_factory.mktemp("models") / "tflite"
    formats = tflite.named(EXPORTED)
    return fixed_size_export.export(
        checkpoint, out, formats, photos=PHOTOS, sizes=SIZES, shot=SHOT, options=STEPS
    )


@pytest.fixture(scope="module")
def queries(folder, network, tmp_path_factory):
    """The graph that answers queries in every format: {format: bytes}."""
    tf.config.run_functions_eagerly(True)
    graphs = fixed_size_files.few_shot(
        network, Settings(), SIZES, SHOT, SMOOTH, SUPPORTS, QUERIES
    )
    (query,) = (one for one in graphs.signatures if one.name == "query")
    saved = tmp_path_factory.mktemp("saved") / "model"
    signatures.save([query], "", saved)
    others = [tflite.FORMATS[name] for name in ("float16", "dynamic")]
    found = {kind.name: kind.convert(saved, "query") for kind in others}
    return found | {k: (folder / f"query-{k}.tflite").read_bytes() for k in EXPORTED}


def load(folder, graph, kind):
    return tflite.load((folder / f"{graph}-{kind}.tflite").read_bytes())


def supports():
    return {
        "support_image": np.stack([one.image for one in SUPPORTS[:SHOT]]),
        "support_mask": np.stack([one.mask for one in SUPPORTS[:SHOT]]),
    }


def check(answer, wanted, tolerance):
    probability, score = wanted
    np.testing.assert_allclose(answer["probability"][0], probability, atol=tolerance)
    np.testing.assert_allclose(answer["presence"][0], score, atol=tolerance)
    np.testing.assert_array_equal(answer["mask"], answer["probability"] > 0.5)


# === The files ===


def test_the_flags_know_the_formats():
    assert list(tflite.FORMATS) == list(inputs.TFLITE_FORMATS)


@pytest.mark.parametrize("kind", tflite.FORMATS)
def test_every_format_answers_as_the_checkpoint_does(folder, queries, network, kind):
    exact = kind if kind in EXPORTED else "float32"
    whole, encode = (load(folder, graph, exact) for graph in ("whole", "encode_support"))
    query, state = tflite.load(queries[kind]), encode(**supports())
    for one in QUERIES:
        wanted = expected(network, SUPPORTS[:SHOT], one, SMOOTH)
        image = one.image[None]
        check(whole(query_image=image, **supports()), wanted, CLOSE[exact])
        check(query(query_image=image, **state), wanted, CLOSE[kind])


def test_formats_of_fewer_bits_are_smaller(folder, queries):
    size = {kind: len(content) for kind, content in queries.items()}
    assert size["float16"] < 0.6 * size["float32"]
    assert max(size["dynamic"], size["int8"]) < 0.45 * size["float32"]
    for graph in ("whole", "encode_support"):
        float32, int8 = ((folder / f"{graph}-{k}.tflite").stat().st_size for k in EXPORTED)
        assert int8 < 0.45 * float32


def test_int8_is_not_just_weights(queries):
    """Else it would be as dynamic is, and slow where there is no arithmetic in floats."""
    from ai_edge_litert.interpreter import Interpreter

    kinds = {}
    for kind in ("dynamic", "int8"):
        interpreter = Interpreter(model_content=queries[kind])
        kinds[kind] = [
            detail["dtype"]
            for detail in interpreter.get_tensor_details()
            if len(detail["shape"]) == 4 and list(detail["shape"][:3]) == [1, 5, 5]
        ]
    assert np.int8 in kinds["int8"] and np.int8 not in kinds["dynamic"]


def test_sizes_are_fixed(folder):
    details = load(folder, "query", "int8").get_input_details()
    shapes = {name: detail["shape"].tolist() for name, detail in details.items()}
    vector, cell = [SHOT, 1, 1, 8], [SHOT, 1, 1, 64]
    assert shapes == {
        "query_image": [1, 40, 52, 3], "importance": vector, "category": vector,
        "foreground": cell, "background": cell, "prototype": [SHOT, 64],
        "rival": [1, 64],
    }  # fmt: skip
    assert details["query_image"]["dtype"] == np.uint8


def test_metadata_say_what_the_files_are(folder):
    said = json.loads((folder / "metadata.json").read_text())
    assert said["kind"] == "few-shot" and said["shot"] == SHOT and said["refine_steps"] == 1
    assert said["sizes"] == {"photo_height": 40, "photo_width": 52}
    assert said["formats"] == EXPORTED
    assert len(list(folder.iterdir())) == 1 + 3 * len(EXPORTED)


def test_photos_are_framed_as_clients_frame_them():
    framed = fixed_size_files.framed(photo(1, 120, 156), SIZES)
    assert framed.image.shape == (40, 52, 3) and framed.image.dtype == np.uint8
    assert framed.mask.shape == (40, 52) and set(np.unique(framed.mask)) == {0, 1, 255}
    corners = photo(1, 120, 156).image[::119, ::155]
    np.testing.assert_array_equal(framed.image[::39, ::51], corners)
    assert fixed_size_files.framed(QUERIES[0], SIZES).key == QUERIES[0].key
    assert fixed_size_files.framed(dataclasses.replace(photo(1), mask=None), SIZES).mask is None


# === Taught classes ===


def test_taught_classes_are_written_beside_the_saved_model(
    checkpoint, network, tmp_path, monkeypatch
):
    # The SavedModel has tests of its own; tracing it is slow.
    monkeypatch.setattr(taught.Taught, "signatures", lambda self: [])
    monkeypatch.setattr(parity, "taught", lambda *given: {})
    put(tmp_path / "things" / "cup", CUP)
    put(tmp_path / "things" / "mug", MUG[1:])
    commands.run(
        teach_command,
        f"--support_dir={tmp_path / 'things'}",
        f"--checkpoint={checkpoint}",
        f"--out={tmp_path / 'models'}",
        "--refine_steps=1",
        "--tflite=float32",
        "--photo_height=40",
        "--photo_width=52",
    )
    extras = tmp_path / "models" / "1" / "assets.extra"
    ask = load(extras, "taught", "float32")
    learner = Learner(network, STEPS)
    predictors = [learner.fit(one) for one in (CUP, MUG[1:])]
    for one in QUERIES[:2]:
        answer = ask(image=one.image[None])
        wanted = np.stack([predictor.segment(one) for predictor in predictors], axis=-1)
        np.testing.assert_allclose(answer["probability"][0], wanted, atol=1e-5)
        scores = [predictor.presence(one) for predictor in predictors]
        np.testing.assert_allclose(answer["presence"][0], scores, atol=1e-4)
        small = [predictor.maps(one)[0][-1] for predictor in predictors]
        there = deciding.there(small, scores, 0.5, deciding.LEAST)
        decided = answers.decided(answer["probability"][0], 0.5, there)
        np.testing.assert_array_equal(answer["mask"][0], decided)


# === What must not be left, and what is refused ===


def zeros(**inputs):
    """What a file would answer that lost its weights."""
    shape = (1, *dataclasses.astuple(SIZES))
    return {
        "probability": np.zeros(shape, np.float32),
        "mask": np.zeros(shape, np.uint8),
        "presence": np.zeros(1, np.float32),
    }


def test_a_file_that_answers_otherwise_is_not_left_behind(checkpoint, tmp_path):
    photos = Photos({"cup": CUP[:1]}, queries=QUERIES[:1])
    lost = tflite.FORMATS["float32"]._replace(
        convert=lambda *given: b"", load=lambda content: zeros
    )
    with pytest.raises(RuntimeError, match="other answers from taught. The export was removed"):
        fixed_size_export.export(
            checkpoint, tmp_path / "out", [lost], photos=photos, sizes=SIZES
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", [None, "probability", "mask", "presence"])
def test_formats_of_few_bits_are_judged_by_their_decisions(output):
    probability = np.random.default_rng(0).uniform(size=(40, 52)).astype(np.float32)
    near = np.clip(probability + 0.05 * np.sign(0.5 - probability), 0, 1)
    answer = {"probability": near[None], "mask": (near > 0.5)[None], "presence": [0.74]}

    def share():
        return parity.share_decided_otherwise(
            lambda image: answer, [Answers(probability)], Settings(), QUERIES[:1]
        )

    assert np.any((near > 0.5) != (probability > 0.5)) and share() == 0
    if output == "mask":
        answer["mask"] = answer["mask"].copy()
        answer["mask"][0, :10] = ~answer["mask"][0, :10]
        assert 0.15 < share() < 0.25
    elif output:
        answer[output] = np.full_like(answer[output], np.nan)
        assert share() == 1
        answer["presence"] = [0.5]
        assert share() == 1


@pytest.mark.parametrize("kind, gap, good", [("float16", 4e-3, True), ("float16", 6e-3, False),
                                             ("float32", 4e-3, False)])  # fmt: skip
def test_a_mask_may_differ_where_rounding_reaches_the_threshold(kind, gap, good):
    probability = np.full((40, 52), 0.5 + gap / 2, np.float32)
    found = probability - gap
    answer = {"probability": found[None], "mask": (found > 0.5)[None], "presence": [0.75]}
    kind = tflite.FORMATS[kind]
    ask = [Answers(probability)], Settings(), QUERIES[:1]
    assert (kind.measure(lambda image: answer, *ask) <= kind.tolerance) == good


def test_a_missing_runtime_is_named(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(RuntimeError, match=r"ai-edge-litert.*pip install 'crnet-tf\[tflite\]'"):
        commands.run(tflite_command, f"--checkpoint={checkpoint}", f"--out={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


def test_int8_wants_real_photos(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="int8: expected real photos.*--records"):
        commands.run(
            tflite_command,
            f"--checkpoint={checkpoint}",
            f"--out={tmp_path / 'out'}",
            "--formats=float32,int8",
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--formats=float64"], "expected some of float32, .* received 'float64'"),
        (["--support_dir=DIR", "--shot=2"], "expected no --support"),
        (["--support=a.png"], "as many --support_mask"),
        (["--photo_width=8"], "at least 33 px"),
    ],
    ids=str,
)
def test_wrong_flags_are_refused(checkpoint, tmp_path, arguments, message):
    put(tmp_path / "cup", CUP)
    arguments = [text.replace("DIR", str(tmp_path / "cup")) for text in arguments]
    with pytest.raises(ValueError, match=message):
        commands.run(
            tflite_command,
            f"--checkpoint={checkpoint}",
            f"--out={tmp_path / 'out'}",
            *arguments,
        )
    assert not (tmp_path / "out").exists()


# === What int8 is calibrated on ===


def test_records_give_held_out_photos_of_base_classes(records_dir):
    tf.config.run_functions_eagerly(False)  # tf.data's functions never run eagerly
    network = lively()
    network.config = dataclasses.replace(network.config, dataset="pascal5i", fold=1)
    photos = Photos(records_dir=records_dir, supports=SUPPORTS, most=30)
    episodes = fixed_size_export.representative(network, photos, shot=1)
    names = {one.name for supports, query in episodes for one in [*supports, query]}
    assert len(episodes) == 30 and all("val" in name for name in names)


def test_photos_given_are_calibrated_on_in_every_role(tmp_path):
    episodes = fixed_size_export.representative(None, PHOTOS, shot=1)
    assert [query for _, query in episodes] == [*QUERIES, *SUPPORTS]
    classes = Photos({"cup": CUP, "mug": MUG}, queries=QUERIES, most=7)
    episodes = fixed_size_export.representative(None, classes, shot=1)
    assert [query for _, query in episodes] == [*QUERIES, *CUP, *MUG][:7]


def test_real_photos_are_compared_on_where_there_are_some():
    episodes = [(CUP, query) for query in MUG]
    assert fixed_size_export.compared_on(PHOTOS, episodes) == (SUPPORTS, QUERIES)
    assert fixed_size_export.compared_on(Photos(), episodes) == (CUP, MUG)
    supports, _ = fixed_size_export.compared_on(Photos(), None)
    assert supports[0].name.startswith("drawn")


@pytest.mark.parametrize("name, most", [("float16", 3), ("int8", 100)])
def test_photos_of_a_command_line(tmp_path, name, most):
    """No more are held in memory than are compared or calibrated on."""
    queries = tmp_path / "queries"
    queries.mkdir()
    for query in range(5):
        write_png(queries / f"{query}.png", OTHER[0].image)
    write_png(tmp_path / "photo.png", OTHER[1].image)
    write_png(tmp_path / "mask.png", OTHER[1].mask)
    seen = []

    class Module:
        """A command that only reads its flags."""

        __name__ = "reads"
        define_flags = staticmethod(inputs.define_fixed_size_flags)

        @staticmethod
        def main():
            formats = [tflite.FORMATS[name]]
            seen.append(fixed_size_export.read_photos(commands.flags.FLAGS, formats))

    commands.run(
        Module,
        "--checkpoint=x",
        "--out=y",
        f"--support={tmp_path / 'photo.png'}",
        f"--support_mask={tmp_path / 'mask.png'}",
        f"--query={queries}",
    )
    np.testing.assert_array_equal(seen[0].supports[0].mask, OTHER[1].mask)
    assert len(seen[0].queries) == min(5, most) and seen[0].most == most
