"""The command: what it draws, scores and writes, and what it refuses before it begins."""

import dataclasses
import json
import types

import keras
import numpy as np
import pytest
from helpers import networks
from helpers.commands import run
from helpers.voc import write_voc

from crnet_tf import evaluate
from crnet_tf.common.cli import MISTAKES
from crnet_tf.common.errors import InputError
from crnet_tf.data import records
from crnet_tf.evaluation import baselines, draws, manifest, protocols, scoring
from crnet_tf.evaluation import run as evaluation_run
from crnet_tf.fewshot import learner as fewshot
from crnet_tf.fewshot.features import base_frame
from crnet_tf.images import photos
from crnet_tf.network import checkpoint as network_checkpoint
from crnet_tf.network import model
from crnet_tf.options import Options
from crnet_tf.reporting import document, pages
from pipelines.build_voc import build_voc
from pipelines.writing.episodes import build_episodes

SIZE = networks.SIZE
TINY = dataclasses.replace(networks.TINY, fold=1, refine_steps=2, dataset="pascal5i")
NOVEL = range(6, 11)
EPISODES = 3
PICTURES = {"panels-best.png", "panels-median.png", "panels-worst.png", "iou_by_size.png"}


@pytest.fixture(scope="module")
def larger_dir(tmp_path_factory):
    """Records with 4 photos of each class in the val split, enough for 3 shots."""
    root = tmp_path_factory.mktemp("larger")
    build_voc(write_voc(root / "VOC2012", train=20, val=40), root / "records")
    return root / "records"


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    network = model.build_crnet(TINY)
    for variable in network.trainable_variables:
        if "classifier" in variable.path:  # starts near 0: any method would answer alike
            variable.assign(30 * variable)
    return network


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "best.keras"
    network.save(path)
    return path


@pytest.fixture
def loaded(network, monkeypatch):
    """Spares the tests of mistakes the reading of the checkpoint."""
    monkeypatch.setattr(evaluation_run, "load_checkpoint", lambda path: network)


@pytest.fixture(scope="module")
def whole(checkpoint, larger_dir, tmp_path_factory):
    """Everything at once: two k, two protocols of one inference, two seeds, negatives."""
    out = tmp_path_factory.mktemp("evaluation") / "out"
    run(
        evaluate, f"--checkpoint={checkpoint}", f"--records={larger_dir}", f"--out={out}",
        "--shot=1,2", "--kshot=fusion", "--protocol=crnet,canet_quick", "--seeds=2",
        "--negatives", f"--episodes={EPISODES}", f"--input_size={SIZE}",
    )  # fmt: skip
    return out


def content(out):
    return json.loads((out / "evaluation.json").read_text())


def episodes_of(out):
    return [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]


def tabled(out):
    """Rows without those of other thresholds."""
    return [r for r in content(out)["rows"] if not r["method"].startswith("crnet_above")]


def row_of(out, method="crnet", **about):
    (row,) = [
        row
        for row in content(out)["rows"]
        if row["method"] == method and all(row[key] == about[key] for key in about)
    ]
    return row


# === Everything at once ===


def test_a_row_for_every_k_protocol_and_method(whole):
    found = content(whole)
    expected = {
        (shot, protocol, method)
        for shot in (1, 2)
        for protocol in ("crnet", "canet_quick")
        for method in (
            *("crnet", "crnet_step1", "crnet_step2", *baselines.BASELINES),
            *(f"crnet_above0.{tenth}" for tenth in range(1, 10)),
        )
    }
    rows = found["rows"]
    assert {(row["shot"], row["protocol"], row["method"]) for row in rows} == expected
    assert len(rows) == len(expected)
    for row in rows:
        assert row["kshot"] == "fusion" and row["way"] == 1 and row["select_on"] == "base"
        assert row["seeds"] == [0, 1] and row["episodes"] == EPISODES
        assert row["mean_iou_std"] is not None and len(row["per_seed"]) == 2
        assert all(0 <= value <= 1 for value in row["class_iou"].values())
    about = {key: found[key] for key in ("dataset", "fold", "classes")}
    assert about == {"dataset": "pascal5i", "fold": 1, "classes": "novel"}
    assert found["class_names"] == dict(
        zip("6 7 8 9 10".split(), "bus car cat chair cow".split(), strict=True)
    )


def test_what_was_drawn_is_written_down_with_its_hash(whole, larger_dir):
    index = records.load_index(larger_dir)
    archive = manifest.Archive(index, "val", NOVEL)
    assert content(whole)["records_sha256"] == index.sha256
    for shot in (1, 2):
        hashes = []
        for seed in (0, 1):
            entries = manifest.draw(archive, shot, EPISODES, seed)
            assert manifest.read(whole / f"manifest-crnet-{shot}shot-{seed}.jsonl") == entries
            hashes.append(manifest.sha256(entries))
        for protocol in ("crnet", "canet_quick"):  # one inference, one manifest
            row = row_of(whole, shot=shot, protocol=protocol)
            assert row["manifest_sha256"] == hashes


def test_a_row_says_where_it_departs_from_its_protocol(whole):
    quick, own = (row_of(whole, shot=1, protocol=p) for p in ("canet_quick", "crnet"))
    asked = min(len(seed["class_iou"]) for seed in own["per_seed"])
    assert asked < len(NOVEL)  # of few episodes
    few = [f"{EPISODES} episodes (protocol: 1000)", "seeds 0,1 (protocol: 0)"]
    few += ["edges that follow the photo on (protocol: off)"]
    few += [f"{asked} of {len(NOVEL)} classes asked (protocol: all)"]
    assert own["deviations"] == few
    assert quick["deviations"] == [f"input {SIZE} px (protocol: 321)", *few]


def test_the_command_scores_as_scoring_does(whole, network, larger_dir):
    """By hand: one k, both protocols, the last seed; two supports fused."""
    archive = manifest.Archive(records.load_index(larger_dir), "val", NOVEL)
    learner = fewshot.Learner(network, Options(), base_frame(network))
    scored = tuple(protocols.PROTOCOLS[name] for name in ("crnet", "canet_quick"))
    found = scoring.evaluate(
        learner, archive, manifest.draw(archive, 2, EPISODES, 1), scoring=scored,
        compared=baselines.BASELINES,
    )  # fmt: skip
    for protocol, totals in found.totals.items():
        for method, by_class in totals.items():
            one = row_of(whole, method, shot=2, protocol=protocol)["per_seed"][1]
            for class_id, areas in by_class.items():
                iou = areas[1, 0] / max(areas[1, 1], 1)
                assert one["class_iou"][str(class_id)] == pytest.approx(iou, abs=1e-3)


def test_the_protocols_score_the_same_answers_differently(whole):
    for method in ("crnet", "all_foreground"):
        own, quick = (
            row_of(whole, method, shot=1, protocol=protocol)["mean_iou"]
            for protocol in ("crnet", "canet_quick")
        )
        assert own != quick
    # Void around the objects counts as background in one of them.
    assert own > quick


def test_every_episode_has_a_line(whole):
    lines = episodes_of(whole)
    assert [(e["shot"], e["seed"]) for e in lines] == [
        (shot, seed) for shot in (1, 2) for seed in (0, 1) for _ in range(EPISODES)
    ]
    for line in lines:
        assert line["protocol"] == "crnet" and line["kshot"] == "fusion"
        assert len(line["support"]) == line["shot"] and line["class_id"] in NOVEL
        assert 0 < line["foreground"] < 1 and 0 <= line["iou"] <= 1
    second = [(e["class_id"], e["query"]) for e in lines if e["shot"] == 2]
    assert second == [(e["class_id"], e["query"]) for e in lines if e["shot"] == 1]


def test_the_presence_of_objects_is_asked_for_too(whole):
    found = content(whole)["presence"]
    assert found["negatives"] == 2 * EPISODES and 0 <= found["auroc"] <= 1
    assert 0 <= found["mean_false_area"] <= found["false_positive_rate"] <= 1


def test_the_folder_holds_table_charts_panels_page_and_log(whole):
    names = {path.name for path in whole.iterdir()}
    assert {"evaluation.json", "scores.md", "episodes.jsonl", "report.html", "logs"} <= names
    assert PICTURES | {"class_iou.png"} <= names
    assert list((whole / "logs").glob("events.*"))
    assert not any(".partial" in name or name.startswith(".") for name in names)
    for path in whole.glob("*.png"):
        assert photos.read_photo(path).std() > 1
    lines = (whole / "scores.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(tabled(whole)) and lines[len(table)] == ""
    assert f"crnet: {EPISODES} episodes a seed; " in lines[len(table) + 1]
    for line in table[2:]:
        assert " 0, 1 |" in line and " base |" in line and " ± " in line
        assert content(whole)["rows"][0]["manifest_sha256"][0][:12] in line or "| 2 |" in line
    page = (whole / "report.html").read_text()
    assert "canet_quick" in page and page.count("data:image/png;base64,") >= 4
    first = episodes_of(whole)[: 2 * EPISODES]
    assert all(line["query"] in page for line in first)  # of each setting up to nine


# === Other ways to ask ===


def small(checkpoint, records_dir, out, *arguments):
    run(
        evaluate, f"--checkpoint={checkpoint}", f"--records={records_dir}",
        *([f"--out={out}"] if out else []), "--nobaselines", *arguments,
    )  # fmt: skip


@pytest.fixture
def no_pictures(monkeypatch):
    """Charts and panels take longer than the networks of these tests."""
    monkeypatch.setattr(pages, "illustrate", lambda *_: None)


@pytest.fixture(scope="module")
def tuned(checkpoint, larger_dir, tmp_path_factory):
    """One and two shots, fused, averaged and fine-tuned: one shot is fused only."""
    out = tmp_path_factory.mktemp("tuned")
    small(
        checkpoint, larger_dir, out, "--kshot=fusion,mean,finetune+fusion", "--shot=1,2",
        "--finetune_steps=1", "--finetune_rate=0.01", "--episodes=3", "--seed=7",
    )  # fmt: skip
    return out


@pytest.mark.slow
def test_fine_tuning_is_compared_with_fusion_on_the_same_episodes(tuned):
    asked = [(1, "fusion"), (2, "fusion"), (2, "mean"), (2, "finetune+fusion")]
    assert [(r["shot"], r["kshot"]) for r in tabled(tuned)[::3]] == asked
    assert len(episodes_of(tuned)) == 12
    rows = [row_of(tuned, shot=2, kshot=kshot) for _, kshot in asked[1:]]
    assert len({tuple(row["manifest_sha256"]) for row in rows}) == 1
    assert len({row["mean_iou"] for row in rows}) == 3 and rows[0]["seeds"] == [7]
    assert content(tuned)["options"]["finetune_steps"] == 1


@pytest.mark.slow
def test_litert_is_scored_as_the_network_is(
    tuned, checkpoint, larger_dir, tmp_path, no_pictures
):
    pytest.importorskip("ai_edge_litert")
    asked = "--engine=litert", "--kshot=fusion,mean", "--shot=2", "--episodes=3", "--seed=7"
    small(checkpoint, larger_dir, tmp_path, *asked)
    for kshot in ("fusion", "mean"):
        own, keras = (row_of(out, shot=2, kshot=kshot) for out in (tmp_path, tuned))
        assert own["mean_iou"] == pytest.approx(keras["mean_iou"], abs=2e-3)
        assert own["manifest_sha256"] == keras["manifest_sha256"]
    assert (content(tuned)["engine"], content(tmp_path)["engine"]) == ("keras", "litert")
    with pytest.raises(InputError, match=f"squares of {SIZE} px, received .*size=41"):
        small(checkpoint, larger_dir, tmp_path, *asked, "--input_size=41")


def test_the_panels_are_of_one_method_each_episode_once(tuned):
    captions = json.loads((tuned / "panels.json").read_text())
    shown = [caption for some in captions.values() for caption in some]
    assert len(shown) == len(set(shown)) == 3
    first = episodes_of(tuned)[:3]
    assert all(any(e["query"] in text for text in shown) for e in first)


def test_fine_tuning_two_supports(checkpoint, larger_dir, tmp_path, no_pictures):
    small(
        checkpoint, larger_dir, tmp_path, "--kshot=finetune+fusion", "--shot=2",
        "--finetune_steps=1", "--finetune_rate=0.01", "--episodes=1", "--seed=7",
        "--test_scales=1,1.25", f"--input_size={SIZE + 8}",
    )  # fmt: skip
    row = row_of(tmp_path)
    assert (row["shot"], row["kshot"]) == (2, "finetune+fusion")
    assert "scales 1,1.25 (protocol: 1)" in row["deviations"]
    assert f"input {SIZE + 8} px (protocol: {SIZE})" in row["deviations"]


def test_baselines_stand_beside_the_first_method_of_a_k(
    checkpoint, larger_dir, tmp_path, no_pictures
):
    small(
        checkpoint, larger_dir, tmp_path, "--kshot=fusion,mean,finetune", "--shot=2",
        "--baselines", "--episodes=1", "--finetune_steps=1",
    )  # fmt: skip
    found = [(r["method"], r["kshot"]) for r in tabled(tmp_path)]
    assert {kshot for _, kshot in found} == {"fusion", "mean", "finetune"}
    assert [kshot for method, kshot in found if method == "prototype"] == ["fusion"]


def test_pictures_of_an_earlier_evaluation_go(checkpoint, larger_dir, tmp_path, no_pictures):
    for name in ("mean_iou_over_shots.png", "panels-best.png", "report.html", "mine.png"):
        (tmp_path / name).write_bytes(b"old")
    small(checkpoint, larger_dir, tmp_path, "--episodes=1")
    assert not {"mean_iou_over_shots.png", "panels-best.png", "report.html"} & {
        path.name for path in tmp_path.iterdir()
    }
    assert (tmp_path / "mine.png").read_bytes() == b"old"


def test_a_manifest_is_evaluated_as_drawn(tuned, checkpoint, larger_dir, tmp_path, no_pictures):
    path = tuned / "manifest-crnet-2shot-7.jsonl"
    small(checkpoint, larger_dir, tmp_path, f"--manifest={path}", "--shot=2")
    row, drawn = row_of(tmp_path), row_of(tuned, shot=2, kshot="fusion")
    assert row["manifest_sha256"] == drawn["manifest_sha256"] and row["episodes"] == 3
    assert row["class_iou"] == drawn["class_iou"] and row["seeds"] == [path.stem]


def test_several_classes_at_once(checkpoint, larger_dir, tmp_path):
    small(checkpoint, larger_dir, tmp_path, "--way=2", "--episodes=2", "--seeds=2")
    (row,) = content(tmp_path)["rows"]
    assert row["method"] == "crnet" and row["way"] == 2 and row["seeds"] == [0, 1]
    index = records.load_index(larger_dir)
    archive = manifest.Archive(index, "val", NOVEL)
    entries = [manifest.draw_ways(archive, 2, 1, 2, seed) for seed in (0, 1)]
    assert row["manifest_sha256"] == [manifest.sha256(drawn) for drawn in entries]
    asked = {str(c) for drawn in entries for entry in drawn for c in entry.classes}
    assert set(row["class_iou"]) == asked
    names = {path.name for path in tmp_path.iterdir()}
    assert {"scores.md", "report.html", "manifest-crnet-1shot-1.jsonl"} <= names


def test_base_classes_go_beside_the_checkpoint_unless_told(
    checkpoint, records_dir, no_pictures
):
    small(checkpoint, records_dir, None, "--classes=base", "--episodes=3")
    out = checkpoint.parent / "evaluation"
    assert content(out)["classes"] == "base" and len(tabled(out)) == 3
    ids = [line["class_id"] for line in episodes_of(out)]
    assert len(ids) == 3 and not set(ids) & set(NOVEL)


@pytest.mark.parametrize("named", [False, True])
def test_the_model_that_comes_along_is_scored_here(
    named, checkpoint, records_dir, tmp_path, monkeypatch, no_pictures
):
    """Not in the folder of the package, where the file is."""
    for module in (evaluation_run, network_checkpoint):
        monkeypatch.setattr(module, "START", checkpoint)
    monkeypatch.chdir(tmp_path)
    small(checkpoint if named else "", records_dir, None, "--classes=all", "--episodes=1")
    assert content(tmp_path / "evaluation")["checkpoint"] == str(checkpoint)


def test_protocols_of_other_splits_stand_side_by_side(checkpoint, records_dir, tmp_path):
    """Their photos are not in one archive; the panels are of the first."""
    small(
        checkpoint, records_dir, tmp_path, "--protocol=crnet,panet", "--episodes=2",
        f"--input_size={SIZE}", "--seeds=1",
    )  # fmt: skip
    assert [row["protocol"] for row in tabled(tmp_path)[::3]] == ["crnet", "panet"]
    splits = {e["protocol"]: e["query"].split("_")[1] for e in episodes_of(tmp_path)}
    assert splits == {"crnet": "val", "panet": "train"}
    (tmp_path / "report.html").stat()


# === Mistakes, before anything is computed ===


def refused(kind, message, out, *arguments):
    """Raises what a user sees as one line, and leaves nothing behind."""
    with pytest.raises(kind, match=message) as error:
        run(evaluate, f"--out={out}", *arguments)
    assert isinstance(error.value, MISTAKES) and not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol=crnet,voc"], "protocol: expected one of crnet, .* received 'voc'"),
        (["--kshot="], "--kshot: expected one or several, each once, received none"),
        (["--shot=1,5,1"], "--shot: expected one or several, each once, received 1,5,1"),
        (["--protocol="], "--protocol: expected one or several"),
        (["--shot="], "--shot: expected one or several"),
        (["--kshot=fusion,both"], "kshot: expected one of .* received 'both'"),
        (["--shot=1,x"], "--shot: expected numbers from 1 on .* received '1,x'"),
        (["--shot=0"], "--shot: expected numbers from 1 on"),
        (["--shot=1,2"], r"2-shot episodes need at least 3 photos.*bus \(6\): 2"),
        (["--test_scales=1,0.5"], "scales: expected all to give at least 33 px, received 0.5"),
        (["--kshot=finetune"], "expected at least 2 labelled photos, .*--kshot=fusion"),
        (["--shot=1,2", "--kshot=finetune+fusion"], "expected at least 2 labelled photos"),
        (["--way=6"], "way: expected 1..5, .*received 6"),
        (["--way=2", "--negatives"], "--way: expected 1 beside --manifest, --negatives"),
        (["--way=2", "--protocol=crnet,hsnet"], "--way: expected one --protocol beside"),
        (["--manifest=m.jsonl", "--seeds=5"], "--manifest: expected it without --episodes"),
        (["--input_size=32"], "input_size: expected at least 33 px, .* received 32"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)  # fmt: skip
def test_mistakes_are_named_at_once(loaded, records_dir, tmp_path, arguments, message):
    arguments = ["--checkpoint=any.keras", f"--records={records_dir}", *arguments]
    refused(ValueError, message, tmp_path / "out", *arguments)


@pytest.fixture
def begun(loaded, monkeypatch):
    """Combinations that a command tried out, and began to compute; it stops there."""
    seen = types.SimpleNamespace(tried=[], begun=False)
    combinations = evaluation_run.Run.combinations

    def tried(self):
        seen.tried = [
            (shot, kshot, *(p.name for p in group)) for shot, kshot, group in combinations(self)
        ]
        return combinations(self)

    def score(*_):
        seen.begun = True
        raise InterruptedError

    monkeypatch.setattr(evaluation_run.Run, "combinations", tried)
    monkeypatch.setattr(evaluation_run.Run, "score", score)
    return seen


def tried(begun, records_dir, out, *arguments):
    """What a command would compute: (k, k-shot method, protocols of one inference)."""
    with pytest.raises(InterruptedError):
        small("any.keras", records_dir, out, *arguments)
    return begun.tried


@pytest.mark.parametrize("last", ["--shot=1,2,9", "--kshot=fusion,none"])
def test_a_mistake_in_the_last_combination_stops_before_the_first(
    begun, larger_dir, tmp_path, last
):
    refused(
        ValueError, "received", tmp_path / "out", "--checkpoint=any.keras",
        f"--records={larger_dir}", last,
    )  # fmt: skip
    assert not begun.begun


def test_a_single_support_is_fine_tuned_on_with_views_only(begun, larger_dir, tmp_path):
    arguments = [begun, larger_dir, tmp_path, "--shot=1,2", "--kshot=finetune,fusion"]
    without = [(1, "fusion", "crnet"), (2, "finetune", "crnet"), (2, "fusion", "crnet")]
    assert tried(*arguments) == without
    assert tried(*arguments, "--finetune_views=1") == [(1, "finetune", "crnet"), *without]


def test_what_fine_tunes_stands_together(begun, larger_dir, tmp_path):
    """Together it adapts to an episode's supports once."""
    arguments = [begun, larger_dir, tmp_path, "--shot=2"]
    found = tried(*arguments, "--kshot=finetune,fusion,finetune+fusion,mean")
    kshots = [kshot for _, kshot, _ in found]
    assert kshots == ["finetune", "finetune+fusion", "fusion", "mean"]


def test_protocols_share_an_inference_where_they_can(begun, larger_dir, tmp_path):
    arguments = ["--protocol=crnet,hsnet,canet_quick", f"--input_size={SIZE}"]
    found = tried(begun, larger_dir, tmp_path, *arguments)
    assert found == [(1, "fusion", "crnet", "canet_quick"), (1, "fusion", "hsnet")]


def test_stored_episodes_are_scored_like_their_manifest(
    checkpoint, larger_dir, tmp_path, no_pictures
):
    """The photos come along in the TFRecord: the same scores from either."""
    stored = tmp_path / "episodes"
    build_episodes(larger_dir, 1, stored, shot=2, episodes=2, seeds=(5,), tfrecords=True)
    found = []
    for name in ("manifest-seed5.jsonl", "episodes-seed5.tfrecord"):
        out = tmp_path / name.split("-")[0]
        small(checkpoint, larger_dir, out, f"--manifest={stored / name}", "--shot=2")
        found.append(
            (row_of(out)["manifest_sha256"], row_of(out)["class_iou"], episodes_of(out))
        )
    (*scores, lines), (*others, other_lines) = found
    assert scores == others
    for line, other in zip(lines, other_lines, strict=True):
        assert line | {"seed": 0} == other | {"seed": 0}


def test_stored_squares_and_episodes_of_other_classes_are_refused(loaded, larger_dir, tmp_path):
    arguments = ["--checkpoint=any.keras", f"--records={larger_dir}"]
    for fold, size, message in (
        (1, 33, "expected episodes with the photos' own bytes, received squares of 33 px"),
        (0, None, "expected episodes of the classes.*received \\["),
    ):
        stored = tmp_path / f"fold{fold}"
        build_episodes(larger_dir, fold, stored, episodes=1, tfrecords=True, image_size=size)
        path = stored / "episodes-seed0.tfrecord"
        refused(ValueError, message, tmp_path / "out", *arguments, f"--manifest={path}")


def test_manifests_of_other_records_and_shots_are_refused(loaded, records_dir, tmp_path):
    path, out = tmp_path / "mine.jsonl", tmp_path / "out"
    arguments = ["--checkpoint=any.keras", f"--records={records_dir}", f"--manifest={path}"]
    manifest.write(path, [manifest.Entry(6, ("not_here",), "nor_this")])
    refused(ValueError, "mine.jsonl: a manifest of other records.*not_here", out, *arguments)
    names = sorted(manifest.Archive(records.load_index(records_dir), "val", [6]).names[6])
    manifest.write(path, [manifest.Entry(6, (names[0],), names[1])])
    message = "expected episodes of 2 supports, received 1"
    refused(ValueError, message, out, *arguments, "--shot=2")
    refused(ValueError, "--way: expected 1 beside --manifest", out, *arguments, "--way=2")
    refused(FileNotFoundError, "gone.jsonl", out, *arguments[:2], "--manifest=gone.jsonl")


def test_a_manifest_with_repeated_supports_is_hsnets(begun, records_dir, tmp_path):
    names = sorted(manifest.Archive(records.load_index(records_dir), "val", [6]).names[6])
    path = tmp_path / "mine.jsonl"
    manifest.write(path, [manifest.Entry(6, (names[0],) * 3, names[1])])
    arguments = [f"--manifest={path}", "--shot=3"]
    with pytest.raises(ValueError, match="has a support twice"):
        small("any.keras", records_dir, tmp_path / "out", *arguments)
    assert tried(begun, records_dir, tmp_path / "out", *arguments, "--protocol=hsnet")


def test_missing_files_name_the_remedy(checkpoint, records_dir, tmp_path):
    out = tmp_path / "out"
    refused(
        FileNotFoundError, "expected a .keras file.*crnet train", out,
        f"--checkpoint={tmp_path}/none.keras", f"--records={records_dir}",
    )  # fmt: skip
    refused(
        FileNotFoundError, "No index.json.*crnet build voc", out,
        f"--checkpoint={checkpoint}", f"--records={tmp_path}/nothing",
    )  # fmt: skip


def test_a_folder_that_is_no_records_is_never_advised_as_their_place(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation_run, "load_checkpoint", lambda path: pytest.fail("loaded"))
    refused(
        FileNotFoundError, "received another folder.*--out=records/NAME", tmp_path / "out",
        "--checkpoint=any.keras", f"--records={tmp_path}",
    )  # fmt: skip


def test_mistakes_in_flags_are_said_before_a_network_is_loaded(
    records_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluation_run, "load_checkpoint", lambda path: pytest.fail("loaded"))
    arguments = ["--checkpoint=any.keras", f"--records={records_dir}"]
    for flag, message in (("protocol=pfnet", "received 'pfnet'"), ("shot=", "--shot: exp")):
        refused(ValueError, message, tmp_path / "out", *arguments, f"--{flag}")


def changed_index(records_dir, out, change):
    """A copy of the records' index, changed, beside links to the records."""
    text = json.loads((records_dir / "index.json").read_text())
    change(text)
    out.mkdir()
    for split in ("train", "val"):
        (out / split).symlink_to(records_dir / split)
    (out / "index.json").write_text(json.dumps(text))
    return out


def test_records_of_another_dataset_than_the_checkpoints_are_refused(
    loaded, records_dir, tmp_path
):
    """Its unseen classes are known for its own data set only."""
    other = changed_index(
        records_dir, tmp_path / "other", lambda text: text.update(dataset="coco20i")
    )
    refused(
        ValueError, "trained on fold 1 of pascal5i: expected records of it, .* of coco20i",
        tmp_path / "out", "--checkpoint=any.keras", f"--records={other}",
    )  # fmt: skip


def test_all_classes_of_another_data_set_can_be_asked_for(
    checkpoint, larger_dir, tmp_path, no_pictures
):
    other = changed_index(
        larger_dir,
        tmp_path / "other",
        lambda text: text.update(dataset="mine", folds=[[1, 2]]),
    )
    small(checkpoint, other, tmp_path / "out", "--classes=all", "--episodes=5")
    made = content(tmp_path / "out")
    assert document.title(made) == "mine, all classes"
    assert list(map(int, made["class_names"])) == [*range(1, 21)]
    assert {line["class_id"] for line in episodes_of(tmp_path / "out")} - set(NOVEL)
    for row in made["rows"]:
        assert "all classes (protocol: novel)" in row["deviations"]


def test_a_class_with_too_few_photos_is_named(loaded, records_dir, tmp_path):
    other = changed_index(
        records_dir,
        tmp_path / "other",
        lambda text: text["splits"]["val"]["classes"].pop("8"),
    )
    refused(
        ValueError, r"every class in the val split.*cat \(8\): 0", tmp_path / "out",
        "--checkpoint=any.keras", f"--records={other}",
    )  # fmt: skip


def test_a_calibration_looks_at_no_class_of_its_fold(
    checkpoint, network, larger_dir, tmp_path, no_pictures, monkeypatch
):
    calibrated = dataclasses.replace(network.config, calibration_fold=0)
    monkeypatch.setattr(network, "config", calibrated)
    monkeypatch.setattr(evaluation_run, "load_checkpoint", lambda path: network)
    small(checkpoint, larger_dir, tmp_path, "--episodes=1")
    assert content(tmp_path)["classes"] == "calibration"
    assert set(content(tmp_path)["class_names"]) == set("12345")
    small(checkpoint, larger_dir, tmp_path, "--episodes=1", "--classes=base")
    assert content(tmp_path)["classes"] == "base"
    assert set(map(int, content(tmp_path)["class_names"])) == set(range(11, 21))


def test_an_older_checkpoint_that_does_not_know_its_data_set(network, records_dir):
    index = records.load_index(records_dir)
    older = type("Older", (), {"config": dataclasses.replace(TINY, dataset="")})
    assert draws.chosen_classes(older, index, "novel") == tuple(NOVEL)
    base = draws.chosen_classes(network, index, "base")
    assert len(base) == 15 and not set(base) & set(NOVEL)
    np.testing.assert_array_equal(sorted({*base, *NOVEL}), np.arange(1, 21))
