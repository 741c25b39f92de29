"""Notes on TensorFlow's start are kept back, everything else comes through."""

import os
import subprocess
import sys

import pytest

from crnet_tf.common import quiet

NOTES = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1796029377.713483 22710 cudart_stub.cc:31] Could not find cuda drivers",
    "2026-11-30 09:00:00.1: I tensorflow/core/platform/cpu_feature_guard.cc:227] This Tensor",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow",
    "E0000 00:00:1.2 27 cuda_dnn.cc:8310] Unable to register cuDNN factory: Attempting to",
]
CUDA = "E0000 00:00:1796029393.608417 22715 cuda_platform.cc:52] failed call to cuInit"


@pytest.mark.parametrize("line", NOTES)
def test_notes_are_known(line):
    assert quiet.is_start_up(line)


@pytest.mark.parametrize("line", ["W0000 a warning", "Traceback (most recent call last):", ""])
def test_all_else_is_none(line):
    assert not quiet.is_start_up(line)


def test_a_driver_that_fails_is_told_of_where_there_is_one(monkeypatch, tmp_path):
    monkeypatch.setattr(quiet, "NVIDIA", tmp_path / "nothing")
    assert quiet.is_start_up(CUDA)
    monkeypatch.setattr(quiet, "NVIDIA", tmp_path)
    assert not quiet.is_start_up(CUDA)


def test_what_is_written_below_python_is_kept_back_too(capfd):
    with quiet.start_up_lines_hidden():
        os.write(2, f"{NOTES[0]}\nW0000 a warning\n".encode())
    os.write(2, f"{NOTES[1]}\n".encode())  # later it is left alone
    assert capfd.readouterr().err == f"W0000 a warning\n{NOTES[1]}\n"


def test_an_error_within_is_told_after_what_was_written(capfd):
    with pytest.raises(ImportError), quiet.start_up_lines_hidden():
        os.write(2, b"cannot open libsomething.so\n")
        raise ImportError
    assert capfd.readouterr().err == "cannot open libsomething.so\n"


def test_tensorflow_starts_in_silence_and_computes():
    """It would write five lines, or more on other machines."""
    code = (
        "import tensorflow as tf; print(int(tf.constant(2) + 1)); raise SystemExit('the end')"
    )
    code = f"from crnet_tf.common import quiet; quiet.hide_start_up_lines(); {code}"
    environment = {k: v for k, v in os.environ.items() if k not in quiet.LEVELS}
    asked = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert asked.stdout == "3\n"
    assert asked.stderr == "the end\n"
