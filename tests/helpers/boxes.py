"""Photos of coloured boxes as files, and `crnet_tf.predict` run on them."""

import numpy as np
import pytest
from PIL import Image

from crnet_tf import predict
from crnet_tf.images import png_files
from helpers.commands import run

RED, BLUE, GREEN = (220, 30, 30), (30, 30, 220), (30, 160, 30)


def photo(colour, height=40, width=60):
    """A coloured box on green, and its mask."""
    image = np.full((height, width, 3), GREEN, np.uint8)
    mask = np.zeros((height, width), np.uint8)
    box = slice(height // 4, 3 * height // 4), slice(width // 4, 3 * width // 4)
    image[box], mask[box] = colour, 1
    return image, mask


@pytest.fixture
def folder(tmp_path):
    """Photos of one and the same stem, something that is no photo, and two supports."""
    queries = tmp_path / "queries"
    queries.mkdir()
    Image.fromarray(photo(RED, 50, 80)[0]).save(queries / "a.jpg", quality=95)
    png_files.write_png(queries / "a.png", photo(BLUE, 30, 20)[0])
    png_files.write_png(queries / "b.png", photo(RED, 70, 45)[0])
    (queries / "notes.txt").write_text("no photo")
    for name, (image, mask) in {"red": photo(RED), "blue": photo(BLUE, 50, 30)}.items():
        png_files.write_png(tmp_path / f"{name}.png", image)
        png_files.write_png(tmp_path / f"{name}_mask.png", 255 * mask)
    return tmp_path


def command(folder, *arguments, supports=("red",), out="out", query="queries"):
    """The command on the photos of `folder`; later flags win."""
    images = ",".join(f"{folder}/{name}.png" for name in supports)
    masks = ",".join(f"{folder}/{name}_mask.png" for name in supports)
    run(
        predict, "--checkpoint=any.keras", "--engine=keras",
        f"--support={images}", f"--support_mask={masks}",
        f"--query={folder / query}", f"--out={folder / out}", *arguments,
    )  # fmt: skip
