"""Photos and masks as attackers and accidents make them."""

import io
import struct
import zlib

import numpy as np
from hypothesis import strategies as st
from PIL import Image

SIZE = (37, 29)  # width, height
BOMB = 2**23  # bytes of zeros in a file of a few KB
PNG_START = b"\x89PNG\r\n\x1a\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>'
HUGE = (0, 1, 2**15, 65500, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def well_formed() -> dict[str, bytes]:
    """Files of many kinds; few of them are photos to us."""
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3)).astype(np.uint8)
    photo = Image.fromarray(pixels)
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6  # Orientation
    garbage = b"Exif\0\0garbage"
    return {
        "rgb.png": saved(photo, "PNG"),
        "grey.png": saved(photo.convert("L"), "PNG"),
        "mask.png": saved(photo.convert("1").convert("L"), "PNG"),
        "bits.png": saved(photo.convert("1"), "PNG"),
        "alpha.png": saved(photo.convert("RGBA"), "PNG"),
        "grey_alpha.png": saved(photo.convert("LA"), "PNG"),
        "palette.png": saved(photo.quantize(7), "PNG"),
        "clear_palette.png": saved(photo.quantize(7), "PNG", transparency=0),
        "16_bit.png": saved(deep, "PNG"),
        "garbage_exif.png": saved(photo, "PNG", exif=garbage),
        "interlaced.png": interlaced(pixels),
        "animated.png": saved(photo, "PNG", save_all=True, append_images=[photo] * 3),
        "text_bomb.png": with_chunk(saved(photo, "PNG"), b"zTXt", b"a\0\0" + zipped(BOMB)),
        "profile_bomb.png": with_chunk(saved(photo, "PNG"), b"iCCP", b"a\0\0" + zipped(BOMB)),
        "pixel_bomb.png": png(8, 8, zipped(BOMB)),
        "baseline.jpg": saved(photo, "JPEG"),
        "progressive.jpg": saved(photo, "JPEG", progressive=True),
        "grey.jpg": saved(photo.convert("L"), "JPEG"),
        "cmyk.jpg": saved(photo.convert("CMYK"), "JPEG"),
        "turned.jpg": saved(photo, "JPEG", exif=turned),
        "scans.jpg": many_scans(saved(photo, "JPEG", progressive=True), 500),
        "animated.gif": saved(photo, "GIF", save_all=True, append_images=[photo] * 3),
        "photo.bmp": saved(photo, "BMP"),
        "photo.webp": saved(photo, "WEBP"),
        "animated.webp": saved(photo, "WEBP", save_all=True, append_images=[photo] * 3),
        "garbage_exif.webp": saved(photo, "WEBP", exif=garbage),
        "photo.tiff": saved(photo, "TIFF"),
        "photo.svg": SVG,
        "empty": b"",
    }


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def zipped(count):
    """Deflated zeros: a thousandth of their size."""
    return zlib.compress(bytes(count), 9)


def chunk(kind, content):
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def png(width, height, data, depth=8, colours=0, interlace=0):
    head = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, interlace)
    return PNG_START + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def interlaced(pixels):
    """Adam7, which Pillow reads and does not write."""
    rows = []
    for top, left, down, right in (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):  # fmt: skip
        rows += [b"\0" + row.tobytes() for row in pixels[top::down, left::right]]
    height, width = pixels.shape[:2]
    return png(width, height, zlib.compress(b"".join(rows)), colours=2, interlace=1)


def with_chunk(content, kind, data):
    """A PNG with one chunk more after its header."""
    return content[:33] + chunk(kind, data) + content[33:]


def many_scans(content, count):
    """A progressive JPEG with its last scan again and again."""
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * count + content[-2:]


# === Faults, as hypothesis strategies: each draws what it does to a file ===


@st.composite
def damaged(draw, contents):
    """One of the files with one or several faults."""
    content = draw(st.sampled_from(list(contents)))
    for fault in draw(st.lists(st.sampled_from(FAULTS), min_size=1, max_size=3)):
        content = fault(draw, content)
    return content


def _part(draw, content):
    start = draw(st.integers(0, len(content)))
    return start, start + draw(st.integers(0, 64))


def _cut(draw, content):
    return content[: draw(st.integers(0, len(content)))]


def _flip(draw, content):
    flipped = bytearray(content)
    for _ in range(draw(st.integers(1, 10)) if content else 0):
        flipped[draw(st.integers(0, len(content) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(flipped)


def _drop(draw, content):
    start, end = _part(draw, content)
    return content[:start] + content[end:]


def _repeat(draw, content):
    start, end = _part(draw, content)
    return content[:end] + content[start:]


def _blank(draw, content):
    start, end = _part(draw, content)
    return (
        content[:start]
        + draw(st.sampled_from([b"\0", b"\xff"])) * len(content[start:end])
        + content[end:]
    )


def _append(draw, content):
    return content + draw(st.binary(min_size=1, max_size=200))


def _resize(draw, content):
    """Another size in the header, with the checksum that belongs to it."""
    width, height = draw(st.sampled_from(HUGE)), draw(st.sampled_from(HUGE))
    if content.startswith(PNG_START) and len(content) >= 33:
        head = content[12:16] + struct.pack(">II", width, height) + content[24:29]
        if draw(st.booleans()):  # depth, colour type and interlacing, too
            head = head[:12] + bytes(draw(st.lists(st.integers(0, 8), min_size=5, max_size=5)))
        content = content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        place = content.find(marker) + 5
        if content.startswith(b"\xff\xd8") and 5 <= place < len(content) - 4:
            size = struct.pack(">HH", height % 2**16, width % 2**16)
            content = content[:place] + size + content[place + 4 :]
    return content


FAULTS = (_cut, _flip, _flip, _drop, _repeat, _blank, _append, _resize, _resize)
