"""The benchmark of other segmenters: its ratios, and what it does to load their checkouts."""

import sys

import numpy as np
import pytest
from helpers import networks
from helpers.networks import eager  # noqa: F401

from benchmarks import peers, torch_peers
from crnet_tf.fewshot.engine import KerasEngine
from crnet_tf.options import Options


def test_the_table_gives_the_work_beside_the_first_of_the_others():
    found = {"hsnet": np.array([2.0, 4.0]), "ours": np.array([1.0, 1.0])}
    *_, first, second = peers.table(found, "hsnet").splitlines()
    assert first == "| hsnet | 2.000 | 4.000 | 1.00 |"
    assert second == "| ours | 1.000 | 1.000 | 0.25 |"


def test_a_full_request_encodes_the_support_again_and_a_state_spares_it(eager):  # noqa: F811
    engine, encoded = KerasEngine(networks.build(), Options(kshot="mean")), []
    compute = engine.learner.encoder.photo
    engine.learner.encoder.photo = lambda photo, frame: (
        encoded.append(photo.mask is not None) or compute(photo, frame)
    )
    full, known = peers.requests("ours", engine, 40).values()
    for ask, of_supports in ((full, True), (known, False)):
        encoded.clear()
        ask()
        assert any(encoded) == of_supports and not all(encoded)


def test_checkouts_whose_modules_are_named_alike_do_not_meet(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "it.py").write_text(f"WHOSE = {name!r}")
        with torch_peers.modules_of(tmp_path / name):
            from model import it  # of a checkout

            assert it.WHOSE == name
    assert not {name for name in sys.modules if name.split(".")[0] == "model"}
    assert str(tmp_path / "one") not in sys.path
    with pytest.raises(FileNotFoundError, match="Give the path of a checkout"):
        with torch_peers.modules_of(tmp_path / "nowhere"):
            pass
