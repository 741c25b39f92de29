"""Two evaluations of the same episodes: is one better than the other?

Of every episode `episodes.jsonl` has the areas of intersection and union. Differences of mIoU
are of one evaluation less the other; their intervals are those of `bootstrap.py`.
"""

import glob
import json
import pathlib

import numpy as np

from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.common.tables import markdown
from crnet_tf.evaluation.bootstrap import mean_iou_difference
from crnet_tf.network import metrics

REMEDY = "Evaluate both with the same records, --seed and --episodes, or the same --manifest."


def compare(first: str, second: str) -> str:
    """Markdown: the scores of both, and the paired difference, of each class, fold and in all.

    Args:
        first, second: folder of an evaluation; or a pattern, such as "runs/a*/evaluation", of
            one folder a fold.

    Raises:
        FileNotFoundError: no such evaluation. InputError: not of the same episodes.
    """
    both = read(first), read(second)
    tables = []
    for shot, protocol in sorted({key[:2] for key in both[0]} & {key[:2] for key in both[1]}):
        for kshot, other in _methods(both, (shot, protocol)):
            title = f"{shot}-shot, {protocol}: {first}, {kshot}, less {second}, {other}"
            pair = both[0][shot, protocol, kshot], both[1][shot, protocol, other]
            tables.append(f"{title}\n\n{_table(*pair)}")
    if not tables:
        raise InputError(
            f"compare: expected evaluations with a --shot and --protocol in common, received "
            f"{_said(both[0])} in {first} and {_said(both[1])} in {second}. {REMEDY}"
        )
    return "\n\n".join(tables)


def read(pattern: str) -> dict[tuple, list[dict]]:
    """Episodes of evaluations: {(shot, protocol, kshot): lines}, each with its fold and the
    name of its class."""
    folders = [pathlib.Path(one) for one in sorted(glob.glob(str(pattern)))]
    folders = [folder for folder in folders if (folder / "evaluation.json").is_file()]
    if not folders:
        raise FileNotFoundError(
            f"compare: expected the folder of an evaluation (with evaluation.json), or a "
            f"pattern of several, received {pattern!r}. Check the path."
        )
    found = {}
    for folder in folders:
        about = files.read_json(folder / "evaluation.json")
        for text in (folder / "episodes.jsonl").read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if "areas" not in line:
                raise InputError(
                    f"compare: expected areas of every episode, received none in {folder}: it "
                    "is of an earlier version. Evaluate again."
                )
            line |= {"fold": about["fold"], "name": about["class_names"][str(line["class_id"])]}
            found.setdefault((line["shot"], line["protocol"], line["kshot"]), []).append(line)
    return found


def _said(found):
    return " and ".join(f"{shot}-shot {protocol}" for shot, protocol in {k[:2] for k in found})


def _methods(both, combination):
    """Pairs of ways to use the supports: those in common, or the only ones."""
    first, second = ([key[2] for key in one if key[:2] == combination] for one in both)
    common = [(kshot, kshot) for kshot in first if kshot in second]
    return common or list(zip(first[:1], second[:1], strict=True))


def _table(first, second):
    episodes = [[_episode(line) for line in lines] for lines in (first, second)]
    if episodes[0] != episodes[1]:
        differing = len({*episodes[0]} ^ {*episodes[1]})
        raise InputError(
            f"compare: expected the same episodes in the same order, received "
            f"{len(first)} and {len(second)}, of which {differing} are in one alone. {REMEDY}"
        )
    class_ids = np.array([line["class_id"] for line in first])
    areas = [np.array([line["areas"] for line in lines]) for lines in (first, second)]
    folds = np.array([line["fold"] for line in first])
    rows = [
        _row(first[np.flatnonzero(class_ids == c)[0]]["name"], class_ids == c, class_ids, areas)
        for c in np.unique(class_ids)
    ]
    if len(np.unique(folds)) > 1:
        rows += [_row(f"fold {f}", folds == f, class_ids, areas) for f in np.unique(folds)]
    rows.append(_row("all", np.full(len(first), True), class_ids, areas))
    head = ["", "episodes", "mIoU of the first", "of the second", "difference (95 %)"]
    return markdown(head, rows, left=1)


def _episode(line):
    return line["fold"], line["class_id"], tuple(line["support"]), line["query"]


def _row(name, chosen, class_ids, areas):
    ids, pair = class_ids[chosen], [one[chosen] for one in areas]
    scores = [f"{100 * metrics.mean_iou_of(ids, one):.1f}" for one in pair]
    return [name, len(ids), *scores, mean_iou_difference(ids, *pair)]
