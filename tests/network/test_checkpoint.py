"""What is no checkpoint is said with the remedy; older ones are still read."""

import zipfile

import keras
import pytest

from crnet_tf.common.errors import InputError
from crnet_tf.network.checkpoint import load_checkpoint


def test_a_missing_checkpoint_names_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a .keras file.*crnet train"):
        load_checkpoint(tmp_path / "none.keras")


def test_a_folder_instead_of_a_checkpoint_names_the_file_in_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="That is a folder without one"):
        load_checkpoint(tmp_path)
    for name in ("best.keras", "last.keras"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="That is a folder; give the file .*best.keras"):
        load_checkpoint(tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "bad.keras"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="bad.keras cannot be read as a checkpoint"):
        load_checkpoint(path)


def test_an_archive_cut_in_its_list_is_named(tmp_path, checkpoint):
    content = bytearray(checkpoint.read_bytes())
    content[content.rindex(b"PK\1\2")] = 0
    (tmp_path / "bad.keras").write_bytes(content)
    with pytest.raises(InputError, match="bad.keras: expected a whole ZIP archive"):
        load_checkpoint(tmp_path / "bad.keras")


def test_checkpoints_of_before_the_stride_was_a_choice(network):
    content = network.get_config()
    assert content["config"].pop("backbone_stride") == "1x1"
    assert type(network).from_config(content).config == network.config


def test_another_model_is_refused(tmp_path):
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    other.save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="expected a CRNet, received a Sequential"):
        load_checkpoint(tmp_path / "other.keras")


def test_an_archive_made_to_fill_memory_is_refused_unread(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(20_000_000))
    with pytest.raises(InputError, match="at most 10.0 MB unpacked, received 20.0 MB"):
        load_checkpoint(tmp_path / "bomb.keras")
