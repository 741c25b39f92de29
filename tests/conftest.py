"""Tiny data made on the spot, shared by the tests of several modules."""

import fcntl
import os
import pathlib
import types

import pytest
from helpers.voc import write_voc

from pipelines.build_voc import build_voc

SHARED = pathlib.Path(__file__).parents[2] / "shared"
TRAIN_PHOTOS, VAL_PHOTOS = 40, 20  # 4 and 2 records of each of the 20 classes


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory):
    """Files that are kept for later runs are not those of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def voc_dir(tmp_path_factory):
    return write_voc(tmp_path_factory.mktemp("voc") / "VOC2012", TRAIN_PHOTOS, VAL_PHOTOS)


@pytest.fixture(scope="session")
def records_dir(voc_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("records") / "pascal5i"
    build_voc(voc_dir, out)
    return out


@pytest.fixture
def small_voc(tmp_path):
    """Four photos of one's own, to damage."""
    return write_voc(tmp_path / "VOC2012", train=3, val=1)


@pytest.fixture(scope="session")
def shared():
    """../shared of the development machine: real photos and weights, not in the repository."""
    if not SHARED.is_dir():
        pytest.skip("../shared (real photos and weights) is not on this machine")
    return SHARED


@pytest.fixture(scope="module")
def network():
    """A tiny network, calibrated, with prototypes and answers that are not all about a half."""
    from helpers.networks import with_prototypes  # not above: most tests need none of it

    return with_prototypes()


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "best.keras"
    network.save(path)
    return path


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """The tiny `network` as a checkpoint, and version folders of it: few-shot, and taught "cup"
    and "mug", with one refinement step.

    Written once for all processes that share the tests.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root = base / "exports"
    with open(base / "exports.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            export_tiny(base / "exports.partial").rename(root)
    return types.SimpleNamespace(
        checkpoint=root / "best.keras",
        few_shot=root / "crnet" / "1",
        taught=root / "things" / "1",
    )


def export_tiny(root: pathlib.Path) -> pathlib.Path:
    # Not above: most tests need none of it.
    import tensorflow as tf
    from helpers.networks import photo, with_prototypes

    from crnet_tf.options import Options
    from export.graph.settings import Settings
    from export.package import parity, saved_model, teach

    tf.config.run_functions_eagerly(True)  # tracing what is not exported is slow
    root.mkdir()
    checkpoint, settings = root / "best.keras", Settings(max_pixels=2**21)
    with_prototypes().save(checkpoint)
    classes = {"cup": [photo(1), photo(2)], "mug": [photo(3)]}
    with pytest.MonkeyPatch.context() as patch:  # compared where exports are tested
        patch.setattr(parity, "few_shot", lambda *_: {})
        patch.setattr(parity, "taught", lambda *_: {})
        options = Options(kshot="mean", refine_steps=1)
        saved_model.export(checkpoint, root / "crnet", settings=settings, options=options)
        teach.teach(checkpoint, classes, root / "things", options=options, settings=settings)
    tf.config.run_functions_eagerly(False)
    return root
