"""Files and arrays -> framed photos, and answers back: in graph code as in Python."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from helpers.networks import photo
from PIL import Image

from crnet_tf.data import frames
from crnet_tf.fewshot import answers
from crnet_tf.images import mask_files
from crnet_tf.images.png_files import encode_label, encode_png
from export.graph import decode, encode, framing

SIZE = 33
Invalid = tf.errors.InvalidArgumentError


def in_graph(function):
    return tf.function(function, autograph=False)


decoded = in_graph(lambda content: decode.photo(content, 5000))
decoded_mask = in_graph(lambda content: decode.mask(content, 5000))


def jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def png_that_promises(width, height):
    content = bytearray(encode_png(photo(0).image))
    content[16:24] = struct.pack(">II", width, height)
    return bytes(content)


def jpeg_that_promises(width, height):
    content = bytearray(jpeg(photo(0).image))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


# === Decoding ===


def test_a_file_gives_the_pixels_that_pillow_reads():
    pixels = photo(1).image
    np.testing.assert_array_equal(decoded(encode_png(pixels)), pixels)
    grey = encode_png(pixels[..., 0])
    np.testing.assert_array_equal(decoded(grey), np.repeat(pixels[..., :1], 3, -1))
    content = jpeg(pixels)
    wanted = np.asarray(Image.open(io.BytesIO(content)), int)
    assert np.abs(decoded(content).numpy() - wanted).max() <= 2


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"GIF89a" + 40 * b"x", decode.PNG, encode_png(photo(0).image)[:200],
     b"\xff\xd8\xff\xe0", jpeg(photo(0).image)[:300]],
    ids=["empty", "a byte", "gif", "png start", "half a png", "jpeg start", "half a jpeg"],
)  # fmt: skip
def test_what_cannot_be_decoded_is_an_invalid_argument(content):
    with pytest.raises(Invalid):
        decoded(content)


@pytest.mark.parametrize(
    "bomb",
    [png_that_promises(60000, 60000), png_that_promises(2**31, 1), png_that_promises(0, 9),
     png_that_promises(2**31 - 1, 2**31 - 1), jpeg_that_promises(65000, 65000)],
    ids=["png", "negative", "empty", "overflowing", "jpeg"],
)  # fmt: skip
def test_a_gigantic_size_in_the_header_is_refused_before_decoding(bomb):
    with pytest.raises(Invalid, match="expected at most 5000 pixels"):
        decoded(bomb)


def test_the_largest_photo_is_let_through():
    assert decoded(encode_png(np.zeros((50, 100, 3), np.uint8))).shape == (50, 100, 3)
    with pytest.raises(Invalid, match="at most 5000"):
        decoded(encode_png(np.zeros((50, 101, 3), np.uint8)))


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 1, 255), (0,), (1,), (255,)])
def test_masks_mean_what_they_mean_to_predict(values, tmp_path):
    mask = np.random.default_rng(0).choice(np.uint8(values), (20, 30))
    for number, pixels in enumerate((mask, np.repeat(mask[..., None], 3, -1))):
        (tmp_path / f"{number}.png").write_bytes(encode_png(pixels))
        wanted = mask_files.read_mask(tmp_path / f"{number}.png")
        np.testing.assert_array_equal(decoded_mask(encode_png(pixels))[..., 0], wanted)


@pytest.mark.parametrize(
    "content, message",
    [(jpeg(photo(0).image), "PNG"), (encode_label(photo(0).mask, bytes(range(6))), "palette"),
     (png_that_promises(60000, 60000), "at most 5000")],
)  # fmt: skip
def test_what_is_no_mask_is_refused(content, message):
    with pytest.raises(Invalid, match=message):
        decoded_mask(content)


def test_an_alpha_channel_of_a_mask_is_dropped_only_where_it_hides_nothing():
    """White paint on a transparent layer is white under the transparency, too."""
    mask = np.uint8(255) * (photo(0).mask == 1)
    white, files = np.full_like(mask, 255), []
    for bands in ((mask, white), (white, mask)):  # grey, alpha
        files.append(io.BytesIO())
        Image.merge("LA", list(map(Image.fromarray, bands))).save(files[-1], "PNG")
    opaque, clear = (file.getvalue() for file in files)
    np.testing.assert_array_equal(decoded_mask(opaque)[..., 0] == 1, mask == 255)
    with pytest.raises(Invalid, match="received transparency"):
        decoded_mask(clear)


# === Framing ===


def test_photos_are_framed_as_in_evaluation():
    supports, frame = [photo(seed) for seed in (1, 2)], frames.Frame(SIZE)
    images, masks = in_graph(lambda i, m: framing.supports(i, m, SIZE))(
        np.stack([one.image for one in supports]), np.stack([one.mask for one in supports])
    )
    for k, one in enumerate(supports):
        np.testing.assert_array_equal(images[k], frame.image(one.image))
        np.testing.assert_array_equal(masks[k], frame.mask(one.mask))


def test_files_of_different_sizes_are_framed_as_arrays_are():
    supports, frame = [photo(1), photo(2, 61, 35)], frames.Frame(SIZE)
    files = [encode_png(one.image) for one in supports]
    masks = [encode_png(one.mask) for one in supports]
    framed, labels = in_graph(lambda i, m: framing.encoded_supports(i, m, SIZE, 5000))(
        tf.constant(files), tf.constant(masks)
    )
    both, sizes = in_graph(lambda i: framing.encoded_photos(i, (SIZE, 41), 5000))(
        tf.constant(files)
    )
    assert both[1].shape == (2, 41, 41, 3) and sizes.numpy().tolist() == [[40, 52], [61, 35]]
    for k, one in enumerate(supports):
        np.testing.assert_array_equal(framed[k], frame.image(one.image))
        np.testing.assert_array_equal(both[0][k], frame.image(one.image))
        np.testing.assert_array_equal(labels[k], frame.mask(one.mask))


def wrong_supports():
    image, mask = photo(1).image[None], photo(1).mask[None]
    speck = np.zeros((1, 400, 400), np.uint8)
    speck[0, 7, 7] = 1
    return {
        "at least one": (image[:0], mask[:0]),
        "number, height and width": (image, mask[:, 1:]),
        "mask values": (image, mask + 3),
        "expected foreground": (image, mask * 0),
        "input size of the network": (np.zeros((1, 400, 400, 3), np.uint8), speck),
    }


@pytest.mark.parametrize("message", wrong_supports())
def test_supports_that_cannot_serve_are_refused(message):
    with pytest.raises(Invalid, match=message):
        in_graph(lambda i, m: framing.supports(i, m, SIZE))(*wrong_supports()[message])


def test_as_many_masks_as_photos_are_expected():
    files = tf.constant([encode_png(photo(1).image)] * 2)
    masks = tf.constant([encode_png(photo(1).mask)])
    framed = tf.function(
        lambda i, m: framing.encoded_supports(i, m, SIZE, 5000),
        input_signature=[tf.TensorSpec([None], tf.string)] * 2,
    )
    for pair, message in (((files, masks), "one mask a photo"), ((files[:0],) * 2, "at least")):
        with pytest.raises(Invalid, match=message):
            framed(*pair)


# === Answers ===


def probabilities(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def test_files_of_answers_have_the_size_of_each_photo():
    maps, sizes = [probabilities(2, 33, 33, 2)], tf.constant([[20, 50], [70, 10]])
    masks, files = in_graph(lambda *m: encode.png_files(m, sizes, 0.5, 7))(*maps)
    for b, (height, width) in enumerate(sizes.numpy()):
        whole = answers.restored([maps[0][b : b + 1]], (height, width))
        mask = tf.io.decode_png(masks[b]).numpy()[..., 0]
        np.testing.assert_array_equal(mask, 7 * answers.decided(whole, 0.5)[0])
        for n in range(2):
            levels = tf.io.decode_png(files[b, n]).numpy()[..., 0]
            np.testing.assert_allclose(levels / 255, whole[0, ..., n], atol=0.51 / 255)
        for file in (masks[b], *files[b]):
            stream = file.numpy().partition(b"IDAT")[2]
            assert stream[1] >> 6 == 0  # FLEVEL: the fastest


def test_each_class_is_enlarged_by_itself_and_the_best_one_is_the_answer(monkeypatch):
    numbers, restored = [], encode.restored

    def watched(maps, size, **options):
        numbers.append(maps[0].shape[-1])
        return restored(maps, size, **options)

    monkeypatch.setattr(encode, "restored", watched)
    maps = [probabilities(1, 33, 33, 3), probabilities(1, 41, 41, 3, seed=1)]
    for one in maps:
        one[..., 2] = one[..., 1]  # the first of two that are equal is the answer
    encoded = in_graph(lambda *m: encode.png_files(m, tf.constant([[50, 20]]), 0.5, 1))
    masks, _ = encoded(*maps)
    assert set(numbers) == {1}
    mask = tf.io.decode_png(masks[0]).numpy()[..., 0]
    # One class at a time: together, equal ones may differ in their last bit.
    alone = [restored([one[..., n, None] for one in maps], (50, 20)) for n in range(3)]
    wanted = answers.decided(tf.concat(alone, axis=-1), 0.5)[0]
    np.testing.assert_array_equal(mask, wanted)
    assert set(np.unique(mask)) == {0, 1, 2}
