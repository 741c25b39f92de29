"""Each photo is encoded once, within the bound, and what is kept is what was computed."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
from helpers.networks import SIZE, build, eager, lively, photo  # noqa: F401

from crnet_tf.data import frames
from crnet_tf.fewshot.feature_files import FeatureFiles
from crnet_tf.fewshot.features import FeatureCache, PhotoEncoder, base_frame, fingerprint
from crnet_tf.images.labelled import LabelledPhoto


@pytest.fixture(scope="module")
def network():
    return lively()


# === The cache ===


def test_what_is_held_is_computed_once():
    cache, calls = FeatureCache(1000), []

    def compute():
        calls.append(1)
        return np.arange(3.0)

    assert cache.get("a", compute) is cache.get("a", compute)
    assert len(calls) == 1
    cache.get("b", compute)
    assert len(calls) == 2
    cache.clear()
    assert cache.bytes == 0
    cache.get("a", compute)
    assert len(calls) == 3


def test_memory_never_exceeds_the_bound():
    random = np.random.default_rng(0)
    for bound in (0, 100, 1000, 5000.5):
        cache = FeatureCache(bound)
        for _ in range(300):
            key, size = int(random.integers(40)), int(random.integers(0, 900))
            held = cache.get(key, lambda size=size: np.zeros(size, np.uint8))
            assert held.dtype == np.uint8
            assert cache.bytes == sum(a.nbytes for a in cache._arrays.values()) <= bound


def test_the_least_recently_used_goes_first():
    cache = FeatureCache(30)
    for key in "abc":
        cache.get(key, lambda: np.zeros(10, np.uint8))
    cache.get("a", lambda: pytest.fail("a is held"))
    cache.get("d", lambda: np.zeros(10, np.uint8))
    for key in "acd":
        cache.get(key, lambda key=key: pytest.fail(f"{key} is held"))
    calls = []
    cache.get("b", lambda: calls.append(1) or np.zeros(10, np.uint8))
    assert calls


def test_what_is_larger_than_the_bound_drives_nothing_out():
    cache = FeatureCache(10)
    cache.get("small", lambda: np.zeros(10, np.uint8))
    assert cache.get("large", lambda: np.zeros(11, np.uint8)).nbytes == 11
    cache.get("small", lambda: pytest.fail("small is held"))


# === Keys ===


def test_a_photo_is_known_by_its_pixels_and_its_mask():
    one, same = photo(1), dataclasses.replace(photo(1), name="another name")
    assert (one.key, one.masked_key) == (same.key, same.masked_key)
    other_mask = dataclasses.replace(one, mask=np.where(one.mask == 1, 0, one.mask))
    assert other_mask.key == one.key and other_mask.masked_key != one.masked_key
    pixels = one.image.copy()
    pixels[-1, -1, -1] ^= 1
    assert dataclasses.replace(one, image=pixels).key != one.key


def test_a_turned_photo_of_the_same_bytes_is_another_one():
    image = np.zeros((4, 6, 3), np.uint8)
    assert LabelledPhoto(image).key != LabelledPhoto(image.reshape(6, 4, 3)).key


def test_a_view_of_an_array_has_the_key_of_its_copy():
    image = photo(1).image[:, ::-1]
    assert LabelledPhoto(image).key == LabelledPhoto(image.copy()).key


# === The encoder ===


def test_features_are_the_encoders(network):
    frame, one = base_frame(network), photo(1)
    encoder = PhotoEncoder(network, FeatureCache(1e9))
    image, mask = frame.image(one.image)[None], frame.mask(one.mask)[None]
    expected = network.parts.encoder(image)[0]
    np.testing.assert_array_equal(encoder.photo(one, frame), expected)
    painted = network.parts.mask_background(image, mask)
    expected = network.parts.encoder(painted)[0]
    np.testing.assert_array_equal(encoder.masked(one, frame), expected)


def test_several_photos_are_encoded_in_one_batch_as_each_alone(network, encoded):  # noqa: F811
    few, frame = [photo(seed) for seed in (1, 2, 3)], frames.Frame(SIZE)
    together = PhotoEncoder(network, FeatureCache(1e9))
    together.photo(few[0], frame)
    together.photos([*few, few[1]], frame)
    assert [shape[0] for shape in encoded] == [1, 2]  # those that were not there, once
    encoded.clear()
    found = [together.photo(one, frame) for one in few]
    assert not encoded
    for one, features in zip(few, found, strict=True):
        alone = PhotoEncoder(network, FeatureCache(1e9)).photo(one, frame)
        np.testing.assert_allclose(features, alone, atol=1e-4)
        assert features.base is None  # it is let go of alone
    encoded.clear()
    PhotoEncoder(network, FeatureCache(1e9), keep=False).photos(few, frame)
    assert not encoded


def test_a_photo_is_encoded_once_a_frame_and_once_a_mask(network, encoded):
    encoder = PhotoEncoder(network, FeatureCache(1e9))
    one, small, large = photo(1), frames.Frame(33), frames.Frame(41)
    other_mask = dataclasses.replace(one, mask=1 - one.mask)
    for _ in range(3):
        for frame in (small, large, frames.Frame(41, letterbox=True)):
            encoder.photo(one, frame)
            encoder.photo(dataclasses.replace(one, name="again"), frame)
            encoder.photo(other_mask, frame)  # the same photo
            encoder.masked(one, frame)
            encoder.masked(other_mask, frame)
    assert len(encoded) == 3 * (1 + 2)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_features_from_disk_are_equal_to_the_bit(precision, tmp_path):
    network = lively(precision=precision)
    frame, one = base_frame(network), photo(1)
    plain = PhotoEncoder(network, FeatureCache(0))
    kept = FeatureFiles(tmp_path, 1e9)
    first = PhotoEncoder(network, FeatureCache(0), kept)
    written = first.photo(one, frame), first.masked(one, frame)
    second = PhotoEncoder(lively(precision=precision), FeatureCache(0), kept)
    second._photo = second._masked = None  # nothing is encoded again
    read = second.photo(one, frame), second.masked(one, frame)
    expected = plain.photo(one, frame), plain.masked(one, frame)
    dtype = {"mixed_bfloat16": ml_dtypes.bfloat16, "mixed_float16": np.float16}
    for a, b, c in zip(expected, written, read, strict=True):
        assert a.dtype == b.dtype == c.dtype == dtype.get(precision, np.float32)
        assert a.tobytes() == b.tobytes() == c.tobytes() and a.shape == c.shape
    assert len(list(tmp_path.rglob("*.npy"))) == 2


def test_without_keeping_only_the_disk_remembers(network, encoded, tmp_path):
    cache, one, frame = FeatureCache(1e9), photo(1), base_frame(network)
    PhotoEncoder(network, cache, keep=False).photo(one, frame)
    assert cache.bytes == 0
    for _ in range(2):
        PhotoEncoder(network, cache, FeatureFiles(tmp_path, 1e9), keep=False).photo(one, frame)
    assert len(encoded) == 2


@pytest.mark.parametrize("damage", [b"", b"not features", b"\x93NUMPY\x01\x00"])
def test_damaged_features_are_named(network, tmp_path, damage):
    encoder, one = PhotoEncoder(network, FeatureCache(0), FeatureFiles(tmp_path, 1e9)), photo(1)
    encoder.photo(one, base_frame(network))
    (path,) = tmp_path.rglob("*.npy")
    path.write_bytes(damage)
    with pytest.raises(ValueError, match="cannot be read as features.*Remove it") as error:
        encoder.photo(one, base_frame(network))
    assert str(path) in str(error.value)


def test_cut_features_are_named(network, tmp_path):
    encoder, one = PhotoEncoder(network, FeatureCache(0), FeatureFiles(tmp_path, 1e9)), photo(1)
    encoder.photo(one, base_frame(network))
    (path,) = tmp_path.rglob("*.npy")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=f"{path.name} cannot be read as features"):
        encoder.photo(one, base_frame(network))


def test_another_encoder_never_reads_these_features(network):
    prints = {fingerprint(network)}
    for changes in (
        {"precision": "mixed_bfloat16"}, {"multi_level": False},
        {"backbone_preprocessing": "caffe"}, {"seed": 0},
    ):  # fmt: skip
        prints.add(fingerprint(lively(**changes)))
    assert len(prints) == 4  # the last one has the same encoder
    other = lively()
    kernel = other.parts.encoder.weights[0]
    values = kernel.numpy()
    values.flat[0] = np.nextafter(values.flat[0], 1)
    kernel.assign(values)
    assert fingerprint(other) not in prints


def test_the_heads_do_not_change_the_fingerprint(network):
    assert fingerprint(lively(channels=4)) == fingerprint(network)


def test_the_frame_of_a_network_is_its_input_filled_with_its_mean(network):
    frame = base_frame(network)
    assert (frame.size, frame.letterbox) == (SIZE, False)
    other = base_frame(network, size=49, letterbox=True)
    assert (other.size, other.letterbox) == (49, True)
    filled = np.broadcast_to(np.float32(other.fill), (1, 33, 33, 3))
    normalized = network.parts.encoder.get_layer("normalize")(filled)
    np.testing.assert_allclose(normalized, 0, atol=1e-5)


# === Views ===


def test_views_are_drawn_by_their_seed_and_show_the_object(network):
    encoder, frame = PhotoEncoder(network, FeatureCache(0)), base_frame(network)
    first, again, other = (
        encoder.augmented(photo(1), frame, seed) for seed in [(0, 1), (0, 1), (1, 1)]
    )
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(first[0] != other[0])
    for features_, masked, mask in (first, other):
        assert features_.shape == masked.shape == encoder.photo(photo(1), frame).shape
        assert mask.shape == (frame.size, frame.size, 1) and np.any(mask == 1)
        assert np.any(features_ != masked)
