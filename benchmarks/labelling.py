"""What few-shot answers save whoever labels photos: the loop of docs/guides/label.md, played.

    python -m benchmarks.labelling --voc_dir=VOC2012 --classes=cat,cow,dog --out=runs/labelling

Of each class the first photos of val that show it, with 2,048 px or more. An annotator who
knows the true mask paints strokes 8 px wide along the middle of the largest wrong region. After
each, the tool of the server's page (`images/growing.py`) makes a mask of them, until its IoU
with the true one is --goal or there are --most strokes. Every photo is labelled twice: from
nothing, and from what is found in it with the photos labelled before as examples, which are
taken up after 5, 10 and 20 photos. "Poor ones cleared" counts, of answers whose IoU is below
0.7, the strokes from nothing: an annotator would see that. Writes `strokes.csv` and
`labelling.png` into --out.
"""

import collections
import dataclasses
import pathlib

import numpy as np
from absl import flags
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from scipy import ndimage

from crnet_tf.common import cli, files, tables
from crnet_tf.common.errors import InputError
from crnet_tf.data.folds import PASCAL_CLASSES
from crnet_tf.fewshot.segmenter import Segmenter
from crnet_tf.images import growing
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.images.mask_values import BACKGROUND, FOREGROUND, VOID, class_mask
from crnet_tf.images.photos import read_photo
from pipelines.sources import voc

LEAST = 2048  # px of the thing
ROUNDS = (5, 10, 20)  # labelled photos after which all of them become the examples
WIDTH = 8  # px of a stroke
POOR = 0.7  # IoU of an answer that is cleared
_AROUND = np.ones((3, 3))


@dataclasses.dataclass(frozen=True)
class Row:
    """A photo that was labelled.

    Attributes:
        number: from 1 on, in its class.
        strokes, iou: from nothing; and `helped_` from the answer.
        answers: IoU of the answer after each of `ROUNDS` that came before the photo.
    """

    class_name: str
    number: int
    strokes: int
    iou: float
    helped_strokes: int
    helped_iou: float
    answers: dict[int, float]

    @property
    def best_strokes(self) -> int:
        """From the newest answer, or from nothing where that is poor."""
        is_poor = self.answers and self.answers[max(self.answers)] < POOR
        return self.strokes if is_poor else self.helped_strokes


# === The annotator ===


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """IoU of masks [H,W]; void of the truth counts nowhere."""
    known = truth != VOID
    found, there = (mask == FOREGROUND) & known, truth == FOREGROUND
    return float((found & there).sum() / max(1, (found | there).sum()))


def largest(wrong: np.ndarray) -> np.ndarray:
    """The largest connected region bool [H,W] of another; as empty as that."""
    regions, _ = ndimage.label(wrong, _AROUND)
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    return wrong & (regions == sizes.argmax())


def stroke(region: np.ndarray) -> np.ndarray:
    """bool [H,W]: straight, in the direction that a region is longest in, through the pixel
    that is farthest from its edge, as far as the region goes."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    middle = np.array(np.unravel_index(depth.argmax(), depth.shape))
    places = np.argwhere(region)
    along = np.linalg.eigh(np.cov(places.T))[1][:, -1] if len(places) > 2 else np.zeros(2)
    inner, ends = depth >= min(WIDTH / 2, depth.max() / 2), []
    for direction in (along, -along):
        steps = np.round(middle + direction * np.arange(max(region.shape))[:, None]).astype(int)
        steps = steps[((steps >= 0) & (steps < region.shape)).all(axis=1)]
        outside = np.flatnonzero(~inner[tuple(steps.T)])
        row, column = steps[outside[0] - 1 if len(outside) else -1].tolist()
        ends.append((column, row))
    canvas = Image.new("1", region.shape[::-1])
    ImageDraw.Draw(canvas).line(ends, fill=1, width=int(min(WIDTH, 2 * depth.max())))
    painted = np.array(canvas)
    painted[tuple(middle)] = True
    return painted & region


def corrected(
    photo: LabelledPhoto, start: np.ndarray, goal: float, most: int
) -> tuple[np.ndarray, int]:
    """The mask [H,W] of 0 and 1 that an annotator ends with, and the strokes it took.

    Args:
        photo: with its true mask.
        start: uint8 [H,W], 0 and 1; from an empty one the mask is grown, others are corrected.
    """
    truth, mask = photo.mask, start
    painted = np.full(truth.shape, VOID, np.uint8)
    for count in range(most):
        if iou(mask, truth) >= goal:
            return mask, count
        missing = largest((truth == FOREGROUND) & (mask != FOREGROUND))
        wrong = largest((truth == BACKGROUND) & (mask == FOREGROUND))
        is_missing = missing.sum() >= wrong.sum()
        value = FOREGROUND if is_missing else BACKGROUND
        painted[stroke(missing if is_missing else wrong)] = value
        mask = growing.grown(photo.image, painted, mask if start.any() else None)
    return mask, most


# === The loop ===


def photos_of(root: pathlib.Path, class_name: str, count: int) -> list[LabelledPhoto]:
    """The first photos of val that show a class, with their true masks.

    Raises InputError where there are fewer.
    """
    if class_name not in PASCAL_CLASSES:
        raise InputError(f"--classes: expected VOC's, received {class_name!r}.")
    class_id, found = PASCAL_CLASSES.index(class_name) + 1, []
    for one in voc.list_photos(root)["val"]:
        mask = class_mask(voc.read_label(one), class_id)
        if (mask == FOREGROUND).sum() >= LEAST:
            found.append(LabelledPhoto(read_photo(one.path), mask, one.name))
        if len(found) == count:
            return found
    raise InputError(
        f"--photos: expected at most {len(found)} of {class_name!r}, which val has, received "
        f"{count}."
    )


def played(
    segmenter: Segmenter, photos: list[LabelledPhoto], class_name: str, goal: float, most: int
) -> list[Row]:
    """Labels photos of a class one after the other, twice."""
    rows, labelled, answers = [], [], {}
    for number, photo in enumerate(photos, 1):
        nothing = np.zeros(photo.mask.shape, np.uint8)
        mask, strokes = corrected(photo, nothing, goal, most)
        helped, helped_strokes = mask, strokes
        told = {k: iou(masks[number - 1], photo.mask) for k, masks in answers.items()}
        if answers:
            newest = answers[max(answers)][number - 1]
            helped, helped_strokes = corrected(photo, newest, goal, most)
        ious = iou(mask, photo.mask), iou(helped, photo.mask)
        rows.append(Row(class_name, number, strokes, ious[0], helped_strokes, ious[1], told))
        labelled.append(LabelledPhoto(photo.image, helped, photo.name))
        if number in ROUNDS and number < len(photos):
            segmenter.fit(labelled)
            found = segmenter.predict([one.image for one in photos[number:]])
            answers[number] = [None] * number + [one.mask for one in found]
    return rows


# === What came out ===


def table(rows: list[Row]) -> str:
    """Markdown, a line a class and one of all: strokes in all, photos that needed none, and
    IoU of answers in the photos that come after all rounds."""
    names = list(dict.fromkeys(row.class_name for row in rows))
    kept = [(name, [r for r in rows if r.class_name == name]) for name in names]
    kept += [("all", rows)] if len(names) > 1 else []
    rounds = sorted({k for row in rows for k in row.answers})
    heading = ["", "photos", "strokes from nothing", "from answers", "poor ones cleared"]
    heading += ["photos without a stroke", *(f"IoU after {k}" for k in rounds)]
    lines = []
    for name, own in kept:
        last = [row for row in own if len(row.answers) == len(rounds)]
        ways = ("strokes", "helped_strokes", "best_strokes")
        strokes = [sum(getattr(row, way) for row in own) for way in ways]
        none = sum(row.helped_strokes == 0 for row in own)
        means = [f"{np.mean([row.answers[k] for row in last]):.2f}" for k in rounds]
        lines.append([name, len(own), *strokes, none, *means])
    return tables.markdown(heading, lines)


def cells(rows: list[Row]) -> list[list]:
    """All rows, below their heading."""
    heading = [field.name for field in dataclasses.fields(Row)][:-1]
    lines = [[getattr(row, name) for name in heading] for row in rows]
    told = [[row.answers.get(k, "") for k in ROUNDS] for row in rows]
    heading += [f"answer_after_{k}" for k in ROUNDS]
    return [heading, *(line + own for line, own in zip(lines, told, strict=True))]


def chart(rows: list[Row]) -> Figure:
    """Strokes that so many photos took, mean of the classes; and the IoU of answers."""
    figure = Figure((9, 3.6), 110, layout="constrained")
    left, right = figure.subplots(1, 2)
    count = min(collections.Counter(row.class_name for row in rows).values())
    for label, key, style in (
        ("from nothing", "strokes", "--"),
        ("from answers", "helped_strokes", "-"),
        ("from answers, poor ones cleared", "best_strokes", ":"),
    ):
        each = [[getattr(r, key) for r in rows if r.number == n] for n in range(1, count + 1)]
        total = np.cumsum([0, *(np.mean(one) for one in each)])
        left.plot(range(count + 1), total, style, color="#0072B2", label=label)
    left.set(xlabel="photos labelled", ylabel="strokes, mean of the classes")
    rounds = sorted({k for row in rows for k in row.answers})
    for name in dict.fromkeys(row.class_name for row in rows):
        last = [r for r in rows if r.class_name == name and len(r.answers) == len(rounds)]
        means = [np.mean([r.answers[k] for r in last]) for k in rounds]
        right.plot(rounds, means, "o-", label=name)
    right.set(xlabel="examples", ylabel="IoU of the answers", ylim=(0, 1), xticks=rounds)
    for axes in (left, right):
        axes.grid(axis="y", color="#DDDDDD")
        axes.legend(frameon=False)
    return figure


def define_flags():
    flags.DEFINE_string("voc_dir", None, "VOC2012, as for build_voc.", required=True)
    flags.DEFINE_list("classes", ["cat", "cow", "dog"], "Classes of VOC.")
    flags.DEFINE_integer("photos", 30, "Photos of each class.", ROUNDS[0] + 1)
    flags.DEFINE_float("goal", 0.85, "IoU from which on a photo is labelled.", 0, 1)
    flags.DEFINE_integer("most", 20, "Strokes after which the annotator gives up.", 1)
    flags.DEFINE_string("checkpoint", None, "A .keras file; default: the one of CRNet-TF.")
    flags.DEFINE_string("out", None, "Folder for the results.", required=True)


def main():
    args = flags.FLAGS
    out, root = pathlib.Path(args.out), voc.find_voc(args.voc_dir)
    files.make_folder(out)
    segmenter, rows = Segmenter(args.checkpoint), []
    for name in args.classes:
        photos = photos_of(root, name, args.photos)
        rows += played(segmenter, photos, name, args.goal, args.most)
        files.write_text(out / "strokes.csv", tables.comma_separated(cells(rows)))
        chart(rows).savefig(out / "labelling.png")
        print(f"{table(rows)}\n", flush=True)
    for way, key in (("nothing", "iou"), ("answers", "helped_iou")):
        late = np.mean([getattr(row, key) < args.goal for row in rows])
        print(f"from {way}: {late:.0%} of the photos below {args.goal} after {args.most}")


if __name__ == "__main__":
    cli.run(main, define_flags)
