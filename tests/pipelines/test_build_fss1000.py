import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from crnet_tf.data import records
from crnet_tf.images.mask_values import label_value
from pipelines import build_fss1000
from pipelines.sources import fss1000

TEST = ("class_003", "class_255")


def write_fss(root, classes, photos=1, size=8):
    """Class folders class_001 ...; the mask of photo n is a smooth blot of n+1 rows."""
    for class_id in range(1, classes + 1):
        folder = root / "data" / f"class_{class_id:03d}"
        folder.mkdir(parents=True)
        for number in range(1, photos + 1):
            rng = np.random.default_rng([class_id, number])
            photo = rng.integers(0, 256, (size, size, 3), np.uint8)
            Image.fromarray(photo).save(folder / f"{number}.jpg")
            grey = np.zeros((size, size, 3), np.uint8)
            grey[: number + 1] = 200
            grey[number + 1] = 100  # below the threshold
            Image.fromarray(grey).save(folder / f"{number}.png")
    return root / "data"


@pytest.fixture(scope="module")
def fss(tmp_path_factory):
    root = tmp_path_factory.mktemp("fss")
    write_fss(root, classes=258)
    (root / "test.txt").write_text("\n".join(TEST))
    return root


@pytest.fixture(scope="module")
def index(fss):
    return build_fss1000.build_fss1000(fss / "data", fss / "records", fss / "test.txt")


def stored(index, split, class_id):
    return [records.parse(r) for r in tf.data.TFRecordDataset(index.files(split, class_id))]


@pytest.mark.parametrize("class_id", [3, 255])
def test_masks_of_any_class_id(index, class_id):
    for number, record in enumerate(stored(index, "val", class_id), 1):
        assert record["filename"] == f"class_{class_id:03d}/{number}"
        label = record["label"].numpy()[..., 0]
        expected = np.indices((8, 8))[0] <= number
        np.testing.assert_array_equal(label == label_value(class_id), expected)
        assert not np.any(label[~expected])


def test_classes_train_validate_or_test(index):
    test, validation, train = (
        set(classes(0))
        for classes in (index.test_classes, index.validation_classes, index.train_classes)
    )
    assert test == {3, 255} and len(validation) == 85 and not test & validation
    assert train == set(range(1, 259)) - test - validation
    for class_id in range(1, 259):
        counts = index.count("train", class_id), index.count("val", class_id)
        assert counts == ((1, 0) if class_id in train else (0, 1))
    assert "test: 2 classes, 2 photos; 2 classes with fewer than 10" in build_fss1000.table(
        index
    )


def test_drawn_validation_does_not_depend_on_other_things():
    names = [f"n{i}" for i in range(760)]
    assert len(fss1000.draw_validation(names)) == 240
    assert fss1000.draw_validation(names) == fss1000.draw_validation(names[::-1])


def test_given_validation_classes(tmp_path):
    data = write_fss(tmp_path, classes=4)
    (tmp_path / "test.txt").write_text("/class_001\n")
    (tmp_path / "val.txt").write_text("class_003\n")
    lists = tmp_path / "test.txt", tmp_path / "val.txt"
    index = build_fss1000.build_fss1000(data, tmp_path / "out", *lists)
    assert index.validation_classes(0) == (3,) and index.train_classes(0) == (2, 4)
    (tmp_path / "val.txt").write_text("class_001\n")  # a test class
    with pytest.raises(ValueError, match="val.txt: expected names.*class_001"):
        build_fss1000.build_fss1000(data, tmp_path / "other", *lists)


@pytest.mark.parametrize("classes, right", [(3, True), (2, False), (1, False)])
def test_few_classes_are_enough_or_it_is_said_before_the_start(tmp_path, classes, right):
    data = write_fss(tmp_path, classes=classes, photos=2)
    (tmp_path / "test.txt").write_text("class_001\n")
    arguments = data, tmp_path / "out", tmp_path / "test.txt"
    if not right:
        with pytest.raises(ValueError, match="expected .*classes.* train"):
            build_fss1000.build_fss1000(*arguments)
        assert not (tmp_path / "out").exists()
        return
    index = build_fss1000.build_fss1000(*arguments)
    assert len(index.train_classes(0)) == len(index.validation_classes(0)) == 1
    assert sum(index.count(split, c) for split in index.splits for c in (1, 2, 3)) == 6


def test_masks_by_transparency_and_photos_in_the_place_of_masks(tmp_path, capsys):
    data = write_fss(tmp_path, classes=4, photos=3)
    (tmp_path / "test.txt").write_text("class_002\n")
    cut_out = np.full((8, 8, 4), 255, np.uint8)
    cut_out[4:, :, 3] = 0
    Image.fromarray(cut_out).save(data / "class_002" / "1.png")
    with Image.open(data / "class_002" / "2.jpg") as photo:
        photo.save(data / "class_002" / "2.png")
    index = build_fss1000.build_fss1000(data, tmp_path / "out", tmp_path / "test.txt")
    labels = [record["label"].numpy()[..., 0] for record in stored(index, "val", 2)]
    assert len(labels) == 2
    np.testing.assert_array_equal(labels[0] == 2, np.indices((8, 8))[0] < 4)
    said = capsys.readouterr().out
    assert "class_002/2.png: expected a mask in black and white" in said and "colours" in said


def test_suffixes_of_any_case(tmp_path):
    data = write_fss(tmp_path, classes=4, photos=3)
    (tmp_path / "test.txt").write_text("class_001\n")
    for suffix, other in ((".jpg", ".JPEG"), (".png", ".PNG")):
        for number in (1, 2):
            path = data / "class_002" / f"{number}{suffix}"
            path.rename(path.with_suffix(other))
    (data / "class_002" / "3.jpg").rename(data / "class_002" / "3.Jpg")
    (data / "class_002" / "._1.jpg").write_bytes(b"")  # what macOS leaves in archives
    index = build_fss1000.build_fss1000(data, tmp_path / "out", tmp_path / "test.txt")
    assert sum(index.count(split, 2) for split in index.splits) == 3
    assert "skipped: 0 photos" in build_fss1000.table(index)


def test_broken_files_are_counted(tmp_path, capsys):
    data = write_fss(tmp_path, classes=4, photos=4)
    (tmp_path / "test.txt").write_text("class_001\n")
    (data / "class_002" / "1.jpg").unlink()
    (data / "class_002" / "2.png").unlink()
    (data / "class_003" / "3.jpg").write_bytes(b"broken")
    mask = data / "class_003" / "4.png"
    mask.write_bytes(mask.read_bytes()[:-40])
    Image.new("L", (8, 8)).save(data / "class_001" / "2.png")
    Image.new("L", (9, 8), 255).save(data / "class_001" / "3.png")
    index = build_fss1000.build_fss1000(data, tmp_path / "out", tmp_path / "test.txt")
    counts = [sum(index.count(split, c) for split in index.splits) for c in (1, 2, 3, 4)]
    assert counts == [2, 2, 2, 4]
    assert "skipped: 6 photos" in build_fss1000.table(index)
    assert "class_003/3.jpg" in capsys.readouterr().out
    for stem in (1, 2, 3, 4):  # a class of other names is a class
        for suffix in (".jpg", ".png"):
            path = data / "class_004" / f"{stem}{suffix}"
            path.rename(path.with_stem(f"0{stem}"))
    assert fss1000.list_classes(data) == [f"class_00{number}" for number in (1, 2, 3, 4)]
    build_fss1000.build_fss1000(data, tmp_path / "out", tmp_path / "test.txt", overwrite=True)
    build_fss1000.build_fss1000(data, tmp_path / "out", tmp_path / "test.txt")
    assert "6 bad photos were skipped then; --overwrite" in capsys.readouterr().out
    with pytest.raises((ValueError, OSError), match="expected"):
        build_fss1000.build_fss1000(
            data, tmp_path / "strict", tmp_path / "test.txt", on_error="stop"
        )


def test_wrong_folder_and_unknown_class(fss, tmp_path):
    with pytest.raises(FileNotFoundError, match="--fss_dir: expected class folders"):
        build_fss1000.build_fss1000(tmp_path, tmp_path / "out", fss / "test.txt")
    (tmp_path / "test.txt").write_text("class_999\n")
    with pytest.raises(ValueError, match="1 of them unknown.*class_999"):
        build_fss1000.build_fss1000(fss / "data", tmp_path / "out", tmp_path / "test.txt")
    (tmp_path / "test.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match="test.txt: .*UTF-8"):
        build_fss1000.build_fss1000(fss / "data", tmp_path / "out", tmp_path / "test.txt")
