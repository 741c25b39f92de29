"""A pack holds the photos of the records once, whole, and is read without TensorFlow."""

import io
import shutil

import numpy as np
import pytest
from helpers.commands import run
from PIL import Image

from crnet_tf.data import photo_pack, records
from crnet_tf.evaluation import manifest
from pipelines import pack_photos


@pytest.fixture(scope="module")
def packed(records_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("pack") / "voc"
    run(pack_photos, f"--records={records_dir}", f"--out={out}", "--part_mb=0.1")
    return out


@pytest.fixture(scope="module")
def pack(packed):
    return photo_pack.read(packed)


def test_photos_and_labels_are_those_of_the_records(pack, records_dir):
    index = records.load_index(records_dir)
    assert pack.index.sha256 == index.sha256
    names = [(photo.split, photo.name) for photo in pack.photos]
    assert len(set(names)) == len(names)
    for split in ("train", "val"):
        archive = manifest.Archive(index, split, range(1, 21))
        of_split = {photo.name: photo for photo in pack.photos if photo.split == split}
        assert of_split.keys() == archive.by_name.keys()
        for class_id, found in archive.names.items():
            listed = [name for name, photo in of_split.items() if class_id in photo.classes]
            assert sorted(listed) == found
        for name in list(of_split)[:3]:
            image, label = archive.photo(name)
            np.testing.assert_array_equal(photo_pack.decode_image(of_split[name].image), image)
            np.testing.assert_array_equal(photo_pack.decode_label(of_split[name].label), label)


def test_parts_are_as_small_as_asked(packed):
    parts = sorted(packed.glob("part-*.npz"))
    largest_photo = 30_000
    assert len(parts) > 2
    assert all(part.stat().st_size < 100_000 + largest_photo for part in parts)


def test_photos_are_in_memory_part_by_part(pack, tmp_path):
    def photos():
        for number, photo in enumerate(pack.photos):
            yield photo
            taken = sum(len(p.image) + len(p.label) for p in pack.photos[: number + 1])
            written = len(list(tmp_path.glob("part-*")))
            assert written >= taken // 200_000  # parts of 100 kB and one photo more

    photo_pack.write(tmp_path, pack.index, photos(), part_mb=0.1)
    assert photo_pack.read(tmp_path).photos == pack.photos


def test_photos_of_a_class_without_those_that_show_another(pack):
    kept = pack.by_class("train", (1, 2), unseen=(6, 7))
    for class_id, rows in kept.items():
        listed = [
            n for n, p in enumerate(pack.photos) if p.split == "train" and class_id in p.classes
        ]
        shows = {
            n
            for n in listed
            if np.isin(photo_pack.decode_label(pack.photos[n].label), (6, 7)).any()
        }
        assert rows == [n for n in listed if n not in shows] and shows
    with pytest.raises(ValueError, match=r"2 photos of aeroplane \(1\).*received 1"):
        pack.by_class("train", (1,), unseen=(6, 7, 16))


def test_canvases_hold_each_photo_in_the_corner(pack):
    small = photo_pack.PackedPhoto("small", "train", (1,), *map(_png, ((30, 50, 3), (30, 50))))
    arrays = photo_pack.canvases([pack.photos[0], small])
    assert arrays["image"].shape == (2, 140, 140, 3)
    assert arrays["size"].tolist() == [[110, 140], [30, 50]]
    assert np.all(arrays["image"][1, :30, :50] == 9) and arrays["image"][1].sum() == 9 * 4500
    assert arrays["label"][1].sum() == 9 * 1500


def _png(shape):
    file = io.BytesIO()
    Image.fromarray(np.full(shape, 9, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_a_damaged_or_missing_part_is_named(packed, tmp_path):
    copy = shutil.copytree(packed, tmp_path / "copy")
    part = copy / "part-00001.npz"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.raises(ValueError, match="part-00001.npz is not the file that was written"):
        photo_pack.read(copy)
    part.unlink()
    with pytest.raises(FileNotFoundError, match="part-00001.npz is missing: copy all parts"):
        photo_pack.read(copy)
    (copy / photo_pack.LIST_NAME).unlink()
    with pytest.raises(FileNotFoundError, match="pipelines.pack_photos"):
        photo_pack.read(copy)


def test_other_things_are_never_replaced_and_an_earlier_pack_is(packed, records_dir, tmp_path):
    index = (records_dir / "index.json").read_bytes()
    with pytest.raises(FileExistsError, match="received one that holds other things"):
        run(pack_photos, f"--records={records_dir}", f"--out={records_dir}")
    assert (records_dir / "index.json").read_bytes() == index
    (tmp_path / "theirs").mkdir()
    shutil.copy(records_dir / "index.json", tmp_path / "theirs")
    with pytest.raises(FileExistsError, match="theirs: .*holds other things"):
        run(pack_photos, f"--records={records_dir}", f"--out={tmp_path / 'theirs'}")
    shutil.copytree(packed, tmp_path / "pack")
    run(pack_photos, f"--records={records_dir}", f"--out={tmp_path / 'pack'}")
    assert [part.name for part in (tmp_path / "pack").glob("part-*")] == ["part-00000.npz"]
    assert len(photo_pack.read(tmp_path / "pack").photos) == len(photo_pack.read(packed).photos)


def test_a_failed_pack_leaves_the_one_before(packed, records_dir, tmp_path, monkeypatch):
    out = tmp_path / "pack"
    shutil.copytree(packed, out)

    def full(*_):
        raise OSError("No space left on device")

    command = [pack_photos, f"--records={records_dir}", f"--out={out}"]
    with monkeypatch.context() as patch:
        patch.setattr(photo_pack.files, "write_text", full)  # its last file
        with pytest.raises(OSError, match="No space left"):
            run(*command)
    assert len(photo_pack.read(out).photos) == len(photo_pack.read(packed).photos)
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]
    run(*command)
