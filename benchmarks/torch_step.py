"""A training step of the same network in TensorFlow and in PyTorch, in turn.

    python -m benchmarks.torch_step --image_size=225 --channels=128

Prints medians as a Markdown table: a step from stored features, and one from photos. Both start
from the same weights; it stops where their losses differ. Photos and masks are drawn. A second
table has every kind of convolution of the heads, alone and with its gradients. It needs PyTorch
and torchvision for a CPU.
"""

from absl import flags

from crnet_tf.common import cli
from crnet_tf.common.tables import markdown


def table(seconds: dict, batch: int) -> str:
    """Markdown of {(from, by): seconds a step}, beside TensorFlow's."""
    rows = [
        (*way, f"{one:.3f}", f"{batch / one:.2f}", f"{one / seconds[way[0], 'TensorFlow']:.2f}")
        for way, one in sorted(seconds.items())
    ]
    return markdown(("from", "by", "s a step", "episodes/s", "times TensorFlow's"), rows)


def table_of_kinds(seconds: dict, counts: dict) -> str:
    """Markdown of {(kind, by): seconds}, times the number of each kind in a step."""
    rows = []
    for kind, count in counts.items():
        ours, theirs = (count * seconds[kind, by] for by in ("TensorFlow", "PyTorch"))
        rows.append((theirs - ours, kind, count, ours, theirs))
    total = [sum(row[i] for row in rows) for i in (3, 4)]
    head = ("convolution, with gradients", "in a step", "TensorFlow, s", "PyTorch, s")
    cells = [(k, n, f"{ours:.3f}", f"{theirs:.3f}") for _, k, n, ours, theirs in sorted(rows)]
    return markdown(head, [*cells, ("all", sum(counts.values()), *(f"{s:.3f}" for s in total))])


def define_flags():
    flags.DEFINE_integer("image_size", 225, "Side of the network's input, px: 8 n + 1.")
    flags.DEFINE_integer("channels", 128, "Channels of the heads.")
    flags.DEFINE_integer("batch_size", 4, "Episodes a step.")
    flags.DEFINE_integer("steps", 5, "Timed rounds.", lower_bound=1)


def main():
    args = flags.FLAGS
    import torchvision  # before TensorFlow: after it, its import crashes

    from benchmarks import torch_training
    from crnet_tf.config import Config

    settings = Config(
        backbone_weights="none",
        backbone_stride="3x3",
        feature_levels="canet",
        image_size=args.image_size,
        channels=args.channels,
        batch_size=args.batch_size,
    )
    print(
        f"ResNet-50, stages 3 and 4, {args.image_size} px, {args.channels} channels, batch of "
        f"{args.batch_size}, torchvision {torchvision.__version__}\n"
    )
    print(table(torch_training.measure(settings, args.steps), args.batch_size), flush=True)
    print(f"\n{table_of_kinds(*torch_training.measure_convolutions(settings, args.steps))}")


if __name__ == "__main__":
    cli.run(main, define_flags)
