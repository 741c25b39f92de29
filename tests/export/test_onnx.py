"""ONNX files answer as the checkpoint does, run by ONNX Runtime."""

import json
import sys

import numpy as np
import pytest
from helpers import commands
from helpers.exports import CUP, QUERIES, STEPS, SUPPORTS, expected, put
from helpers.networks import eager  # noqa: F401

from export import onnx as onnx_command
from export.package import fixed_size_export, onnx
from export.package.fixed_size_export import Photos


def load(folder, graph):
    return onnx.load((folder / f"{graph}-float32.onnx").read_bytes(), threads=1)


def test_every_graph_answers_as_the_checkpoint_does(checkpoint, network, tmp_path):
    photos = Photos(supports=SUPPORTS, queries=QUERIES)
    sizes = fixed_size_export.Sizes(photo_height=40, photo_width=52)
    folder = fixed_size_export.export(
        checkpoint,
        tmp_path / "models",
        [onnx.FORMAT],
        photos=photos,
        sizes=sizes,
        shot=2,
        options=STEPS,
    )
    assert json.loads((folder / "metadata.json").read_text())["formats"] == ["float32"]
    supports = {
        "support_image": np.stack([one.image for one in SUPPORTS[:2]]),
        "support_mask": np.stack([one.mask for one in SUPPORTS[:2]]),
    }
    whole, encode, query = (load(folder, g) for g in ("whole", "encode_support", "query"))
    state = encode(**supports)
    for one in QUERIES:
        probability, score = expected(network, SUPPORTS[:2], one)
        image = one.image[None]
        for answer in (whole(query_image=image, **supports), query(query_image=image, **state)):
            np.testing.assert_allclose(answer["probability"][0], probability, atol=1e-5)
            np.testing.assert_allclose(answer["presence"][0], score, atol=1e-5)
            np.testing.assert_array_equal(answer["mask"], answer["probability"] > 0.5)
    with pytest.raises(Exception, match="query_image"):
        query(query_image=np.zeros((1, 41, 52, 3), np.uint8), **state)


@pytest.mark.slow
def test_a_taught_class_by_the_command(checkpoint, network, tmp_path, capsys):
    put(tmp_path / "cup", CUP)
    commands.run(
        onnx_command,
        f"--checkpoint={checkpoint}",
        f"--out={tmp_path / 'models'}",
        f"--support_dir={tmp_path / 'cup'}",
        "--photo_height=40",
        "--photo_width=52",
        "--refine_steps=1",
    )
    assert "taught-float32.onnx" in capsys.readouterr().out
    answer = load(tmp_path / "models" / "1", "taught")(image=QUERIES[0].image[None])
    probability, score = expected(network, CUP, QUERIES[0])
    np.testing.assert_allclose(answer["probability"][0, ..., 0], probability, atol=1e-5)
    np.testing.assert_allclose(answer["presence"], [[score]], atol=1e-5)


@pytest.mark.parametrize("name", ["tf2onnx", "onnxruntime"])
def test_a_missing_package_is_named(checkpoint, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeError, match=rf"package {name}.*pip install 'crnet-tf\[onnx\]'"):
        commands.run(onnx_command, f"--checkpoint={checkpoint}", f"--out={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()
