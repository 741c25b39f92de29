"""Films: frames read one at a time, and pictures written as a film. By PyAV, with FFmpeg."""

import contextlib
import fractions
import math
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from crnet_tf.common import files
from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.common.notices import say_once
from crnet_tf.images.labelled import LabelledPhoto, Moment
from crnet_tf.images.opening import FILM_SUFFIXES, PathLike

_PER_SECOND = 60_000  # of the clock of films that are written; MPEG-4 knows none of more bits
_RATE = 25  # of films that say none, and the length of a written film's last picture
_MICROSECONDS = 1_000_000  # FFmpeg's clock of whole files
_SHORT = 1.0  # s that a film may end before it says so: sound may be longer
_COPY = "If it was cut off or damaged, copy it again."


def is_film(path) -> bool:
    """Whether a path is the name of a film, by its suffix."""
    named = isinstance(path, str | os.PathLike)
    return named and pathlib.Path(path).suffix.lower() in FILM_SUFFIXES


class Film:
    """A film of a user, opened to be read once.

    Args:
        every: seconds from one frame that is taken to the next; 0: all are.

    Attributes:
        expected: how many frames `frames` gives, as the file says; None where it does not.

    Raises:
        FileNotFoundError: there is no such file. InputError: it is no film, or has no pictures.
        BlockedError: PyAV is missing.
    """

    def __init__(self, path: PathLike, every: float = 0):
        if not (every >= 0 and math.isfinite(every)):
            raise InputError(f"every: expected seconds, 0 or more, received {every}.")
        self.path, self.every, self._av = pathlib.Path(path), every, _pyav()
        if not self.path.is_file():
            raise FileNotFoundError(f"{path}: expected a film, received nothing: no such file.")
        try:
            self._container = self._av.open(str(path))
        except self._av.FFmpegError as error:
            raise InputError(
                f"{path}: expected a film, received {self.path.stat().st_size} bytes that "
                f"cannot be read as one ({error.strerror}). {_COPY}"
            ) from error
        self._stream = self._container.streams.best("video")  # the cover is none
        if self._stream is None:
            self._container.close()
            raise InputError(f"{path}: expected a film with pictures, received one without.")
        self._stream.thread_type = "AUTO"
        self._start = (self._container.start_time or 0) / _MICROSECONDS
        self._rate = float(self._stream.average_rate or _RATE)
        self._seconds = self._length()
        self.expected, self._is_damaged = self._count(), False

    def frames(self) -> Iterator[LabelledPhoto | InputError]:
        """The frames uint8 [H,W,3], upright, called `FILM_000001.png` by their number, with
        the `moment` they are shown at. In the end, of a damaged film, what is wrong with it.
        """
        number, seconds, due = 0, 0.0, -math.inf
        with self._container:
            for number, frame in enumerate(self._decoded(), 1):
                seconds = self._shown_at(frame, number)
                if seconds >= due:
                    yield self._photo(frame, number, seconds)
                    if self.every:
                        due = self.every * (math.floor(seconds / self.every + 1e-6) + 1) - 1e-6
        if self._is_damaged or not number:
            yield InputError(
                f"{self.path}: expected a whole film, received a damaged or empty one with "
                f"{number} frames that can be shown. {_COPY}"
            )
        elif self._seconds and seconds < self._seconds - _SHORT:
            said = f"{self.path}: it ends after {seconds:.1f} of {self._seconds:.1f} s."
            say_once("end of a film", f"{said} {_COPY}")

    def _decoded(self):
        """All frames that can be; sets `_is_damaged`."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                self._is_damaged |= packet.is_corrupt
                for frame in packet.decode():
                    self._is_damaged |= frame.is_corrupt
                    yield frame
            except self._av.FFmpegError:
                self._is_damaged = True

    def _shown_at(self, frame, number):
        if frame.time is None:
            return (number - 1) / self._rate
        return max(0.0, frame.time - self._start)

    def _photo(self, frame, number, seconds):
        image = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
        stem, image = self.path.stem, np.ascontiguousarray(image)
        return LabelledPhoto(image, None, f"{stem}_{number:06d}.png", Moment(stem, seconds))

    def _length(self):
        """Seconds, as the file says; 0 where it does not."""
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        return (self._container.duration or 0) / _MICROSECONDS

    def _count(self):
        if self.every > 1 / self._rate:
            return math.ceil(self._seconds / self.every) or None
        return self._stream.frames or round(self._seconds * self._rate) or None


class FilmWriter:
    """Writes pictures as a film that plays everywhere: MP4, H.264 where FFmpeg can write it,
    else MPEG-4; whole or not at all. Without sound.

    Args:
        path: of the film, `NAME.mp4`.

    Raises:
        BlockedError: PyAV is missing. OSError: it cannot be written.
    """

    def __init__(self, path: pathlib.Path):
        self._av, self._stack = _pyav(), contextlib.ExitStack()
        beside = self._stack.enter_context(files.replaced(path))
        self._container = self._av.open(str(beside), "w", format="mp4")
        self._stack.callback(self._container.close)  # first of all
        self._stream, self._last = None, -1

    def add(self, picture: np.ndarray, seconds: float) -> None:
        """Shows a picture uint8 [H,W,3] from a time on, which is later than the one before.

        All have the size of the first one, or are made to: an even one.
        """
        if self._stream is None:
            self._stream = self._new_stream(*picture.shape[:2])
        width, height = self._stream.width, self._stream.height
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
        frame = frame.reformat(width, height, "yuv420p")
        self._last = frame.pts = max(self._last + 1, round(seconds * _PER_SECOND))
        frame.time_base = self._stream.codec_context.time_base
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Ends the film, which is at its place now."""
        with self._stack:
            if self._stream:
                self._container.mux(self._stream.encode())

    def _new_stream(self, height, width):
        stream = self._container.add_stream(self._codec(), rate=_RATE)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = fractions.Fraction(1, _PER_SECOND)
        stream.codec_context.max_b_frames = 0  # else the file is said to be too short
        if stream.codec_context.name == "libx264":
            stream.options = {"preset": "veryfast", "crf": "20"}
        else:
            stream.codec_context.bit_rate = 4 * width * height
        return stream

    def _codec(self):
        return "libx264" if "libx264" in self._av.codecs_available else "mpeg4"


def _pyav():
    try:
        import av
    except ModuleNotFoundError as missing:
        raise BlockedError(
            f"Films: expected PyAV, received none ({missing}). "
            "Install the extra: pip install 'crnet-tf[film]'"
        ) from None
    return av
