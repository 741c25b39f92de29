"""What it costs to search a folder of photos, in every way that `predict` can.

    python -m benchmarks.predict --support_dir=things --query=photos --photos=24

All ways search the same photos for the same classes, in one process and in turn: each engine,
photo by photo and as a folder, by the mean support and by the fusion of all, with all
refinement steps and until photos are still. Prints a Markdown table: seconds a photo, work of
all cores a photo, cores busy, and the share of pixels that are decided otherwise than by the
mean support with all steps.
"""

import contextlib
import functools
import io
import pathlib

import numpy as np
from absl import flags

from benchmarks import timing
from crnet_tf.common import cli, threads
from crnet_tf.common.tables import markdown
from crnet_tf.fewshot.segmenter import Segmenter
from crnet_tf.images.photo_folder import query_paths
from crnet_tf.network.checkpoint import load_checkpoint

ALL_STEPS, FUSION = {"refine_tolerance": 0.0}, {"kshot": "fusion"}
WAYS = {  # name: (engine, options beside those in use, as a folder)
    "Keras, fusion, all steps, one by one": ("keras", FUSION | ALL_STEPS, False),
    "Keras, mean, all steps, one by one": ("keras", ALL_STEPS, False),
    "Keras, one by one": ("keras", {}, False),
    "Keras, folder": ("keras", {}, True),
    "LiteRT, all steps, folder": ("litert", ALL_STEPS, True),
    "LiteRT, folder": ("litert", {}, True),
    "LiteRT of 8 bits, folder": ("litert_int8", {}, True),
}
BASE, EXACT = list(WAYS)[:2]


class Search:
    """Searches photos whenever it is called.

    Attributes:
        masks: what was found last, of every photo.
    """

    def __init__(self, segmenter: Segmenter, paths: list[pathlib.Path], as_folder: bool):
        self.segmenter, self.paths, self.as_folder = segmenter, paths, as_folder
        self.masks = []

    def __call__(self):
        search = self.segmenter.predict
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
            found = search(self.paths) if self.as_folder else map(search, self.paths)
            self.masks = [one.mask for one in found]


def ways_of(checkpoint, classes: str, paths: list[pathlib.Path]) -> dict[str, Search]:
    """Searches by their names; all have learnt the classes."""
    network, ways = load_checkpoint(checkpoint), {}
    for name, (engine, options, as_folder) in WAYS.items():
        given = network if engine == "keras" else checkpoint
        segmenter = Segmenter(given, engine=engine, **options).fit(classes)
        ways[name] = Search(segmenter, paths, as_folder)
    return ways


def table(found: dict[str, np.ndarray], masks: dict[str, list], count: int) -> str:
    """Markdown of (seconds, seconds of work) of each way, and of its masks."""
    rows = []
    for name, (wall, work) in found.items():
        pairs = zip(masks[name], masks[EXACT], strict=True)
        other = np.mean([np.mean(one != exact) for one, exact in pairs])
        faster = f"{found[BASE][1] / work:.2f}"
        numbers = f"{wall / count:.3f}", f"{work / count:.3f}", faster
        rows.append([name, *numbers, f"{work / wall:.2f}", f"{100 * other:.2f} %"])
    heading = ["", "s a photo", "work, s", "times as fast (work)", "cores", "other pixels"]
    return markdown(heading, rows)


def define_flags():
    text = flags.DEFINE_string
    text("checkpoint", None, "A .keras file written by training; default: the one of CRNet-TF.")
    text("support_dir", None, "Folder of labelled photos, or of classes.", required=True)
    text("query", None, "Folder of photos.", required=True)
    flags.DEFINE_integer("photos", 24, "How many of them, the first.", lower_bound=1)
    flags.DEFINE_integer("rounds", 3, "Rounds of the ways that take turns.", lower_bound=1)


def main():
    from crnet_tf.network.checkpoint import checkpoint_or_start

    args = flags.FLAGS
    paths = query_paths(args.query)[: args.photos]
    ways = ways_of(checkpoint_or_start(args.checkpoint), args.support_dir, paths)
    median = functools.partial(np.median, axis=0)
    found = timing.in_turn(ways, args.rounds, median, timing.wall_and_cpu)
    masks = {name: way.masks for name, way in ways.items()}
    print(
        f"{len(paths)} photos, medians of {args.rounds} rounds, {threads.cores()} cores\n\n"
        f"{table(found, masks, len(paths))}"
    )


if __name__ == "__main__":
    cli.run(main, define_flags)
