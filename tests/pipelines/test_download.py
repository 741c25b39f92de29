"""The command that brings archives of data sets (how a file comes: test_fetch.py)."""

import io
import zipfile

import pytest

from pipelines import download
from pipelines.downloading import fetch as fetching


@pytest.fixture
def asked(monkeypatch):
    """Files instead of a network: {address: content}; notes what is asked for."""
    addresses, published = [], {}

    def fetch(urls, path, sha256=None, size=None, retries=0):
        addresses.extend(urls)
        path.write_bytes(published[urls[-1]])
        return sha256 or "digest"

    monkeypatch.setattr(fetching, "fetch", fetch)
    return addresses, published


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}/photo.jpg", content)
    return buffer.getvalue()


def test_download_unpacks(asked, tmp_path, capsys):
    url = "https://host/data.zip"
    asked[1][url] = zipped(train2017=b"photo")
    paths = download.download("coco2017", tmp_path, urls=[url], extract=True)
    assert paths == [tmp_path / "data.zip"]
    assert (tmp_path / "coco2017/train2017/photo.jpg").read_bytes() == b"photo"
    assert "recorded, none is published" in capsys.readouterr().out


def test_a_known_name_must_be_the_published_file(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(fetching, "fetch", lambda *given: seen.append(given) or "")
    download.download("coco2017", tmp_path, urls=["https://mine/val2017.zip"])
    published = download.DATASETS["coco2017"][1]
    assert seen[0][0] == ["https://mine/val2017.zip"]
    assert seen[0][2:4] == (published.sha256, published.size)


def test_mirror_is_asked_before_the_publisher(asked, tmp_path, monkeypatch):
    url = "https://publisher/data.zip"
    monkeypatch.setitem(download.DATASETS, "voc", (download.Archive(url, 7, "a" * 64),))
    asked[1][url] = b"content"
    download.download("voc", tmp_path, mirror="https://mirror/folder/")
    assert asked[0] == ["https://mirror/folder/data.zip", url]


def test_room_for_everything_is_checked_first(asked, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 3 * 10**9}))
    with pytest.raises(OSError, match="expected 3,999.3 MB free.*received"):
        download.download("voc", tmp_path, extract=True)
    assert asked[0] == []


@pytest.mark.parametrize(
    "url",
    ["data.zip", "file:///etc/passwd", "http://host/", "http://host/a/..%2fx.zip", "//h/x"],
)
def test_addresses_that_are_none(url, tmp_path):
    with pytest.raises(ValueError, match="expected .*received"):
        download.download("voc", tmp_path, urls=[url])


def test_one_name_for_two_files(tmp_path):
    with pytest.raises(ValueError, match="different names, received a.zip, a"):
        download.download("voc", tmp_path, urls=["http://x/a.zip", "http://y/a.zip"])


def test_unknown_data_set(tmp_path):
    with pytest.raises(ValueError, match="--dataset: .*voc.*received 'imagenet'"):
        download.download("imagenet", tmp_path)


def test_published_files_are_described_completely():
    for archives in download.DATASETS.values():
        assert len({archive.name for archive in archives}) == len(archives)
        for archive in archives:
            assert archive.size > 10**8 and len(archive.sha256) == 64
            assert archive.name.endswith((".tar", ".tgz", ".zip"))
