"""Small films, as cameras and programs write them."""

import pathlib
from collections.abc import Sequence

import numpy as np

FRAMES = 10


def pictures(count: int = FRAMES, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """uint8 [H,W,3], each of another grey, white at the left of the top."""
    shown = [np.full((*size, 3), 20 * n, np.uint8) for n in range(count)]
    for one in shown:
        one[: size[0] // 2, : size[1] // 2] = 255
    return shown


def write_film(
    path: pathlib.Path,
    shown: Sequence[np.ndarray],
    rate: int = 2,
    codec: str = "libx264",
    turned: int = 0,
    **options: str,
) -> pathlib.Path:
    """A film of these pictures, which players turn by so many degrees against the clock."""
    import av

    with av.open(str(path), "w", options=options) as film:
        stream = film.add_stream(codec, rate=rate)
        stream.pix_fmt = "yuv420p"
        if turned:
            stream.set_display_rotation(turned)
        stream.height, stream.width = shown[0].shape[:2]
        for picture in shown:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        film.mux(stream.encode())
    return path


def write_sound(path: pathlib.Path) -> pathlib.Path:
    """A film of silence without pictures."""
    import av

    with av.open(str(path), "w") as film:
        stream = film.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        film.mux(stream.encode(frame))
        film.mux(stream.encode())
    return path
