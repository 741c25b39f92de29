import pytest

from crnet_tf.data import folds

DATASETS = sorted(folds.CLASS_NAMES)
FOUR_FOLDS = [dataset for dataset in DATASETS if folds.num_folds(dataset) == 4]


@pytest.mark.parametrize("dataset", FOUR_FOLDS)
def test_folds_partition_the_classes(dataset):
    ids = list(range(1, len(folds.CLASS_NAMES[dataset]) + 1))
    held_out = [folds.test_classes(dataset, fold) for fold in range(folds.num_folds(dataset))]
    assert sorted(sum(held_out, ())) == ids
    for fold, novel in enumerate(held_out):
        base = folds.train_classes(dataset, fold)
        assert not set(base) & set(novel)
        assert sorted(base + novel) == ids
        assert folds.validation_classes(dataset, fold) == base


def test_folds_of_the_paper():
    names = [folds.class_name("pascal5i", c) for c in folds.test_classes("pascal5i", 1)]
    assert names == ["bus", "car", "cat", "chair", "cow"]


def test_coco_folds_interleaved_and_contiguous():
    assert folds.test_classes("coco20i", 0) == tuple(range(1, 78, 4))
    assert folds.test_classes("coco20i", 3) == tuple(range(4, 81, 4))
    assert folds.test_classes("coco20i-contiguous", 0) == tuple(range(1, 21))
    assert folds.test_classes("coco20i-contiguous", 3) == tuple(range(61, 81))


def test_40_20_20_has_one_fold_and_validation_classes_of_its_own():
    name = "coco40-20-20"
    parts = [folds.train_classes, folds.validation_classes, folds.test_classes]
    sets = [choose(name, 0) for choose in parts]
    assert [len(ids) for ids in sets] == [40, 20, 20]
    assert sum(sets, ()) == tuple(range(1, 81))
    for choose in parts:
        with pytest.raises(ValueError, match="fold: expected 0, the only one .*received 1"):
            choose(name, 1)


@pytest.mark.parametrize("dataset", DATASETS)
def test_names_are_distinct(dataset):
    names = folds.CLASS_NAMES[dataset]
    assert len(set(names)) == len(names) == (80 if dataset.startswith("coco") else 20)


@pytest.mark.parametrize("dataset", FOUR_FOLDS)
@pytest.mark.parametrize("fold", [-1, 4, 1.5, "1"])
def test_wrong_fold(dataset, fold):
    with pytest.raises(ValueError, match="fold: expected one of 0..3 .*received"):
        folds.test_classes(dataset, fold)


def test_unknown_dataset_and_class():
    for choose in (folds.train_classes, folds.validation_classes):
        with pytest.raises(ValueError, match="dataset: expected .*pascal5i.*received 'voc'"):
            choose("voc", 0)
    with pytest.raises(ValueError, match="dataset: expected"):
        folds.num_folds("voc")
    for class_id in (0, 21):
        with pytest.raises(ValueError, match=f"class id: expected 1..20 .*received {class_id}"):
            folds.class_name("pascal5i", class_id)
