"""A training step of the same network in TensorFlow and in PyTorch, in turn.

    python -m benchmarks.torch_step --image_size=225 --channels=128

Prints a Markdown table of medians: a step from stored features and one from photos. Both start
from the same weights; it stops where their losses differ. Photos and masks are drawn. It needs
PyTorch and torchvision for a CPU.
"""

from absl import flags

from crnet_tf.common import cli


def table(seconds: dict, batch: int) -> str:
    """Markdown of {(from, by): seconds a step}, beside TensorFlow's."""
    lines = [
        "| from | by | s a step | episodes/s | TensorFlow is faster by |",
        "|---|---|--:|--:|--:|",
    ]
    for (start, by), value in sorted(seconds.items()):
        ratio = value / seconds[start, "TensorFlow"]
        lines.append(f"| {start} | {by} | {value:.3f} | {batch / value:.2f} | {ratio:.2f} |")
    return "\n".join(lines)


def define_flags():
    flags.DEFINE_integer("image_size", 225, "Side of the network's input, px: 8 n + 1.")
    flags.DEFINE_integer("channels", 128, "Channels of the heads.")
    flags.DEFINE_integer("batch_size", 4, "Episodes a step.")
    flags.DEFINE_integer("steps", 5, "Timed rounds.", lower_bound=1)


def main():
    args = flags.FLAGS
    import torchvision  # before TensorFlow: after it, its import crashes

    from benchmarks.torch_training import measure
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
    print(table(measure(settings, args.steps), args.batch_size))


if __name__ == "__main__":
    cli.run(main, define_flags)
