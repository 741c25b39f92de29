"""Answers to one episode beside those of other few-shot segmenters, in one run and in turn.

    python -m benchmarks.peers --hsnet=DIR --pfenet=DIR --canet=DIR --image_size=321

One support, one query, batch 1, ResNet-50, random weights. The others are checkouts that you
have; they need PyTorch and torchvision, PFENet OpenCV too. Prints a Markdown table: seconds,
work of all cores, and that work beside the first of the others. A full request encodes support
and query; with a state the support is known, which the others have no way to keep. Refinement
takes all steps, or two, the least: a trained network ends where its answers stay as they are.

On a busy machine threads wait for one another and count it as work. There, compare one core:
`taskset -c 0 python -m benchmarks.peers ...`
"""

import functools
import pathlib

import numpy as np
from absl import flags

from benchmarks import timing, torch_peers
from crnet_tf.common import cli, threads
from crnet_tf.common.tables import markdown
from crnet_tf.config import Config
from crnet_tf.images.labelled import LabelledPhoto
from crnet_tf.options import Options

STEPS = {"all steps": 0.0, "two steps": 0.999}  # by the tolerance
GEMM_SIDE = 2048


def drawn(size: int, with_mask: bool = False) -> LabelledPhoto:
    """Noise; a support's object is a square in the middle."""
    image = np.random.default_rng(with_mask).integers(0, 256, (size, size, 3), np.uint8)
    mask = np.zeros((size, size), np.uint8)
    mask[size // 4 : size // 2, size // 4 : size // 2] = 1
    return LabelledPhoto(image, mask if with_mask else None)


def requests(name: str, engine, size: int) -> dict:
    """{what: function} of an engine: a full request, and a query whose support is known."""
    support, query = drawn(size, with_mask=True), drawn(size)
    known = engine.fit([support])

    def with_state():
        engine.forget_all()
        return engine.maps([known], query)

    def full():
        engine.forget_all()
        return engine.maps([engine.fit([support])], query)

    with_state()  # Keras computes a state when it is asked for first
    return {f"{name}, full": full, f"{name}, with a state": with_state}


def ours(settings: Config, engines: list[str]) -> dict:
    """{what: function} of a network with random weights, by the engines."""
    from crnet_tf.fewshot import lite_writing
    from crnet_tf.fewshot.engine import KerasEngine
    from crnet_tf.fewshot.lite_engine import LiteEngine
    from crnet_tf.network.model import build_crnet

    network, ways = build_crnet(settings), {}
    for name in engines:
        content = None
        if name != "keras":
            content = lite_writing.converted(network, name)
        for steps, tolerance in STEPS.items():
            options = Options(kshot="mean", refine_tolerance=tolerance)
            engine = LiteEngine(content, options) if content else KerasEngine(network, options)
            label = f"ours, {settings.channels} channels, {name}, {steps}"
            ways |= requests(label, engine, settings.image_size)
    return ways


def product():
    """A product of two matrices, by whose rate the machine is known."""
    matrix = np.ones((GEMM_SIDE, GEMM_SIDE), np.float32)
    return lambda: matrix @ matrix


def table(found: dict[str, np.ndarray], first: str) -> str:
    """Markdown of (seconds, seconds of work) of each way."""
    rows = [
        [name, f"{wall:.3f}", f"{work:.3f}", f"{work / found[first][1]:.2f}"]
        for name, (wall, work) in found.items()
    ]
    return markdown(["", "s", "work, s", f"times the work of {first}"], rows)


def define_flags():
    for name, load in torch_peers.PEERS.items():
        whose = load.__doc__.split(" ")[0]
        flags.DEFINE_string(name, None, f"Folder of a checkout of {whose}.")
    flags.DEFINE_integer("image_size", 225, "Side of the photos, px.", lower_bound=33)
    flags.DEFINE_list("channels", "128,256", "Channels of our heads.")
    flags.DEFINE_list("engine", "keras,litert", "Our engines.")
    flags.DEFINE_string("feature_levels", "canet", "As in training.")
    flags.DEFINE_bool("mask_image", True, "As in training: encode supports twice.")
    flags.DEFINE_integer("rounds", 7, "Timed rounds.", lower_bound=1)


def main():
    args = flags.FLAGS
    ways, size = {"matrix product": product()}, args.image_size
    for name, load in torch_peers.PEERS.items():
        if args[name].value:
            ways[name] = load(pathlib.Path(args[name].value), size)
    for channels in cli.integers("channels", args.channels):
        settings = Config(
            image_size=size,
            channels=channels,
            feature_levels=args.feature_levels,
            mask_image=args.mask_image,
            backbone_weights="none",
        )
        ways |= ours(settings, args.engine)
    median = functools.partial(np.median, axis=0)
    found = timing.in_turn(ways, args.rounds, median, timing.wall_and_cpu)
    wall, work = found.pop("matrix product")
    rate = 2e-9 * GEMM_SIDE**3
    print(
        f"{size} px, levels {args.feature_levels}, medians of {args.rounds} rounds, "
        f"{threads.cores()} cores; float32 matrix product: {rate / wall:.0f} GFLOP/s, "
        f"{rate / work:.0f} a second of work\n\n{table(found, next(iter(found)))}"
    )


if __name__ == "__main__":
    cli.run(main, define_flags)
