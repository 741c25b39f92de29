"""Films: frames with their times, upright; damaged ones; pictures as a film."""

import sys

import numpy as np
import pytest
from helpers.film_files import FRAMES, pictures, write_film, write_sound

from crnet_tf.common import notices
from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.images import films, photos

av = pytest.importorskip("av")


def read(path, every=0):
    return list(films.Film(path, every).frames())


def greys(frames):
    return [round(float(one.image[-8:, -8:].mean())) for one in frames]


def test_frames_come_with_number_and_time(tmp_path):
    path = write_film(tmp_path / "clip.mp4", pictures())
    film = films.Film(path)
    frames = list(film.frames())
    assert film.expected == FRAMES == len(frames)
    assert [one.name for one in frames[:2]] == ["clip_000001.png", "clip_000002.png"]
    assert [one.moment for one in frames] == [("clip", n / 2) for n in range(FRAMES)]
    assert frames[0].image.shape == (48, 64, 3) and frames[0].image.dtype == np.uint8
    np.testing.assert_allclose(greys(frames), 20 * np.arange(FRAMES), atol=3)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi", "clip.ts", "CLIP.MOV"])
def test_other_containers_are_read_alike(tmp_path, name):
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    frames = read(write_film(tmp_path / name, pictures(), codec=codec))
    assert [one.moment.seconds for one in frames] == [n / 2 for n in range(FRAMES)]


def test_fewer_frames_are_taken_by_time(tmp_path):
    """Also where frames come at uneven times: the first one from each mark on."""
    path = tmp_path / "uneven.mp4"
    writer, times = films.FilmWriter(path), (0, 0.4, 0.9, 1.1, 1.9, 2.0, 4.7, 5.2)
    for time in times:
        writer.add(pictures(1)[0], time)
    writer.close()
    assert [one.moment.seconds for one in read(path)] == list(times)
    taken = read(path, every=1)
    assert [one.moment.seconds for one in taken] == [0, 1.1, 2.0, 4.7, 5.2]
    assert [one.name[-10:-4] for one in taken] == [f"00000{n}" for n in (1, 4, 6, 7, 8)]
    path = write_film(tmp_path / "even.mp4", 3 * FRAMES * pictures(1), rate=10)
    even = films.Film(path, every=0.3)
    taken = [one.moment.seconds for one in even.frames()]
    np.testing.assert_allclose(taken, 0.3 * np.arange(10))
    assert even.expected == len(taken)


@pytest.mark.parametrize(("turned", "white"), [(90, (-1, 0)), (180, (-1, -1)), (270, (0, -1))])
def test_films_of_phones_are_turned_upright(tmp_path, turned, white):
    (frame, *_) = read(write_film(tmp_path / "phone.mp4", pictures(2), turned=turned))
    assert frame.image.shape == ((48, 64, 3) if turned == 180 else (64, 48, 3))
    assert frame.image[white].min() > 240
    assert sum(frame.image[y, x].min() > 240 for y in (0, -1) for x in (0, -1)) == 1


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi"])
def test_a_film_cut_off_is_read_to_its_cut(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 48, 64, 3), np.uint8)
    codec, options = ("mpeg4", {}) if name.endswith("avi") else ("libx264", {})
    if name.endswith("mp4"):
        options = {"movflags": "faststart"}
    path = write_film(tmp_path / name, noise, codec=codec, **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    *frames, problem = read(path)
    assert 1 < len(frames) < FRAMES
    assert isinstance(problem, InputError)
    assert f"damaged or empty one with {len(frames)} frames" in str(problem)


def test_a_film_that_ends_too_early_is_said_to(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 48, 64, 3), np.uint8)
    path = write_film(tmp_path / "clip.mkv", noise)
    notices.forget()
    assert len(read(path)) == FRAMES and not capsys.readouterr().out
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(read(path)) < FRAMES
    assert "clip.mkv: it ends after 1.5 of 5.0 s." in capsys.readouterr().out


def test_what_is_no_film_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.mp4: expected a film"):
        films.Film(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(InputError, match=r"text.mp4: expected a film, received 7 bytes"):
        films.Film(tmp_path / "text.mp4")
    with pytest.raises(InputError, match=r"sound.mp4: expected a film with pictures"):
        films.Film(write_sound(tmp_path / "sound.mp4"))
    path = write_film(tmp_path / "short.mp4", pictures(2))
    with pytest.raises(InputError, match="every: expected seconds, 0 or more, received -1"):
        films.Film(path, every=-1)


def test_a_film_of_no_frames_is_an_error(tmp_path):
    pieces = "frag_keyframe+empty_moov"
    path = write_film(tmp_path / "clip.mp4", pictures(1), movflags=pieces)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moof") - 4])
    (problem,) = read(path)
    assert "empty one with 0 frames" in str(problem)


def test_without_pyav_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(BlockedError, match=r"crnet-tf\[film\]"):
        films.Film(tmp_path / "clip.mp4")


def test_a_film_in_the_place_of_a_photo_is_called_one(tmp_path):
    path = write_film(tmp_path / "clip.mp4", pictures(2))
    with pytest.raises(InputError, match="It is a film: crnet predict --query=.*clip.mp4"):
        photos.read_photo(path)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_pictures_become_a_film_that_plays_everywhere(tmp_path, monkeypatch, codec):
    monkeypatch.setattr(films.FilmWriter, "_codec", lambda self: codec)
    path, shown = tmp_path / "out.mp4", pictures(size=(47, 63))
    times = np.cumsum([0, 0.1, 0.1, 1.5, 0, 0.2, 0.3, 0.2, 0.2, 0.2])
    writer = films.FilmWriter(path)
    for picture, time in zip(shown, times, strict=True):
        writer.add(picture, time)
        assert not path.exists()
    writer.close()
    assert [one.name for one in tmp_path.iterdir()] == ["out.mp4"]
    with av.open(str(path)) as film:
        (stream,) = film.streams
        assert stream.codec_context.name == {"libx264": "h264"}.get(codec, codec)
        assert (stream.width, stream.height, stream.pix_fmt) == (64, 48, "yuv420p")
        assert abs(film.duration / 1e6 - times[-1]) < 0.1
    frames = read(path)
    np.testing.assert_allclose([one.moment.seconds for one in frames], times, atol=1e-4)
    np.testing.assert_allclose(greys(frames), 20 * np.arange(FRAMES), atol=6)
