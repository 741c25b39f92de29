"""What it brings to encode each photo once: fine-tuning an episode, evaluating many.

    python -m benchmarks.fewshot --checkpoint=runs/voc1/best.keras --records=records/voc

Both ways compute the same numbers in the same process: with the features of every photo kept,
and with photos encoded again whenever they are looked at. Prints a Markdown table.
"""

import dataclasses
import resource

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks import timing
from crnet_tf.common import cli
from crnet_tf.common.tables import markdown
from crnet_tf.data import records
from crnet_tf.evaluation import manifest, scoring
from crnet_tf.fewshot.features import base_frame
from crnet_tf.fewshot.finetune import Finetuner, holding
from crnet_tf.fewshot.learner import Learner
from crnet_tf.network import parts
from crnet_tf.network.checkpoint import load_checkpoint
from crnet_tf.options import Options


def finetuning_seconds(network, supports, options: Options, updates: int) -> dict:
    """Seconds of an episode's fine-tuning: features kept, and encoded in every update."""
    options = dataclasses.replace(options, kshot="finetune", finetune_steps=updates)
    frame = base_frame(network)
    images = np.stack([frame.image(photo.image) for photo in supports])
    masks = np.stack([frame.mask(photo.mask) for photo in supports])
    tuner, random = Finetuner(network, options), np.random.default_rng(0)

    @tf.function
    def encode(support, mask, query):
        inputs = {"support_image": support, "support_mask": mask, "query_image": query}
        return parts.encode(network.parts, inputs)

    def again(count):
        for _ in range(count):
            i, j = random.integers(0, len(supports), (2, options.finetune_batch))
            features = encode(images[i], masks[i], images[j])
            tuner.update(features | {"support_mask": masks[i], "query_mask": masks[j]})

    def kept(count):
        learner = Learner(network, dataclasses.replace(options, finetune_steps=count))
        learner.tuner = tuner_of(count)
        learner.fit(supports)

    def tuner_of(count):
        tuner.options = dataclasses.replace(options, finetune_steps=count)
        return tuner

    with holding(tuner.variables):
        again(1)
        kept(1)  # both traced
        return {"kept": timing.seconds(kept, updates), "again": timing.seconds(again, updates)}


def evaluation_seconds(network, archive, options: Options, count: int, fresh: int) -> dict:
    """Seconds an episode: `count` episodes with features kept, `fresh` of them without."""
    entries = manifest.draw(archive, 1, count, seed=0)
    found = {}
    for name, part, bound in (("kept", entries, 4.0), ("again", entries[:fresh], 0.0)):
        learner = Learner(network, dataclasses.replace(options, feature_cache_gb=bound))
        scoring.evaluate(learner, archive, entries[:1])  # traced
        learner.cache.clear()
        found[name] = timing.seconds(scoring.evaluate, learner, archive, part) / len(part)
    return found


def table(finetuning: dict, evaluation: dict, shot: int, updates: int, count: int) -> str:
    """Markdown of both."""
    rows = []
    for name, found in (
        (f"fine-tuning, {shot}-shot, {updates} updates, s", finetuning),
        (f"1-shot evaluation, s an episode of {count}", evaluation),
    ):
        ratio = found["again"] / found["kept"]
        rows.append([name, *(f"{n:.2f}" for n in (found["kept"], found["again"], ratio))])
    return markdown(["", "features kept", "encoded again", "times as fast"], rows)


def define_flags():
    flags.DEFINE_string("checkpoint", None, "A .keras file written by training.", required=True)
    flags.DEFINE_string("records", None, "Folder of records with index.json.", required=True)
    flags.DEFINE_integer("shot", 5, "Supports of the fine-tuned episode.", lower_bound=2)
    flags.DEFINE_integer("updates", 20, "Updates of its fine-tuning.", lower_bound=1)
    flags.DEFINE_integer("episodes", 1000, "Episodes evaluated with features kept.", 1)
    flags.DEFINE_integer("fresh", 50, "Those evaluated without, too.", lower_bound=1)


def main():
    args = flags.FLAGS
    network = load_checkpoint(args.checkpoint)
    index = records.load_index(args.records)
    archive = manifest.Archive(index, "val", index.test_classes(network.config.fold))
    entry = manifest.draw(archive, args.shot, 1, seed=0)[0]
    supports, _ = scoring.photos_of(archive, entry)
    finetuning = finetuning_seconds(network, supports, Options(), args.updates)
    evaluation = evaluation_seconds(network, archive, Options(), args.episodes, args.fresh)
    config, peak = network.config, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{config.backbone}, {config.image_size} px, {config.channels} channels, "
        f"{config.precision}\n\n"
        f"{table(finetuning, evaluation, args.shot, args.updates, args.episodes)}\n\n"
        f"Peak resident memory: {peak:.2f} GiB."
    )


if __name__ == "__main__":
    cli.run(main, define_flags)
