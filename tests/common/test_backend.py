"""A sentence where Keras is set up for what cannot be used here."""

import json
import os
import subprocess
import sys

import pytest

from crnet_tf.common import backend


@pytest.fixture
def home(tmp_path):
    return {"KERAS_HOME": str(tmp_path)}


def settings(home, **values):
    with open(os.path.join(home["KERAS_HOME"], "keras.json"), "w") as file:
        json.dump(values, file)
    return home


def test_nothing_is_said_of_tensorflow_in_channels_last(home):
    assert not backend.complaint("predict", home)
    given = settings(home, backend="tensorflow", image_data_format="channels_last")
    assert not backend.complaint("predict", given)
    given = settings(home, backend="torch")
    assert not backend.complaint("predict", given | {"KERAS_BACKEND": "tensorflow"})


@pytest.mark.parametrize("name", ["jax", "torch", "openvino", "theano"])
def test_another_back_end_says_what_to_set(home, name):
    said = backend.complaint("predict", home | {"KERAS_BACKEND": name})
    assert said.startswith("KERAS_BACKEND: expected tensorflow") and repr(name) in said
    assert "Set KERAS_BACKEND=tensorflow" in said
    said = backend.complaint("predict", settings(home, backend=name))
    assert "keras.json, backend" in said and repr(name) in said


def test_jax_is_for_the_commands_that_run_on_it(home, monkeypatch):
    given = home | {"KERAS_BACKEND": "jax"}
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: object())
    assert not backend.complaint("train_jax", given)
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    assert "pip install" in backend.complaint("train_jax", given)


def test_channels_first_names_the_file(home):
    said = backend.complaint("predict", settings(home, image_data_format="channels_first"))
    assert "keras.json: expected image_data_format channels_last" in said


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_damaged_file_of_settings_counts_as_none(home, text):
    with open(os.path.join(home["KERAS_HOME"], "keras.json"), "w") as file:
        file.write(text)
    assert not backend.complaint("predict", home)


def test_a_command_ends_with_the_sentence_and_no_traceback(home):
    answer = subprocess.run(
        [sys.executable, "-m", "crnet_tf.predict", "--support=a.jpg"],
        env=os.environ | home | {"KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 1 and "Traceback" not in answer.stderr
    assert "error: KERAS_BACKEND: expected tensorflow" in answer.stderr
