"""LiteRT answers what the network answers, and is used where it can be."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers.networks import SIZE, eager, lively, photo  # noqa: F401

from crnet_tf import Segmenter
from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.fewshot import engine, lite_engine, lite_writing
from crnet_tf.fewshot.engine import KerasEngine
from crnet_tf.fewshot.engines import Choice
from crnet_tf.fewshot.lite_engine import LiteEngine
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.options import Options

pytest.importorskip("ai_edge_litert")
CUP, MUG, OTHER, QUERY = photo(1), photo(2), photo(4, 70, 90), photo(3, 60, 45)


@pytest.fixture(autouse=True)
def plain_processor(monkeypatch, tmp_path):
    """Whatever these tests run on, "auto" is LiteRT of 32 bits."""
    monkeypatch.setattr(lite_engine, "PROCESSOR", tmp_path / "no processor")


@pytest.fixture(scope="module")
def written(checkpoint):
    """A checkpoint whose files are there."""
    tf.config.run_functions_eagerly(True)
    assert all(Segmenter(checkpoint, engine=name).prepare() for name in lite_writing.KINDS)
    return checkpoint


def found_by(engines, checkpoint, *examples, **options):
    """What each of the engines finds in a photo."""
    return [
        Segmenter(checkpoint, engine=name, **options).fit(*examples).predict(QUERY.image)
        for name in engines
    ]


def both(*given, **options):
    return found_by(("keras", "litert"), *given, **options)


@pytest.mark.parametrize("kshot", ["mean", "fusion"])
def test_it_answers_as_the_network_does(written, kshot):
    keras, lite = both(written, [CUP, MUG, OTHER], kshot=kshot)
    np.testing.assert_allclose(lite.probability, keras.probability, atol=1e-3)
    assert lite.presence == pytest.approx(keras.presence, abs=1e-3)
    assert np.ptp(keras.probability) > 0.05  # not the same everywhere


@pytest.mark.slow
def test_a_network_that_encodes_supports_once_is_answered_for_too(tmp_path):
    network = lively(
        feature_levels="reduced", level_channels="6,6,6", similarity=True, gate="residual",
        mask_image=False,
    )  # fmt: skip
    network.save(tmp_path / "best.keras")
    assert Segmenter(tmp_path / "best.keras", engine="litert").prepare()
    keras, lite = both(tmp_path / "best.keras", [CUP, MUG], kshot="mean")
    np.testing.assert_allclose(lite.probability, keras.probability, atol=1e-3)


def test_eight_bits_answer_nearly_alike_from_a_smaller_file(written):
    keras, lite = found_by(("keras", "litert_int8"), written, CUP)
    assert 0 < np.abs(lite.probability - keras.probability).mean() < 0.02
    assert lite.presence == pytest.approx(keras.presence, abs=0.02)
    sizes = [
        lite_engine.place(written, kind).stat().st_size for kind in ("litert", "litert_int8")
    ]
    assert sizes[1] < sizes[0]


def test_edges_keep_all_their_bits(written):
    """What they are found by is no weight that is rounded."""
    rng, options = np.random.default_rng(0), Options()
    map_, image = rng.random((1, SIZE, SIZE), np.float32), QUERY.image
    answers = [
        LiteEngine(lite_engine.place(written, kind), options).restore([map_], image)
        for kind in ("litert", "litert_int8")
    ]
    np.testing.assert_allclose(*answers, atol=1e-5)


def test_auto_takes_eight_bits_where_the_processor_multiplies_them(
    checkpoint, monkeypatch, tmp_path
):
    for flags, kind in (("fma avx2", "litert"), ("fma avx2 avx_vnni", "litert_int8")):
        monkeypatch.setattr(lite_engine, "PROCESSOR", tmp_path / "cpuinfo")
        lite_engine.PROCESSOR.write_text(f"flags : {flags}\n")
        assert Choice("auto", checkpoint, Options()).kind == kind
        assert Choice("litert", checkpoint, Options()).kind == "litert"


def test_it_tells_classes_apart(written):
    keras, lite = both(written, {"cup": CUP, "mug": [MUG, OTHER]})
    np.testing.assert_allclose(lite.probabilities, keras.probabilities, atol=1e-3)
    assert lite.class_names == keras.class_names


def test_it_is_taken_once_it_is_written(written, monkeypatch):
    assert isinstance(Segmenter(written).fit(CUP)._engine, LiteEngine)
    assert not Segmenter(written).prepare()
    assert isinstance(Segmenter(written, engine="keras").fit(CUP)._engine, KerasEngine)
    scaled = Segmenter(written, test_scales="1,1.5").fit(CUP)
    assert isinstance(scaled._engine, KerasEngine)


def test_another_checkpoint_has_another_file(written, tmp_path):
    other = tmp_path / "other.keras"
    other.write_bytes(written.read_bytes() + b" ")
    assert lite_engine.place(other, "litert") != lite_engine.place(written, "litert")
    assert not lite_engine.place(other, "litert").exists()


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({}, True),
        ({"kshot": "mean"}, True),
        ({"kshot": "finetune+mean"}, False),
        ({"test_scales": "0.75,1"}, False),
        ({"weighted_fusion": True}, False),
        ({"leave_one_out": True}, False),
        ({"refine_steps": 2}, False),
    ],
    ids=str,
)
def test_what_it_does_not_know_is_left_to_the_network(options, known, monkeypatch, tmp_path):
    monkeypatch.setattr(lite_engine.quiet, "NVIDIA", tmp_path / "no driver")
    assert lite_engine.usable(Options(**options)) == known


def test_a_gpu_is_faster(monkeypatch, tmp_path):
    monkeypatch.setattr(lite_engine.quiet, "NVIDIA", tmp_path)
    assert not lite_engine.usable(Options())


def test_asked_for_in_vain_it_says_why(network, checkpoint):
    for segmenter in (
        Segmenter(network, engine="litert"),
        Segmenter(checkpoint, engine="litert", leave_one_out=True),
    ):
        with pytest.raises(InputError, match="options that LiteRT knows"):
            segmenter.fit(CUP)
    with pytest.raises(InputError, match="engine: expected one of .*received 'tpu'"):
        Segmenter(engine="tpu")
    with pytest.raises(FileNotFoundError, match="No checkpoint 'nowhere.keras'"):
        Segmenter("nowhere.keras").fit(CUP)


def test_a_support_that_vanishes_is_an_error(written):
    dot = np.zeros((400, 600), np.uint8)
    dot[1, 1] = 1
    image = photo(1, 400, 600).image
    for name in ("keras", "litert"):
        with pytest.raises(InputError, match="photo 1: .*none of which is left"):
            Segmenter(written, engine=name, small_objects="off").fit(image, dot)


def test_a_small_object_is_cropped_by_both_engines(written):
    dot = np.zeros((400, 600), np.uint8)
    dot[30:38, 100:110] = 1
    image, query = photo(1, 400, 600).image, photo(2).image
    answers = [
        Segmenter(written, engine=name).fit(image, dot).predict(query).probability
        for name in ("keras", "litert")
    ]
    np.testing.assert_allclose(*answers, atol=1e-3)


def test_a_file_that_answers_otherwise_is_not_kept(network, checkpoint, tmp_path, monkeypatch):
    learner = KerasEngine(network, Options()).learner
    monkeypatch.setattr(engine.Predictor, "presence", lambda *_: 0.1234)
    monkeypatch.setattr(lite_writing.files, "write_bytes", lambda *_: pytest.fail("kept"))
    kept = LiteEngine(lite_engine.place(checkpoint, "litert"), Options())
    with pytest.raises(BlockedError, match="expected litert to answer within 0.001"):
        lite_writing.check(kept, learner, "litert")


def test_tensorflow_is_not_loaded(written, tmp_path):
    code = (
        "import sys; from crnet_tf import Segmenter; import numpy as np; "
        "image = np.zeros((40, 50, 3), np.uint8); image[9:30, 9:30] = 200; "
        "mask = image[..., 0] > 0; "
        f"segmenter = Segmenter({str(written)!r}, engine='litert').fit(image, mask); "
        "found = segmenter.predict(image[::-1].copy()); "
        "print(found.mask.shape, {'tensorflow', 'keras'} & {*sys.modules})"
    )
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (asked.stdout, asked.stderr) == ("(40, 50) set()\n", "")


def test_a_forgotten_photo_is_no_longer_held(written):
    predicting = Segmenter(written).fit(CUP)
    predicting.predict(LabelledPhoto(QUERY.image))
    assert not predicting._engine._photos
