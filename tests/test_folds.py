import pytest

from crnet_tf import folds

DATASETS = sorted(folds.CLASS_NAMES)


@pytest.mark.parametrize("dataset", DATASETS)
def test_folds_partition_the_classes(dataset):
    ids = list(range(1, len(folds.CLASS_NAMES[dataset]) + 1))
    held_out = [folds.test_classes(dataset, fold) for fold in range(folds.NUM_FOLDS)]
    assert sorted(sum(held_out, ())) == ids
    for fold, novel in enumerate(held_out):
        base = folds.train_classes(dataset, fold)
        assert not set(base) & set(novel)
        assert sorted(base + novel) == ids


def test_folds_of_the_paper():
    names = [folds.class_name("pascal5i", c) for c in folds.test_classes("pascal5i", 1)]
    assert names == ["bus", "car", "cat", "chair", "cow"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_names_are_distinct(dataset):
    assert len(set(folds.CLASS_NAMES[dataset])) == len(folds.CLASS_NAMES[dataset]) == 20


@pytest.mark.parametrize("fold", [-1, 4, 1.5, "1"])
def test_wrong_fold(fold):
    with pytest.raises(ValueError, match="fold: expected one of 0..3 .*received"):
        folds.test_classes("pascal5i", fold)


def test_unknown_dataset_and_class():
    with pytest.raises(ValueError, match="dataset: expected one of .*pascal5i.*received 'voc'"):
        folds.train_classes("voc", 0)
    for class_id in (0, 21):
        with pytest.raises(ValueError, match=f"class id: expected 1..20 .*received {class_id}"):
            folds.class_name("pascal5i", class_id)
