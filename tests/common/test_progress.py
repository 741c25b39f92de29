"""How far long work is."""

import io
import re

from crnet_tf.common.progress import Progress, megabytes, with_progress


def terminal(monkeypatch):
    """Standard error as a terminal, to read what is written on it."""
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", screen)
    return screen


def test_a_log_file_gets_a_line_every_tenth(capsys):
    assert list(with_progress(range(200), "photos")) == list(range(200))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("photos [===  ") and "] 20/200 0 s, 0 s left" in lines[0]
    assert re.search(r"\] 200/200 0 s, \d+\.\d\d a second$", lines[-1])


def test_a_terminal_gets_one_line_that_is_written_over(monkeypatch):
    screen = terminal(monkeypatch)
    assert list(with_progress(iter("abc"), "photos", 3)) == ["a", "b", "c"]
    text = screen.getvalue()
    assert text.count("\r") == 3 and text.count("\n") == 1
    assert "2/3" in text.split("\r")[2]


def test_an_item_counts_once_it_is_done(monkeypatch):
    screen = terminal(monkeypatch)
    items = with_progress("ab", "photos")
    next(items)
    assert not screen.getvalue()
    next(items)
    assert "1/2" in screen.getvalue()


def test_of_nothing_nothing_is_shown(capsys):
    assert list(with_progress([], "photos")) == []
    assert not capsys.readouterr().err


def test_of_bytes_some_were_there_and_the_line_ends_early(capsys, monkeypatch):
    def half():
        with Progress("a.zip", 4_000_000, done=1_000_000, text=megabytes) as progress:
            progress.add(1_000_000)

    half()
    shown = [capsys.readouterr().err]
    screen = terminal(monkeypatch)
    half()
    for text in [*shown, screen.getvalue()]:
        assert "] 2.0 MB/4.0 MB" in text and text.endswith("\n")


def test_without_a_total_there_is_no_bar(capsys):
    with Progress("a.zip", None, text=megabytes) as progress:
        progress.add(2_000_000)
    assert capsys.readouterr().err == "a.zip 2.0 MB 0 s\n"
