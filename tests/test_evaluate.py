"""Scores: by hand, perfect, void-blind, summed before divided; and the command."""

import dataclasses
import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
import test_model

from crnet_tf import baselines, evaluate, manifest, metrics, model, photos, records

SIZE = test_model.SIZE
TINY = dataclasses.replace(test_model.TINY, fold=1)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return model.build_crnet(TINY)


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "best.keras"
    network.save(path)
    return path


@pytest.fixture
def archive(records_dir, tmp_path):
    """Makes an archive of photos that show their own mask: white foreground and void."""

    def make(masks_by_class):
        archive = manifest.Archive(records.load_index(records_dir), "val", ())
        for class_id, masks in masks_by_class.items():
            archive.by_class[class_id] = {}
            for i, mask in enumerate(masks):
                files = []
                label = np.where(mask == 1, class_id, mask).astype(np.uint8)
                for pixels in (np.stack([np.uint8(mask > 0) * 255] * 3, -1), label):
                    photos.write_png(tmp_path / "a.png", pixels)
                    files.append((tmp_path / "a.png").read_bytes())
                name = f"photo{i}"
                record = records.serialize(files[0], "png", files[1], name, *mask.shape)
                archive.by_class[class_id][name] = record
        return archive

    return make


def box(height=SIZE, width=SIZE, rows=10, columns=20, void=0):
    """uint8 [H,W]: a box of foreground in the corner, rows of void at the bottom."""
    mask = np.zeros((height, width), np.uint8)
    mask[:rows, :columns] = 1
    mask[height - void :] = 255
    return mask


def each_query_once(archive, class_id=1):
    names = sorted(archive.by_class[class_id])
    pairs = zip(names[1:] + names[:1], names, strict=True)
    return [manifest.Entry(class_id, (support,), query) for support, query in pairs]


@pytest.fixture
def white_is_foreground(monkeypatch):
    """A stand-in network that answers what is white."""
    monkeypatch.setattr(
        evaluate,
        "foreground_maps",
        lambda network, images, prototype: {"crnet": images["query_image"][..., :1] - 127.5},
    )
    return types.SimpleNamespace(config=types.SimpleNamespace(image_size=SIZE))


# === Methods ===


def test_all_foreground_by_hand(archive, white_is_foreground):
    shown = archive({1: [box(), box(40, 50, 10, 10, void=10)], 2: [box(20, 20, 5, 20)] * 2})
    entries = each_query_once(shown, 1) + each_query_once(shown, 2)
    totals = evaluate.evaluate(
        white_is_foreground, shown, entries, compared=("all_foreground",)
    )
    result = evaluate.scores(totals)["all_foreground"]
    # Foreground over everything but void, summed over the episodes of a class.
    first, second = (200 + 100) / (33 * 33 + 30 * 50), 100 / 400
    assert result["class_iou"] == pytest.approx({1: first, 2: second})
    assert result["mean_iou"] == pytest.approx((first + second) / 2)
    # No background is found; foreground without regard to the class.
    assert result["fb_iou"] == pytest.approx((300 + 200) / (33 * 33 + 1500 + 800) / 2)


def test_areas_are_summed_not_ious_averaged(archive, white_is_foreground):
    """A large photo counts more than a small one."""
    shown = archive({1: [box(66, 66, 66, 60), box(10, 10, 1, 1)]})
    totals = evaluate.evaluate(
        white_is_foreground, shown, each_query_once(shown), compared=("all_foreground",)
    )
    found = evaluate.scores(totals)["all_foreground"]["mean_iou"]
    assert found == pytest.approx((66 * 60 + 1) / (66 * 66 + 100))
    assert abs(found - (60 / 66 + 1 / 100) / 2) > 0.3


def test_a_perfect_prediction_scores_1_and_void_does_not_count(archive, white_is_foreground):
    """The stand-in takes void for foreground: that is no fault."""
    shown = archive({1: [box(void=7), box(rows=4, void=3)]})
    totals = evaluate.evaluate(white_is_foreground, shown, each_query_once(shown))
    result = evaluate.scores(totals)["crnet"]
    assert result["mean_iou"] == result["fb_iou"] == 1
    assert totals["crnet"][1].sum(axis=0).tolist() == [33 * 26 + 33 * 30] * 2


def test_scores_are_of_the_photos_own_size(archive, white_is_foreground):
    shown = archive({1: [box(100, 80, 50, 40), box(40, 90, 20, 45)]})
    totals = evaluate.evaluate(white_is_foreground, shown, each_query_once(shown))
    assert totals["crnet"][1][:, 1].sum() >= 100 * 80 + 40 * 90
    assert 0.93 < evaluate.scores(totals)["crnet"]["mean_iou"] < 1


def test_the_batch_size_changes_nothing(archive, white_is_foreground):
    shown = archive({1: [box(30 + 9 * i, 60 - 5 * i, 9 + i, 20, void=i) for i in range(5)]})
    found = [
        evaluate.evaluate(
            white_is_foreground,
            shown,
            each_query_once(shown),
            batch_size=size,
            compared=("all_foreground",),
        )
        for size in (1, 2, 5)
    ]
    for other in found[1:]:
        for name, by_class in found[0].items():
            np.testing.assert_array_equal(other[name][1], by_class[1])


def test_every_refinement_step_is_what_the_network_says(network, archive):
    shown = archive({1: [box(), box(rows=20, columns=9)]})
    entries = each_query_once(shown)
    totals = evaluate.evaluate(network, shown, entries, batch_size=1)
    assert sorted(totals) == ["crnet", "crnet_step1", "crnet_step2", "crnet_step3"]
    np.testing.assert_array_equal(totals["crnet"][1], totals["crnet_step3"][1])
    expected = 0
    for batch in manifest.batches(shown, entries, SIZE, 1):
        inputs = {name: batch[name][:, 0] for name in ("support_image", "support_mask")}
        logits = network(inputs | {"query_image": batch["query_image"]})["query"].numpy()[0]
        truth = batch["query_truth"].numpy()[0, ..., 0]
        expected = expected + metrics.areas(logits[..., 1] > logits[..., 0], truth)
    # Pixels on the edge of 1/2 may fall either way.
    np.testing.assert_allclose(totals["crnet"][1], expected, atol=5)


def test_the_prototype_finds_features_that_are_the_label(network):
    """Foreground and background are two directions of the last level; void is a third."""
    random = np.random.default_rng(0)
    image_masks = []
    for _ in range(2):
        mask = np.zeros((2, SIZE, SIZE, 1), np.uint8)
        mask[:, :16, : random.integers(10, 24)] = 1
        mask[:, 28:] = 255
        image_masks.append(mask)
    features = []
    for mask in image_masks:
        value = np.zeros((2, 5, 5, 128), np.float32)
        value[..., :64] = random.normal(0, 100, (2, 5, 5, 64))  # the level below
        cells = mask[:, ::8, ::8, 0]
        for channel, label in enumerate((0, 1, 255)):
            value[..., 64 + channel] = 3 * (cells == label)
        features.append(tf.constant(value))
    found = baselines.prototype(network, features[0], image_masks[0], features[1]).numpy()
    cells = image_masks[1][:, ::8, ::8]
    assert found.shape == (2, 5, 5, 1)
    assert np.all(found[cells == 1] > 0.5) and np.all(found[cells == 0] < -0.5)
    np.testing.assert_allclose(found[cells == 255], 0, atol=0.2)


def test_the_table_has_a_row_a_method_and_a_column_a_class(records_dir):
    areas = np.array([[50, 100], [30, 40]])
    result = evaluate.scores({"crnet": {6: areas, 7: areas}})
    lines = evaluate.table(result, records.load_index(records_dir)).splitlines()
    assert lines[0] == "| method | mIoU | FB-IoU | bus | car |"
    assert lines[2] == "| crnet | 75.0 | 62.5 | 75.0 | 75.0 |"


# === The command ===


def run(monkeypatch, checkpoint, records_dir, out=None, **changed):
    values = {"classes": "novel", "episodes": 6, "seed": 3, "batch_size": 4, "baselines": True}
    arguments = types.SimpleNamespace(
        checkpoint=str(checkpoint),
        records=str(records_dir),
        out=out and str(out),
        **{**values, **changed},
    )
    monkeypatch.setattr(evaluate.flags, "FLAGS", arguments)
    evaluate.main()


def test_the_command_writes_scores_and_manifest(
    checkpoint, records_dir, monkeypatch, tmp_path, capsys
):
    run(monkeypatch, checkpoint, records_dir, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    index = records.load_index(records_dir)
    entries = manifest.draw(manifest.Archive(index, "val", range(6, 11)), 1, 6, seed=3)
    assert lines == [entry.to_json() for entry in entries]
    said = {key: report[key] for key in ("protocol", "dataset", "fold", "classes", "shot")}
    assert list(said.values()) == ["crnet", "pascal5i", 1, "novel", 1]
    assert report["episodes"] == len(lines) == 6 and report["seed"] == 3
    assert report["manifest_sha256"] == manifest.sha256(entries)
    assert report["records_sha256"] == index.sha256 and report["select_on"] == "base"
    methods = {"crnet", "crnet_step1", "crnet_step3", "all_foreground", "prototype"}
    assert methods <= set(report["scores"])
    for row in report["scores"].values():
        assert set(row["class_iou"]) == {str(entry.class_id) for entry in entries}
        assert all(0 <= value <= 1 for value in row["class_iou"].values())
    files = {"evaluation.json", "scores.md", "manifest.jsonl", "panels.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == files
    assert "| all_foreground |" in capsys.readouterr().out


def test_base_classes_go_beside_the_checkpoint_unless_told(
    checkpoint, records_dir, monkeypatch
):
    run(monkeypatch, checkpoint, records_dir, classes="base", baselines=False, episodes=3)
    out = checkpoint.parent / "evaluation"
    report = json.loads((out / "evaluation.json").read_text())
    assert report["classes"] == "base" and "prototype" not in report["scores"]
    ids = [json.loads(x)["class_id"] for x in (out / "manifest.jsonl").read_text().splitlines()]
    assert len(ids) == 3 and not set(ids) & set(range(6, 11))


def test_missing_files_name_the_remedy(checkpoint, records_dir, monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a .keras file.*crnet_tf.train"):
        run(monkeypatch, tmp_path / "none.keras", records_dir)
    with pytest.raises(FileNotFoundError, match="No index.json.*pipelines.build_voc"):
        run(monkeypatch, checkpoint, tmp_path / "nothing")


def changed_index(records_dir, out, change):
    """A copy of the records' index, changed, beside links to the records."""
    content = json.loads((records_dir / "index.json").read_text())
    change(content)
    out.mkdir()
    for split in ("train", "val"):
        (out / split).symlink_to(records_dir / split)
    (out / "index.json").write_text(json.dumps(content))
    return out


def test_records_of_an_unknown_dataset_are_refused(
    checkpoint, records_dir, monkeypatch, tmp_path
):
    other = changed_index(
        records_dir, tmp_path / "other", lambda content: content.update(dataset="coco20i")
    )
    with pytest.raises(ValueError, match="dataset: expected one of .*received 'coco20i'"):
        run(monkeypatch, checkpoint, other)


def test_a_class_with_too_few_photos_is_named(checkpoint, records_dir, monkeypatch, tmp_path):
    other = changed_index(
        records_dir,
        tmp_path / "other",
        lambda content: content["splits"]["val"]["classes"].pop("8"),
    )
    with pytest.raises(ValueError, match=r"every class in the val split.*cat \(8\): 0"):
        run(monkeypatch, checkpoint, other)
