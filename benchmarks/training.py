"""What a feature store saves, and where the seconds of the step that remains go.

    python -m benchmarks.training --records=records/voc --sizes=225,321 --channels=128

Prints two Markdown tables for each size: episodes a second from photos and from stored
features, with what a stored view takes, and the parts of the step, forward and forward with
gradients. Photos are decoded beforehand. Functions take turns and the least of all rounds
counts, so that ratios hold on a busy machine too. Writes nothing but the demo set.
"""

import dataclasses

import keras
import tensorflow as tf
from absl import flags

from benchmarks import step, timing
from crnet_tf.common import cli
from crnet_tf.config import Config
from crnet_tf.data import records
from crnet_tf.network import losses, model, parts
from pipelines.build_demo import build_demo


def part_functions(network: model.CRNet, batch) -> dict:
    """{name: (layers, function of its inputs, inputs)} of the parts of a training step."""
    inputs, targets = batch
    own, steps = network.parts, network.config.train_refine_steps
    features = {name: tf.constant(value) for name, value in parts.encode(own, inputs).items()}
    projected = parts.project(own, features)
    pair = own.cross_reference(projected["support"], projected["query"])
    common = tf.concat(pair, 0)
    category = own.category(projected["category"], inputs["support_mask"])
    both = tf.concat([category, category], 0)
    compared = parts.condition(own, common, both)
    logits = own.refinement(compared, steps=steps)
    masks = targets["support_mask"], targets["query_mask"]

    def image_losses(logits):
        halves = tf.split(own.to_image(logits), 2)
        return sum(
            losses.cross_entropy(half[:, t], mask)
            for half, mask in zip(halves, masks, strict=True)
            for t in range(steps)
        )

    head = own.cross_reference.cooccurrence
    return {
        "projection": (own.projection, lambda: parts.project(own, features), ()),
        "cross-reference": (
            own.cross_reference, own.cross_reference, (projected["support"], projected["query"])
        ),
        "co-occurrence heads": (head, head, (common,)),
        "condition": (own.condition, lambda x: parts.condition(own, x, both), (common,)),
        f"refinement, {steps} steps": (
            own.refinement, lambda x: own.refinement(x, steps=steps), (compared,)
        ),
        "resizing and losses": (own.to_image, image_losses, (logits,)),
    }  # fmt: skip


def timed_functions(parts_of_step: dict) -> dict:
    """Two functions for each part, {name: ...} and {name + " gradient": ...}, that wait."""
    functions = {}
    for name, part in parts_of_step.items():
        for label, make in ((name, _forward), (f"{name} gradient", _gradient)):
            # Traced here: many functions of one name would be warned of as retraced.
            graph = tf.function(make(*part)).get_concrete_function()
            functions[label] = lambda graph=graph: float(graph())
    return functions


def _forward(layer, call, inputs):
    return lambda: _sum_of_squares(call(*inputs))


def _gradient(layer, call, inputs):
    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total = _sum_of_squares(call(*inputs))
        found = tape.gradient(total, [*layer.trainable_variables, *inputs])
        return _sum_of_squares([g for g in found if g is not None])

    return gradient


def _sum_of_squares(tensors):
    return sum(tf.reduce_sum(tf.cast(x, tf.float32) ** 2) for x in tf.nest.flatten(tensors))


def report(network: model.CRNet, seconds: dict, parts_of_step: dict) -> str:
    """Markdown of the seconds that `timing.in_turn` gave."""
    settings = network.config
    episodes = {name: settings.batch_size / seconds[name] for name in ("step", "features")}
    size = settings.image_size
    encoded = network.parts.encoder.compute_output_shape((None, size, size, 3))
    view = (2 * 2 * encoded[1] * encoded[2] * encoded[3] + size**2) / 1e6
    lines = [
        f"### {size} px\n",
        "| training from | s a step | episodes/s | |",
        "|---|--:|--:|--:|",
        f"| photos | {seconds['step']:.3f} | {episodes['step']:.2f} | 1 |",
        f"| stored features, {view:.1f} MB a view | {seconds['features']:.3f} | "
        f"{episodes['features']:.2f} | {episodes['features'] / episodes['step']:.2f} |",
        "",
        f"| part of {settings.batch_size} episodes | forward, s | with gradients, s | "
        "of the step from features |",
        "|---|--:|--:|--:|",
    ]
    for name in parts_of_step:
        whole = seconds[f"{name} gradient"]
        lines.append(
            f"| {name} | {seconds[name]:.3f} | {whole:.3f} | "
            f"{100 * whole / seconds['features']:.0f} % |"
        )
    return "\n".join(lines) + "\n"


def measure(index: records.Index, settings: Config, rounds: int) -> str:
    """Both tables of one size."""
    keras.utils.set_random_seed(settings.seed)
    network = model.build_crnet(settings)
    _, batch = step.input_seconds(index, settings, batches=1)
    stages = step.stages(network, batch)
    parts_of_step = part_functions(network, batch)
    functions = {name: stages[name] for name in ("step", "features")}
    seconds = timing.in_turn(functions | timed_functions(parts_of_step), rounds, summary=min)
    return report(network, seconds, parts_of_step)


def define_flags():
    step.define_common_flags()
    flags.DEFINE_list("sizes", ["225", "321"], "Sides of the network's input, px.")


def main():
    args = flags.FLAGS
    names = ("backbone", "backbone_weights", "channels", "batch_size", "precision")
    settings = Config(fold=step.BASE_FOLD, **{name: args[name].value for name in names})
    index = records.load_index(args.records) if args.records else build_demo("data/demo")
    print(
        f"{settings.backbone}, {settings.channels} channels, {settings.precision}; "
        f"TensorFlow {tf.__version__}; the least of {args.steps} rounds\n"
    )
    for size in cli.integers("sizes", args.sizes):
        sized = dataclasses.replace(settings, image_size=size)
        print(measure(index, sized, args.steps), flush=True)


if __name__ == "__main__":
    cli.run(main, define_flags)
