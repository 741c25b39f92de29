"""Archives whose content nobody has looked at."""

import io
import os
import signal
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from crnet_tf.common.errors import InputError
from pipelines.downloading import unpack as unpack_lib
from pipelines.downloading.unpack import unpack

PHOTO = np.random.default_rng(0).bytes(50_000)
FILES = {
    "VOCdevkit/JPEGImages/a.jpg": PHOTO,
    "VOCdevkit/JPEGImages/b.jpg": PHOTO[::-1],
    "VOCdevkit/lists/empty.txt": b"",
    "annotations/instances.json": b"{}" * 3000,
}


def write_tar(path, files=FILES, mode="w", members=()):
    """`members` are TarInfo; a file of `files` is its content."""
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            archive.addfile(member(name, size=len(content)), io.BytesIO(content))
        for info in members:
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return path


def write_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def member(name, kind=tarfile.REGTYPE, target="", size=0, mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, target, size, mode
    return info


def contents(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def out(tmp_path):
    """Two folders deep: what leaves it would be seen in tmp_path."""
    return tmp_path / "parent" / "out"


ARCHIVES = {
    "a.tar": write_tar,
    "a.tgz": lambda path: write_tar(path, mode="w:gz"),
    "a.tar.xz": lambda path: write_tar(path, mode="w:xz"),
    "a.zip": write_zip,
    # SBD's benchmark.tgz was seen as a plain tar: the content decides, not the name.
    "tar.zip": write_tar,
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_unpacks_all_and_a_rerun_completes_what_is_missing(name, tmp_path, out):
    archive = ARCHIVES[name](tmp_path / name)
    assert unpack(archive, out) == ["VOCdevkit", "annotations"]
    assert contents(out) == FILES and names(out) == ["VOCdevkit", "annotations"]
    before = (out / "VOCdevkit").stat().st_ino
    (out / "annotations/instances.json").unlink()
    (out / "annotations").rmdir()  # as if killed before it was moved to its place
    unpack(archive, out)
    assert contents(out) == FILES and (out / "VOCdevkit").stat().st_ino == before


def test_other_things_are_never_touched(tmp_path, out):
    archive = write_tar(tmp_path / "a.tar")
    unpack(archive, out)
    (out / "VOCdevkit/JPEGImages/a.jpg").write_bytes(b"mine")
    before = contents(out)
    with pytest.raises(FileExistsError, match="a.jpg is missing.*Move it"):
        unpack(archive, out)
    assert contents(out) == before


LEAVING = {
    "up": member("photos/../../evil"),
    "absolute": member("/tmp/evil"),
    "backslashes": member("photos\\..\\..\\evil"),
    "drive": member("C:evil"),
    "device": member("null", tarfile.CHRTYPE),
    "pipe": member("pipe", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("case", LEAVING)
def test_what_would_leave_the_folder_is_refused(case, tmp_path, out):
    archive = write_tar(tmp_path / "a.tar", {"photos/a.jpg": PHOTO}, members=[LEAVING[case]])
    with pytest.raises(ValueError, match="a.tar: expected .*received"):
        unpack(archive, out)
    assert names(tmp_path) == ["a.tar", "parent"] and names(out) == []


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "a\\evil"])
def test_what_would_leave_the_folder_from_a_zip_is_refused(name, tmp_path, out):
    archive = write_zip(tmp_path / "a.zip", {"a/b.jpg": PHOTO, name: b"evil"})
    with pytest.raises(ValueError, match="a.zip: expected .*received"):
        unpack(archive, out)
    assert names(tmp_path) == ["a.zip", "parent"] and names(out) == []


@pytest.mark.parametrize("target", ["../../evil", "/etc/passwd", "../photos/a.jpg"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_are_left_out(target, kind, tmp_path, out):
    """Every known way past tarfile's own filter leads over a link."""
    through = [member("d/s", kind, target), member("d/s/f", size=3), member("e", kind, target)]
    archive = write_tar(tmp_path / "a.tar", {"photos/a.jpg": PHOTO}, members=through)
    unpack(archive, out)
    assert contents(out) == {"photos/a.jpg": PHOTO, "d/s/f": bytes(3)}
    assert names(tmp_path) == ["a.tar", "parent"] and not list(out.rglob("e"))


def test_a_link_in_a_zip_becomes_a_file(tmp_path, out):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    unpack(tmp_path / "a.zip", out)
    assert not (out / "link").is_symlink() and (out / "link").read_text() == "/etc/passwd"


def test_permissions_of_the_archive_do_not_count(tmp_path, out):
    run = member("d/run.sh", size=3, mode=0o6777)
    unpack(write_tar(tmp_path / "a.tar", {}, members=[run]), out)
    assert (out / "d/run.sh").stat().st_mode & 0o6022 == 0


@pytest.mark.parametrize("write", [write_zip, lambda p, f: write_tar(p, f, "w:gz")])
def test_bombs(write, tmp_path, out, monkeypatch):
    archive = write(tmp_path / "a.zip", {"zeros": bytes(12_000_000)})
    with pytest.raises(ValueError, match="10.0 MB unpacked, received 1 with 12.0 MB"):
        unpack(archive, out)
    archive = write(tmp_path / "b.zip", FILES)
    for limit, least, message in (
        ("ENTRIES", 3, "most 3 entries"),
        ("BYTES", 60_000, "0.1 MB"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(unpack_lib, f"MOST_{limit}", least)
            with pytest.raises(ValueError, match=message):
                unpack(archive, out)
    assert names(out) == []


def test_a_zip_that_declares_little(tmp_path, out):
    archive = write_zip(tmp_path / "a.zip", {"zeros": bytes(5_000_000)})
    content = archive.read_bytes().replace(struct.pack("<L", 5_000_000), struct.pack("<L", 10))
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="a.zip.*damaged"):
        unpack(archive, out)
    assert names(out) == []


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("part", [0.0, 0.3, 0.5])
def test_damaged_archives(name, part, tmp_path, out):
    archive = ARCHIVES[name](tmp_path / name)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ValueError, match=f"{name}: expected .*damaged.*download it again"):
        unpack(archive, out)
    if archive.suffix != ".tar" and name != "tar.zip":  # a plain tar has no checksums
        archive.write_bytes(content[:30_000] + b"xxxx" + content[30_004:])
        with pytest.raises(ValueError, match=f"{name}: expected .*damaged.*download it again"):
            unpack(archive, out)
    assert names(out) == []


def test_full_disk_is_said_before(tmp_path, out, monkeypatch):
    archive = write_tar(tmp_path / "a.tar")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(OSError, match="expected 0.1 MB free for unpacking a.tar"):
        unpack(archive, out)


def test_rerun_after_a_kill(tmp_path, out):
    archive = write_tar(tmp_path / "a.tar")
    child = os.fork()
    if not child:
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        unpack(archive, out)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert (out / ".a.tar.extracting").exists() and not (out / "VOCdevkit").exists()
    unpack(archive, out)
    assert contents(out) == FILES and names(out) == ["VOCdevkit", "annotations"]


def test_a_failed_write_leaves_nothing(tmp_path, out, monkeypatch):
    archive = write_tar(tmp_path / "a.tar")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extract", fail)
    with pytest.raises(OSError, match="No space left"):
        unpack(archive, out)
    assert names(out) == []


def test_a_python_whose_tarfile_cannot_refuse_is_named(tmp_path, out, monkeypatch):
    path = write_tar(tmp_path / "a.tar")
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(RuntimeError, match="expected Python 3.11.4 or newer"):
        unpack(path, out)


def test_a_file_that_others_lie_in_is_refused(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"a": b"", "a/b.jpg": PHOTO})
    with pytest.raises(InputError, match="received 'a' as both. Nothing was unpacked"):
        unpack(archive, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_names_that_are_no_text_are_damage(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"é": b""})
    archive.write_bytes(archive.read_bytes().replace("é".encode(), b"\xa9\xa9"))
    with pytest.raises(InputError, match="a.zip: expected a whole archive"):
        unpack(archive, tmp_path / "out")


def test_offsets_before_the_beginning_are_damage(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"a": PHOTO})
    content = bytearray(archive.read_bytes())
    end = content.rindex(b"PK\5\6")
    content[end + 16 : end + 20] = struct.pack("<I", len(content) * 2)
    archive.write_bytes(content)
    with pytest.raises(InputError, match="a.zip: expected a whole archive"):
        unpack(archive, tmp_path / "out")
