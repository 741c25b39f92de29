"""The page of one or several evaluations, and what is drawn beside it; from their folders."""

import json
import pathlib

import numpy as np

from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.images import drawing, photos, png_files
from crnet_tf.reporting import charts, document

KINDS = ("best", "median", "worst")
WANTED = ("checkpoint", "dataset", "fold", "classes", "class_names", "rows", "presence")
PAGE = "report.html"
CAPTIONS = "panels.json"  # {kind: captions of the rows of panels-KIND.png}


def clear(out: pathlib.Path) -> None:
    """Takes the charts, panels and page of an earlier evaluation out of a folder."""
    for pattern in ("*_over_*.png", "iou_by_size.png", "class_iou.png", "panels-*.png"):
        for path in out.glob(pattern):
            path.unlink()
    for name in (CAPTIONS, PAGE):
        (out / name).unlink(missing_ok=True)


def illustrate(out: pathlib.Path, evaluation: dict, panels: dict[str, list]) -> None:
    """Adds to a folder of an evaluation its charts, panels, TensorBoard log and page.

    Args:
        out: folder with `evaluation.json` and `episodes.jsonl`.
        evaluation: content of `evaluation.json`.
        panels: {"best" | "median" | "worst": [(caption, picture uint8 [H,W,3])]}.
    """
    drawn = charts.pictures(evaluation, read_episodes(out))
    sheets = {
        f"panels-{kind}": drawing.contact_sheet([picture for _, picture in some])
        for kind, some in panels.items()
        if some
    }
    for name, picture in (drawn | sheets).items():
        png_files.write_png(out / f"{name}.png", picture)
    captions = {kind: [text for text, _ in some] for kind, some in panels.items()}
    files.write_text(out / CAPTIONS, json.dumps(captions, indent=1))
    charts.tensorboard(out / "logs", evaluation, drawn | sheets)
    files.write_text(out / PAGE, report([out]))


def report(folders: list[pathlib.Path]) -> str:
    """The HTML page of one or several evaluation folders, one a fold.

    Raises:
        FileNotFoundError: a folder has no `evaluation.json`.
        ValueError: a file is damaged, or the evaluations are not folds of one experiment.
    """
    evaluations = [read_evaluation(folder) for folder in folders]
    parts = []
    if len(folders) > 1:
        check_folds(folders, evaluations)
        parts.append(document.fold_tables(evaluations))
    for folder, evaluation in zip(folders, evaluations, strict=True):
        episodes = read_episodes(folder)
        pictures, panels = read_pictures(folder)
        pictures |= charts.pictures(evaluation, episodes)
        parts.append(document.section(evaluation, episodes, pictures, panels))
    first = evaluations[0]
    several = f"{first['dataset']}, {len(folders)} folds, {first['classes']} classes"
    return document.whole(several if len(folders) > 1 else document.title(first), *parts)


def check_folds(folders: list[pathlib.Path], evaluations: list[dict]) -> None:
    """Raises ValueError unless all are different folds of one data set and kind of class."""
    seen = {}
    for folder, evaluation in zip(folders, evaluations, strict=True):
        fold, kind = evaluation["fold"], (evaluation["dataset"], evaluation["classes"])
        first = (evaluations[0]["dataset"], evaluations[0]["classes"])
        if kind != first:
            raise InputError(
                f"{folder}: expected {first[1]} classes of {first[0]} as in {folders[0]}, "
                f"received {kind[1]} classes of {kind[0]}. A mean over folds needs folds of "
                "one data set: make a page of each."
            )
        if fold in seen:
            raise InputError(
                f"--evaluations: expected one evaluation of a fold, received two of fold "
                f"{fold}: {seen[fold]} and {folder}. Leave one out, or make a page of each."
            )
        seen[fold] = folder


def read_evaluation(folder: pathlib.Path) -> dict:
    """Content of a folder's `evaluation.json`; see `report` for what is raised."""
    path = folder / "evaluation.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected an evaluation, received nothing: there is no such file. Make "
            f"one: crnet evaluate --checkpoint=... --out={folder}"
        )
    evaluation = _object(path.read_bytes(), path)
    missing = [key for key in WANTED if key not in evaluation]
    if missing:
        raise InputError(
            f"{path}: expected the keys {', '.join(WANTED)}, received none of the name "
            f"{', '.join(missing)}. Another version may have written it: evaluate again."
        )
    return evaluation


def read_episodes(folder: pathlib.Path) -> list[dict]:
    """Lines of a folder's `episodes.jsonl`; none where there is no such file."""
    path = folder / "episodes.jsonl"
    lines = path.read_bytes().splitlines() if path.is_file() else []
    return [
        _object(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()
    ]


def read_pictures(folder: pathlib.Path) -> tuple[dict, list[tuple[str, np.ndarray]]]:
    """PNG files of a folder: {name: picture}, and (caption, picture) of the panels."""
    pictures = {path.stem: photos.read_photo(path) for path in sorted(folder.glob("*.png"))}
    path = folder / CAPTIONS
    captions = files.read_json(path, {})
    panels = []
    for kind in KINDS:
        if f"panels-{kind}" in pictures:
            lines = [f"{kind.capitalize()} episodes by IoU", *captions.get(kind, [])]
            panels.append(("\n".join(lines), pictures.pop(f"panels-{kind}")))
    return pictures, panels


def _object(content, where):
    value = files.parse_json(content, where)
    if not isinstance(value, dict):
        raise InputError(
            f"{where}: expected a JSON object, received {type(value).__name__}. The file is "
            "not of an evaluation: evaluate again."
        )
    return value
