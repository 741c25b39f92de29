"""The page: whole, escaped and self-contained; folds; episodes to look at; damaged folders."""

import base64
import html.parser
import io
import json

import numpy as np
import pytest
from PIL import Image

from crnet_tf.evaluation import panels
from crnet_tf.images import png_files
from crnet_tf.reporting import document, pages

VOID_TAGS = {"meta", "img"}
PICTURE = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


def page(content, episodes, pictures, panels):
    return document.whole(
        document.title(content), document.section(content, episodes, pictures, panels)
    )


class Reader(html.parser.HTMLParser):
    """Text, tags and pictures of a page; raises where tags do not match."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.text, self.cells, self.images = [], [], "", [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID_TAGS:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag == "img":
            head, data = dict(attributes)["src"].split(",")
            assert head == "data:image/png;base64"
            image = Image.open(io.BytesIO(base64.b64decode(data)))
            self.images.append(np.asarray(image))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1].append(data)


def row(method="crnet", mean=0.5, std=None, **more):
    return {
        "method": method,
        "protocol": "crnet",
        "deviations": ["input 225 px"],
        "shot": 1,
        "kshot": "fusion",
        "seeds": [0],
        "manifest_sha256": ["c0ffee"],
        "episodes": 30,
        "select_on": "base",
        "mean_iou": mean,
        "fb_iou": mean + 0.2,
        "mean_iou_std": std,
        "fb_iou_std": std,
        "class_iou": {"6": mean + 0.1, "7": mean - 0.1},
        **more,
    }


def evaluation(rows=None, fold=1, **more):
    return {
        "checkpoint": "runs/<b>one</b>/best.keras",
        "dataset": "pascal5i",
        "records_sha256": "feed",
        "fold": fold,
        "classes": "novel",
        "class_names": {"6": "bus & co", "7": "car"},
        "options": {"batch_size": 4},
        "seconds": 3725.4,
        "rows": [row()] if rows is None else rows,
        "presence": None,
        **more,
    }


def episode(iou, query="q", class_id=1):
    setting = {"seed": 0, "protocol": "crnet", "shot": 1, "kshot": "fusion"}
    return {
        **setting, "class_id": class_id, "support": ["s"], "query": query, "iou": iou,
        "foreground": 0.1, "predicted": 0.1, "presence": None,
    }  # fmt: skip


def folder(path, content, episodes=()):
    path.mkdir()
    (path / "evaluation.json").write_text(json.dumps(content))
    (path / "episodes.jsonl").write_text("".join(json.dumps(e) + "\n" for e in episodes))
    return path


def test_page_says_what_was_run():
    text = Reader(page(evaluation(), [], {}, [])).text
    for said in (
        "runs/<b>one</b>/best.keras", "pascal5i", "feed", "fold 1", "bus & co, car", "c0ffee",
        "departed from: input 225 px", "held-out photos of the training classes", "batch_size",
        "1 h 2 min 5 s", "seed 0",
    ):  # fmt: skip
        assert said in text, said
    text = Reader(page(evaluation([row(select_on="novel")]), [], {}, [])).text
    assert "not clean" in text


def test_page_needs_nothing_else_and_escapes_all_text():
    nasty = '"><script src="http://x/"></script>'
    content = evaluation([row(nasty, protocol=nasty, deviations=[nasty])], dataset=nasty)
    content["class_names"]["6"] = nasty
    content["options"] = {nasty: nasty}
    read = Reader(page(content, [episode(1)], {nasty: PICTURE}, [(nasty, PICTURE)]))
    assert not {"script", "link", "iframe"} & {tag for tag, _ in read.tags}
    for tag, attributes in read.tags:
        assert "href" not in attributes
        assert tag == "img" or "src" not in attributes
    assert "url(" not in document.STYLE and "@import" not in document.STYLE
    assert ("viewport", "width=device-width, initial-scale=1") in [
        (a.get("name"), a.get("content")) for _, a in read.tags
    ]


def test_scores_are_percent_with_the_deviation_of_several_seeds():
    rows = [row(std=0.0123), row("prototype", 0.4), row("crnet_step1", 0.3)]
    rows.append(row("crnet_above0.2", 0.2))
    cells = Reader(page(evaluation(rows), [], {}, [])).cells
    (ours, theirs, step, other) = [line for line in cells if "30" in line]
    assert other[0] == "CRNet, above 0.2" and other[-2:] == ["20.0", "40.0"]
    assert ours[0] == "CRNet" and ours[-2:] == ["50.0 ± 1.2", "70.0 ± 1.2"]
    assert theirs[0] == "prototype" and theirs[-2:] == ["40.0", "60.0"]
    assert step[0] == "CRNet, step 1"
    assert ["CRNet", "1", "fusion", "crnet", "60.0", "40.0"] in cells
    assert not any(line[0].startswith("CRNet, step") and "20.0" in line for line in cells)


def test_a_class_without_a_score_is_a_dash():
    cells = Reader(page(evaluation([row(class_iou={"7": float("nan")})]), [], {}, [])).cells
    assert cells[-1][-2:] == ["–", "–"]


def test_pictures_and_captions_are_in_the_page():
    read = Reader(
        page(evaluation(), [episode(1)], {"by_size": PICTURE}, [("cat: 7", PICTURE + 1)])
    )
    np.testing.assert_array_equal(read.images, [PICTURE, PICTURE + 1])
    assert "By size" in read.text and "cat: 7" in read.text


def test_presence_is_told_where_it_was_measured():
    found = {"auroc": 0.8125, "false_positive_rate": 0.3, "negatives": 300}
    text = Reader(page(evaluation(presence=found), [], {}, [])).text
    assert "0.8125" in text and "30.0" in text and "300" in text
    assert "AUROC" not in Reader(page(evaluation(), [], {}, [])).text


def test_chosen_episodes_are_the_extremes_and_the_middle():
    episodes = [episode(iou / 10, f"q{iou}") for iou in (3, 9, 0, 5, 8, 1, 4, 2, 6, 7, 10)]
    kinds = panels.chosen(episodes, 2)
    assert [e["iou"] for e in kinds["best"]] == [1.0, 0.9]
    assert [e["iou"] for e in kinds["worst"]] == [0.0, 0.1]
    assert [e["iou"] for e in panels.chosen(episodes, 1)["median"]] == [0.5]


def test_ties_do_not_depend_on_the_order():
    episodes = [episode(0.5, f"q{i}") for i in range(20)]
    assert panels.chosen(episodes, 3) == panels.chosen(episodes[::-1], 3)


@pytest.mark.parametrize("total", range(11))
def test_few_episodes_are_shared_out_without_repeats(total):
    kinds = panels.chosen([episode(i / 10, f"q{i}") for i in range(total)], 3)
    shown = [e["query"] for some in kinds.values() for e in some]
    assert len(shown) == len(set(shown)) == min(total, 9)
    assert all(len(some) <= 3 for some in kinds.values())


def test_a_hard_photo_does_not_fill_all_places():
    """A protocol asks for the same query again, with other supports."""
    hard = [episode(0.01 * i, "hard") for i in range(3)]
    kinds = panels.chosen(hard + [episode(0.1 * i, f"q{i}") for i in range(2, 10)], 2)
    assert [e["query"] for e in kinds["worst"]] == ["hard", "q2"]
    assert kinds["worst"][0]["iou"] == 0


def test_caption_tells_class_ids_and_iou():
    text = panels.caption(episode(0.1234, "2007_1", class_id=2), ("bus", "car"))
    assert all(word in text for word in ("car", "12.3", "2007_1", "s"))


def test_folds_get_a_table_with_their_mean(tmp_path):
    folders = [
        folder(tmp_path / "b", evaluation([row(mean=0.6), row("prototype")], fold=1)),
        folder(tmp_path / "a", evaluation([row(mean=0.3)], fold=0)),
    ]
    page = Reader(pages.report(folders))
    assert page.cells[0][4:] == ["fold 0", "fold 1", "mean of 2 folds"]
    assert page.cells[1] == ["CRNet", "1", "fusion", "crnet", "30.0", "60.0", "45.0"]
    assert page.cells[2][-3:] == ["–", "50.0", "–"]  # no mean of a part of the folds
    assert "The folds differ" not in page.text


def test_differences_between_folds_are_told(tmp_path):
    folders = [
        folder(tmp_path / "a", evaluation(fold=0)),
        folder(tmp_path / "b", evaluation([row(episodes=5, select_on="novel")])),
    ]
    assert "The folds differ in episodes, selection." in Reader(pages.report(folders)).text


def test_a_mean_over_other_than_folds_is_refused(tmp_path):
    one = folder(tmp_path / "a", evaluation())
    same = folder(tmp_path / "b", evaluation())
    base = folder(tmp_path / "c", evaluation(fold=0, classes="base"))
    with pytest.raises(ValueError, match="received two of fold 1"):
        pages.report([one, same])
    with pytest.raises(ValueError, match="received base classes"):
        pages.report([one, base])


def test_illustrated_folder_holds_its_page_and_can_be_reported_again(tmp_path):
    rows = [row(), row("crnet_step1"), row("crnet_step2")]
    out = folder(tmp_path / "out", evaluation(rows), [episode(0.5), episode(0.6)])
    panels = {"best": [("first ONE", PICTURE), ("second", PICTURE)], "median": [], "worst": []}
    pages.illustrate(out, evaluation(rows), panels)
    text = (out / "report.html").read_text()
    page = Reader(text)
    assert "Best episodes by IoU\nfirst ONE\nsecond" in page.text
    assert len(page.images) == len(list(out.glob("*.png")))  # each once
    assert list((out / "logs").iterdir())
    png_files.write_png(out / "more.png", PICTURE)
    again = Reader(pages.report([out]))
    assert len(again.images) == len(page.images) + 1 and "More" in again.text


def test_damaged_folders_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file.*crnet evaluate"):
        pages.report([tmp_path])
    for content, match in (
        ("{", "damaged"),
        ("[]", "JSON object"),
        (json.dumps({"scores": {}}), "evaluate again"),
    ):
        (tmp_path / "evaluation.json").write_text(content)
        with pytest.raises(ValueError, match=match):
            pages.report([tmp_path])
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation()))
    pages.report([tmp_path])  # without episodes
    (tmp_path / "episodes.jsonl").write_text(json.dumps(episode(1)) + "\n{")
    with pytest.raises(ValueError, match="episodes.jsonl, line 2"):
        pages.report([tmp_path])
