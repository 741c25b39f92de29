import os
import struct

import numpy as np
import pytest
from helpers.images import gradient
from PIL import Image, ImageOps

from crnet_tf.data import records
from crnet_tf.images import label_files, photos


def test_rgb_png_is_read_as_it_is(save):
    np.testing.assert_array_equal(
        photos.read_photo(save(Image.fromarray(gradient()), "a.png")), gradient()
    )


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "LA", "1"])
def test_other_modes_become_rgb(save, mode):
    image = Image.fromarray(gradient()).convert(mode)
    photo = photos.read_photo(save(image, "a.tif" if mode == "CMYK" else "a.png"))
    assert photo.dtype == np.uint8 and photo.shape == (24, 32, 3)
    expected = np.array(image.convert("RGB"), int)
    assert np.abs(photo - expected).max() <= 2


def test_16_bit_grey_keeps_its_brightness(save):
    grey = np.array([[0, 257 * 100, 65535]], np.uint16)
    photo = photos.read_photo(save(Image.fromarray(grey), "a.png"))
    np.testing.assert_array_equal(photo[0, :, 0], [0, 100, 255])


def test_transparent_parts_are_white(save):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255
    photo = photos.read_photo(save(Image.fromarray(pixels), "a.png"))
    assert (photo[:2] == 0).all() and (photo[2:] == 255).all()


def test_exif_rotation_is_applied(save):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held 90 degrees
    path = save(Image.fromarray(gradient()), "a.jpg", exif=exif, quality=100, subsampling=0)
    photo = photos.read_photo(path)
    assert photo.shape == (32, 24, 3)
    assert np.abs(photo - np.rot90(gradient(), -1).astype(int)).mean() < 3
    data, image_format, size = photos.photo_bytes(path)
    assert (image_format, size) == ("png", (32, 24))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_exif_rotations_are_those_of_pillow(save, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.fromarray(gradient()), "a.png", exif=exif)
    expected = np.array(ImageOps.exif_transpose(Image.open(path)))
    np.testing.assert_array_equal(photos.read_photo(path), expected)


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0"])
def test_a_photo_with_unreadable_exif_data_counts_as_upright(save, name, exif):
    path = save(Image.fromarray(gradient()), name, exif=exif, lossless=True)
    np.testing.assert_array_equal(photos.read_photo(path), gradient())
    assert photos.photo_bytes(path)[1:] == ("png", (24, 32))
    grey = save(Image.fromarray(gradient()[..., 0]), f"grey_{name}", exif=exif)
    assert photos.read_photo(grey).shape == (24, 32, 3)


def test_exif_data_that_cannot_be_written_again_still_turn_the_photo(save):
    """Pillow reads them, and fails to write them: XResolution as text."""
    tags = struct.pack("<HHLL HHLL", 0x0112, 3, 1, 6, 0x011A, 2, 1, 0x20202020)
    exif = b"Exif\0\0II*\0" + struct.pack("<LH", 8, 2) + tags + bytes(4)
    path = save(Image.fromarray(gradient()), "a.png", exif=exif)
    assert photos.read_photo(path).shape == (32, 24, 3)


def test_the_size_in_the_header(save):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(Image.fromarray(gradient()), "a.jpg", exif=exif)
    path.write_bytes(path.read_bytes()[:-20])  # truncated: its pixels are not read
    assert photos.header_size(path) == (24, 32)
    path.write_bytes(b"none")
    with pytest.raises(ValueError, match="a.jpg: expected a photo.*received 4 bytes"):
        photos.header_size(path)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_jpeg_is_kept_byte_for_byte(save, mode):
    path = save(Image.fromarray(gradient()).convert(mode), "a.jpg")
    assert photos.photo_bytes(path) == (path.read_bytes(), "jpeg", (24, 32))


def test_a_jpeg_with_others_behind_it_is_kept_and_decoded_as_one(save):
    """Phones write such; as PNG they are several times as large."""
    small = Image.fromarray(gradient()[::2, ::2])
    options = {"format": "MPO", "save_all": True, "append_images": [small]}
    path = save(Image.fromarray(gradient()), "a.jpg", **options)
    with Image.open(path) as image:
        assert image.format == "MPO"
    assert photos.photo_bytes(path) == (path.read_bytes(), "jpeg", (24, 32))
    pixels = records.decoded(path.read_bytes()).numpy()
    np.testing.assert_array_equal(pixels, photos.read_photo(path))


def test_cmyk_jpeg_is_stored_as_rgb_png(save):
    path = save(Image.fromarray(gradient()).convert("CMYK"), "a.jpg")
    data, image_format, _ = photos.photo_bytes(path)
    assert image_format == "png" and data.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.98])
def test_truncated_photo_names_file_and_remedy(save, name, share):
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    path = save(Image.fromarray(noise), name)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(
        ValueError, match=rf"{name}: expected a photo.*received \d+ bytes.*copy"
    ):
        photos.read_photo(path)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_jpeg_that_ends_in_zeros_is_damaged(save, options, share):
    smooth = np.repeat(np.repeat(gradient(40, 60), 8, axis=0), 8, axis=1)
    path = save(Image.fromarray(smooth), "a.jpg", quality=95, **options)
    content = path.read_bytes()
    photos.read_photo(path)
    kept = int(share * len(content))
    path.write_bytes(content[:kept] + bytes(len(content) - kept))  # an interrupted copy
    for read in (photos.read_photo, photos.photo_content):
        with pytest.raises(ValueError, match=r"a.jpg: expected a photo.*copy or export"):
            read(path)


def test_a_jpeg_may_have_anything_behind_its_end(save):
    path = save(Image.fromarray(gradient()), "a.jpg")
    for rest in (b"\xff\xda\x00\x08 a video", bytes(100)):
        content = path.read_bytes() + rest
        path.write_bytes(content)
        assert photos.photo_bytes(path)[0] == content


def test_text_is_no_photo(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_text("<html>not found</html>")
    message = r"received 22 bytes that cannot be decoded \(no format that Pillow knows\)"
    with pytest.raises(ValueError, match=f"expected a photo .* {message}.* copy or"):
        photos.read_photo(path)


def test_a_photo_can_be_too_large(save, monkeypatch):
    path = save(Image.fromarray(gradient()), "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    with pytest.raises(ValueError, match="a.png: expected .* no more than 600 pixels.*Shrink"):
        photos.read_photo(path)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(FileNotFoundError, match="received a pipe, a device or a link"):
        photos.read_photo(tmp_path / "pipe.jpg")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="expected a photo.*no such file.*Check the path"
    ):
        photos.read_photo(tmp_path / "none.jpg")
    with pytest.raises(FileNotFoundError, match="expected a label map.*a folder"):
        label_files.read_label(tmp_path)


def test_floating_point_and_32_bit_photos_are_refused(save):
    path = save(Image.fromarray(np.ones((4, 4), np.float32)), "a.tif")
    with pytest.raises(ValueError, match="expected a photo of 8 or 16 bits.*mode F.*Convert"):
        photos.read_photo(path)
    path = save(Image.fromarray(np.full((4, 4), 70000, np.int32)), "b.tif")
    with pytest.raises(ValueError, match="received 32-bit pixels from 70000.*Convert"):
        photos.read_photo(path)
