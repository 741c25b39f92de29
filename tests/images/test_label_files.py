"""Label maps as files: indices, bits, orientation; what is no label map says why."""

import struct
import zlib

import numpy as np
import pytest
from helpers.images import gradient
from PIL import Image

from crnet_tf.images import label_files, png_files


def test_a_png_whose_checksums_are_wrong_is_damaged(save):
    ids = np.random.default_rng(0).integers(0, 20, (64, 64)).astype(np.uint8)
    path = save(Image.fromarray(ids), "a.png")
    content = bytearray(path.read_bytes())
    data = content.index(b"IDAT") + 4
    for place in np.random.default_rng(0).integers(data, len(content) - 16, 40):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(ValueError, match="a.png: expected a label map.*damaged"):
            label_files.read_label(path)


def test_label_is_read_as_indices_whatever_the_palette(save):
    ids = np.array([[0, 1, 20], [7, 255, 15]], np.uint8)
    for number, palette in enumerate((png_files.voc_palette(), bytes(768))):
        image = Image.fromarray(ids)
        image.putpalette(palette)
        np.testing.assert_array_equal(label_files.read_label(save(image, f"{number}.png")), ids)
    np.testing.assert_array_equal(
        label_files.read_label(save(Image.fromarray(ids), "l.png")), ids
    )


def test_a_label_map_is_turned_as_its_photo_is(save):
    exif = Image.Exif()
    exif[0x0112] = 6
    ids = np.array([[0, 1, 20], [7, 255, 15]], np.uint8)
    read = label_files.read_label(save(Image.fromarray(ids), "a.png", exif=exif))
    np.testing.assert_array_equal(read, np.rot90(ids, -1))


def test_1_bit_label_is_0_and_1(save):
    mask = np.array([[True, False]])
    np.testing.assert_array_equal(
        label_files.read_label(save(Image.fromarray(mask), "a.png")), [[1, 0]]
    )


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_labels_of_few_bits_are_their_values(tmp_path, bits):
    ids = np.arange(16, dtype=np.uint8).reshape(2, 8) % 2**bits
    rows = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:]) for row in ids]
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 2, bits, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(label_files.read_label(tmp_path / "a.png"), ids)


def chunk(kind, data):
    """Of a PNG."""
    size, checksum = struct.pack(">I", len(data)), struct.pack(">I", zlib.crc32(kind + data))
    return size + kind + data + checksum


@pytest.mark.parametrize(
    "label",
    [
        gradient()[..., 0],
        np.repeat([[0, 255, 0, 7]], 40, axis=1).astype(np.uint8),
        np.asfortranarray(gradient()[..., 1])[::2, ::3],
        np.full((3, 5), 9, np.uint8),
        np.zeros((0, 4), np.uint8),
    ],
    ids=["gradient", "runs", "strided", "one", "empty"],
)
def test_values_are_counted(label):
    expected = np.bincount(label.ravel(), minlength=256)
    np.testing.assert_array_equal(label_files.value_counts(label), expected)


def test_rgb_label_says_how_to_convert(save):
    path = save(Image.fromarray(gradient()), "a.png")
    with pytest.raises(
        ValueError, match="expected a label map.*received mode RGB.*palette PNG"
    ):
        label_files.read_label(path)


def test_16_bit_label_says_how_to_convert(save):
    path = save(Image.fromarray(np.ones((4, 4), np.uint16)), "a.png")
    with pytest.raises(ValueError, match="received mode I;16.*8-bit single-channel PNG"):
        label_files.read_label(path)


def test_jpeg_label_is_refused(save):
    path = save(Image.fromarray(np.ones((8, 8), np.uint8)), "a.jpg")
    with pytest.raises(ValueError, match="expected .*lossless.*received JPEG.*as PNG"):
        label_files.read_label(path)
