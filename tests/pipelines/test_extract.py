import io
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from pipelines.downloading import extract as extract_lib
from pipelines.downloading.extract import Limits, extract

ROOT = pathlib.Path(__file__).parents[2]
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
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def write_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def member(name, kind=tarfile.REGTYPE, target="", size=0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def contents(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def everything_but(folder, *names):
    return [path for path in folder.rglob("*") if path.name not in names]


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
def test_unpacks_all_and_leaves_nothing_else(name, tmp_path, out):
    archive = ARCHIVES[name](tmp_path / name)
    assert extract(archive, out) == ["VOCdevkit", "annotations"]
    assert contents(out) == FILES
    assert sorted(path.name for path in out.iterdir()) == ["VOCdevkit", "annotations"]


@pytest.mark.parametrize("name", ARCHIVES)
def test_rerun_leaves_it_alone_and_completes_what_is_missing(name, tmp_path, out):
    archive = ARCHIVES[name](tmp_path / name)
    extract(archive, out)
    before = (out / "VOCdevkit").stat().st_ino
    (out / "annotations/instances.json").unlink()
    (out / "annotations").rmdir()  # as if killed before it was moved to its place
    extract(archive, out)
    assert contents(out) == FILES
    assert (out / "VOCdevkit").stat().st_ino == before


def test_other_things_are_never_touched(tmp_path, out):
    archive = write_tar(tmp_path / "a.tar")
    extract(archive, out)
    (out / "VOCdevkit/JPEGImages/a.jpg").write_bytes(b"mine")
    (out / "VOCdevkit/JPEGImages/c.jpg").write_bytes(b"mine, too")
    before = contents(out)
    with pytest.raises(FileExistsError, match="a.jpg is missing or of another size. Move it"):
        extract(archive, out)
    assert contents(out) == before


LEAVING = {
    "up": [member("photos/../../evil")],
    "up at once": [member("../evil")],
    "absolute": [member("/tmp/evil")],
    "backslashes": [member("photos\\..\\..\\evil")],
    "drive": [member("C:evil")],
    "symlink out": [member("photos/link", tarfile.SYMTYPE, "../../evil")],
    "symlink to the root": [member("link", tarfile.SYMTYPE, "/etc/passwd")],
    "symlink through a later symlink": [
        member("d/s", tarfile.SYMTYPE, "x/../../evil"),
        member("d/x", tarfile.SYMTYPE, ".."),
    ],
    "file through a symlink": [
        member("d/s", tarfile.SYMTYPE, "../e"),
        member("d/s/evil", size=3),
    ],
    "file in the place of a symlink": [
        member("d/s", tarfile.SYMTYPE, "../e"),
        member("d/s", size=3),
    ],
    "symlink in the place of a folder": [
        member("d/s/f", size=3),
        member("d/s", tarfile.SYMTYPE, "../e"),
    ],
    "hard link out": [member("link", tarfile.LNKTYPE, "../evil")],
    "hard link to nothing": [member("link", tarfile.LNKTYPE, "absent")],
    "hard link to a symlink": [
        member("s", tarfile.SYMTYPE, "t"),
        member("link", tarfile.LNKTYPE, "s"),
    ],
    "device": [member("null", tarfile.CHRTYPE)],
    "pipe": [member("pipe", tarfile.FIFOTYPE)],
    "twice": [member("a", size=1), member("a", size=2)],
}


@pytest.mark.parametrize("case", LEAVING)
def test_nothing_leaves_the_folder(case, tmp_path, out):
    archive = write_tar(tmp_path / "a.tar", {"photos/a.jpg": PHOTO}, members=LEAVING[case])
    with pytest.raises(ValueError, match="a.tar: (expected .*received|.*special file)"):
        extract(archive, out)
    assert everything_but(tmp_path, "a.tar", "parent", "out") == []


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "a\\evil"])
def test_nothing_leaves_the_folder_of_a_zip(name, tmp_path, out):
    archive = write_zip(tmp_path / "a.zip", {"a/b.jpg": PHOTO, name: b"evil"})
    with pytest.raises(ValueError, match="expected a name inside the folder"):
        extract(archive, out)
    assert everything_but(tmp_path, "a.zip", "parent", "out") == []


def test_a_symlink_in_a_zip_is_refused(tmp_path, out):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="'link' is encrypted, a link or a device"):
        extract(tmp_path / "a.zip", out)


def test_links_inside_are_kept(tmp_path, out):
    links = [
        member("d/latest", tarfile.SYMTYPE, "../photos/a.jpg"),
        member("d/same.jpg", tarfile.LNKTYPE, "photos/a.jpg"),
    ]
    archive = write_tar(tmp_path / "a.tar", {"photos/a.jpg": PHOTO}, members=links)
    extract(archive, out)
    assert os.readlink(out / "d/latest") == "../photos/a.jpg"
    assert (out / "d/same.jpg").read_bytes() == (out / "d/latest").read_bytes() == PHOTO


def test_permissions_of_the_archive_do_not_count(tmp_path, out):
    info = member("d/run.sh", size=3)
    info.mode = 0o6777
    extract(write_tar(tmp_path / "a.tar", {}, members=[info]), out)
    assert (out / "d/run.sh").stat().st_mode & 0o6022 == 0


@pytest.mark.parametrize("write", [write_zip, lambda p, f: write_tar(p, f, "w:gz")])
def test_bomb_by_ratio(write, tmp_path, out):
    archive = write(tmp_path / "a.zip", {"zeros": bytes(12_000_000)})
    with pytest.raises(
        ValueError, match="expected at most .* 10.0 MB unpacked, received 1 with"
    ):
        extract(archive, out)
    assert not list(out.iterdir())


def test_bomb_by_total_and_by_count(tmp_path, out):
    archive = write_zip(tmp_path / "a.zip")
    with pytest.raises(ValueError, match="expected at most 3 entries"):
        extract(archive, out, Limits(entries=3))
    with pytest.raises(ValueError, match="0.1 MB unpacked, received 2 with 0.1 MB"):
        extract(archive, out, Limits(bytes=60_000))


def test_bomb_that_declares_little(tmp_path, out):
    """A zip whose central directory lies about the size of what comes out."""
    archive = write_zip(tmp_path / "a.zip", {"zeros": bytes(5_000_000)})
    content = archive.read_bytes().replace(struct.pack("<L", 5_000_000), struct.pack("<L", 10))
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        extract(archive, out)
    assert not list(out.iterdir())


def test_sparse_file_is_refused(tmp_path, out):
    """512 bytes of archive could claim to be terabytes."""
    info = member("holes", tarfile.GNUTYPE_SPARSE)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"%011o\0" % 10**9  # its size with the holes
    block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 8 * 32)
    (tmp_path / "a.tar").write_bytes(bytes(block) + bytes(1024))
    with pytest.raises(ValueError, match="not unpacked"):
        extract(tmp_path / "a.tar", out)


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 0.9])
def test_truncated_archive(name, part, tmp_path, out):
    archive = ARCHIVES[name](tmp_path / name)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(
        ValueError, match="received a damaged or truncated one.*download it again"
    ):
        extract(archive, out)
    assert not list(out.iterdir())


def test_tar_cut_between_two_files(tmp_path, out):
    """tarfile takes it for the end."""
    archive = write_tar(tmp_path / "a.tar")
    with tarfile.open(archive) as file:
        second = file.getmembers()[1].offset
    archive.write_bytes(archive.read_bytes()[:second])
    with pytest.raises(ValueError, match="no end-of-archive mark at byte"):
        extract(archive, out)


@pytest.mark.parametrize("name", ["a.zip", "a.tgz", "a.tar.xz"])
def test_flipped_byte(name, tmp_path, out):
    archive = ARCHIVES[name](tmp_path / name)
    content = bytearray(archive.read_bytes())
    content[30_000] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        extract(archive, out)
    assert not list(out.iterdir())


def test_no_archive(tmp_path, out):
    with pytest.raises(FileNotFoundError, match="expected an archive.*pipelines.download"):
        extract(tmp_path / "absent.tar", out)


def test_full_disk_is_said_before(tmp_path, out, monkeypatch):
    archive = write_tar(tmp_path / "a.tar")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(OSError, match="expected 0.1 MB free for unpacking a.tar"):
        extract(archive, out)


KILLED = """
import os, signal, sys
from pipelines.downloading import extract as extract_lib
extract_lib.os.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
extract_lib.extract(sys.argv[1], sys.argv[2])
"""


def test_rerun_after_a_kill(tmp_path, out):
    archive = write_tar(tmp_path / "a.tar")
    command = [sys.executable, "-c", KILLED, str(archive), str(out)]
    killed = subprocess.run(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    assert (out / ".a.tar.extracting").exists() and not (out / "VOCdevkit").exists()
    extract(archive, out)
    assert contents(out) == FILES
    assert sorted(path.name for path in out.iterdir()) == ["VOCdevkit", "annotations"]


def test_a_failed_write_leaves_nothing(tmp_path, out, monkeypatch):
    archive = write_tar(tmp_path / "a.tar")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(extract_lib.tarfile.TarFile, "extract", fail)
    with pytest.raises(OSError, match="No space left"):
        extract(archive, out)
    assert not list(out.iterdir())


def test_a_python_whose_tarfile_cannot_refuse_is_named(tmp_path, out, monkeypatch):
    path = tmp_path / "a.tar"
    write_tar(path)
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(RuntimeError, match="expected Python 3.10.12, 3.11.4 or newer"):
        extract(path, out)
