"""Photos of many bits, bands and pages are as bright as they are, or it is said."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from crnet_tf.common import notices
from crnet_tf.images import deep_photos, label_files, mask_files, photos

RAMP = np.linspace(0, 1, 24 * 32).reshape(24, 32)


@pytest.fixture(autouse=True)
def nothing_said_yet():
    notices.forget()


def png16(path, pixels, colour_type=2):
    """uint16 [H,W,3] -> a PNG of 16 bits a channel, which Pillow reads and does not write."""

    def chunk(kind, data):
        sum_of = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sum_of

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    path.write_bytes(start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_grey_of_fewer_bits_keeps_its_brightness(tmp_path, capsys, bits):
    white = 2**bits - 1
    Image.fromarray((RAMP * white).astype(np.uint16)).save(tmp_path / "a.png")
    photo = photos.read_photo(tmp_path / "a.png").astype(int)
    assert np.abs(photo - 255 * RAMP[..., None]).max() <= 1
    said = capsys.readouterr().out
    assert ("a.png: its values go to" in said and f"of {bits} bits" in said) == (bits < 16)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("channels", [3, 4])
def test_colour_of_fewer_bits_keeps_its_brightness(tmp_path, bits, channels):
    white = 2**bits - 1
    factors = np.array([1, 0.5, 0.25])
    pixels = (RAMP[..., None] * factors * white).astype(np.uint16)
    if channels == 4:
        pixels = np.dstack([pixels, np.full((24, 32), 65535, np.uint16)])
    path = png16(tmp_path / "a.png", pixels, 2 if channels == 3 else 6)
    expected = 255 * RAMP[..., None] * factors
    assert np.abs(photos.read_photo(path) - expected).max() <= 1.5
    content, image_format, _ = photos.photo_content(path)
    assert image_format == "png" and np.abs(content - expected).max() <= 1.5


def test_white_is_where_the_file_says(tmp_path, capsys):
    for tag, white in ((deep_photos._WHITEST, 4095), (deep_photos._WHITE_LEVEL, 3000)):
        pixels = (RAMP * 1000).astype(np.uint16)  # a dark photo
        Image.fromarray(pixels).save(tmp_path / "a.tif", tiffinfo={tag: white})
        photo = photos.read_photo(tmp_path / "a.tif").astype(int)
        assert abs(photo.max() - 255 * 1000 / white) <= 1
    assert not capsys.readouterr().out


@pytest.mark.parametrize("extra, is_alpha", [(None, False), (0, False), (1, True), (2, True)])
def test_a_fourth_band_is_alpha_only_where_the_file_says_so(tmp_path, capsys, extra, is_alpha):
    infrared = np.full((24, 32), 60, np.uint8)
    infrared[:, 16:] = 255
    bands = np.dstack([np.full((24, 32, 3), (40, 90, 30), np.uint8), infrared])
    path = four_bands(tmp_path / "a.tif", bands, extra)
    photo = photos.read_photo(path)
    assert ((photo[0, 0] == (40, 90, 30)).all()) == (not is_alpha)
    assert ("a.tif: the last of 4 bands" in capsys.readouterr().out) == (extra is None)
    mask = 255 * (infrared > 100).astype(np.uint8)
    path = four_bands(tmp_path / "m.tif", np.dstack([mask, mask, mask, 255 - mask]), extra)
    if not is_alpha:
        np.testing.assert_array_equal(mask_files.read_mask(path), mask // 255)


def four_bands(path, bands, extra):
    """An uncompressed TIFF; extra: what it says the fourth band is."""
    height, width = bands.shape[:2]
    tags = [
        (256, [width]), (257, [height]), (258, [8] * 4), (259, [1]), (262, [2]), (273, [0]),
        (277, [4]), (278, [height]), (279, [bands.size]), (284, [1]),
    ] + ([] if extra is None else [(338, [extra])])  # fmt: skip
    bits_at = 8 + 2 + 12 * len(tags) + 4
    values = {258: struct.pack("<I", bits_at), 273: struct.pack("<I", bits_at + 8)}
    entries = b"".join(
        struct.pack("<HHI", tag, 4 if tag in (273, 279) else 3, len(given))
        + values.get(tag, struct.pack("<I", given[0]))
        for tag, given in tags
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    path.write_bytes(head + struct.pack("<4H", 8, 8, 8, 8) + bands.tobytes())
    return path


def test_of_several_pages_the_first_is_used_and_that_is_said(tmp_path, capsys):
    pages = [Image.fromarray(np.full((8, 9), value, np.uint8)) for value in (1, 2, 3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert (photos.read_photo(tmp_path / "a.tif") == 1).all()
    assert "a.tif: of 3 pages the first is used" in capsys.readouterr().out
    notices.forget()
    assert (label_files.read_label(tmp_path / "a.tif") == 1).all()
    assert "a.tif: of 3 pages the first is used" in capsys.readouterr().out
    photos.read_photo(tmp_path / "a.tif")
    assert not capsys.readouterr().out  # said once


@pytest.mark.parametrize("mode", ["LAB", "CMYK", "1"])
def test_photos_of_other_colour_spaces_keep_their_brightness(tmp_path, mode):
    grey = np.repeat((RAMP > 0.5)[..., None], 3, axis=-1).astype(np.uint8) * 255
    image = Image.fromarray(grey)
    if mode == "LAB":
        image = Image.fromarray(np.dstack([grey[..., 0], *[np.zeros((24, 32), np.uint8)] * 2]))
        image = Image.frombytes("LAB", image.size, image.tobytes())
    image.convert(mode).save(tmp_path / "a.tif")
    assert np.abs(photos.read_photo(tmp_path / "a.tif").astype(int) - grey).max() <= 3


@pytest.mark.parametrize("brand, remedy", [(b"heic", "pillow-heif"), (b"mif1", "pillow-heif")])
def test_heic_without_a_decoder_says_what_to_install(tmp_path, brand, remedy):
    """Phones call it .jpg as well."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(40))
    with pytest.raises(ValueError, match=f"a.jpg: expected a photo.*{remedy}") as raised:
        photos.read_photo(path)
    assert "damaged" not in str(raised.value)


def test_avif_is_read(tmp_path):
    Image.fromarray(np.full((8, 9, 3), 90, np.uint8)).save(tmp_path / "a.avif")
    assert photos.read_photo(tmp_path / "a.avif").shape == (8, 9, 3)
